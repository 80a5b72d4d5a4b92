"""The streaming rpcs: commands and batches in bulk, both ways, and watching.

    requests --> read, turn into commands --> [up to 4 being carried out] --> answers, in order

A message is turned into commands and handed over BEFORE the next one is read, so that the order
of a stream is the order of its commands; answers wait for those before them. A stream is open as
long as its caller likes; when the server drains, what was begun is answered and the stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from dataflow.core import ids
from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import Code, DataFlowError, Rejected, Waiting
from dataflow.server import answers
from dataflow.server.backend import Backend
from dataflow.server.call import Call
from dataflow.server.commands import Commands, known, refusal, response
from dataflow.server.errors import NewId, failure
from dataflow.server.ingest import ingest_batch
from dataflow.v1 import pipeline_pb2

T = TypeVar("T")
Send: TypeAlias = Callable[[T], Awaitable[None]]

IN_FLIGHT_MAX = 4
"""Messages of one stream being carried out: enough that the journal always has a next write to
gather while one is under way, few enough to bound what a stream holds in memory."""

COMMANDS_MAX = 10_000
"""Commands of one message: about half a second of work."""

STOPPING = "the server is stopping; ask again"


class StreamHandlers:
    """Every streaming rpc."""

    def __init__(
        self, backend: Backend, commands: Commands, new_id: NewId, draining: asyncio.Event
    ) -> None:
        self._backend = backend
        self._commands = commands
        self._new_id = new_id
        self._draining = draining

    async def Execute(
        self,
        requests: AsyncIterator[pipeline_pb2.ExecuteRequest],
        call: Call,
        send: Send[pipeline_pb2.ExecuteResponse],
    ) -> None:
        """Carry out commands in bulk; a stop or pause is answered when it is journalled."""
        call = replace(call, command_id="")  # one for all commands would be none

        def begin(
            request: pipeline_pb2.ExecuteRequest,
        ) -> Coroutine[Any, Any, pipeline_pb2.ExecuteResponse]:
            return self._carry_out(self._commands_of(request, call))

        await _pipelined(requests, begin, send, self._draining)

    async def IngestBatches(
        self,
        requests: AsyncIterator[pipeline_pb2.IngestBatchesRequest],
        _: Call,
        send: Send[pipeline_pb2.IngestBatchesResponse],
    ) -> None:
        """Push batch after batch, each answered when it is durable."""
        await _pipelined(requests, self._push, send, self._draining)

    async def WatchPipelines(
        self,
        request: pipeline_pb2.WatchPipelinesRequest,
        _: Call,
        send: Send[pipeline_pb2.WatchPipelinesResponse],
    ) -> None:
        """Tell what happens, until the caller has heard enough."""
        await self.check_watch(request)

        async def tell() -> None:
            async with aclosing(self.watch(request)) as watched:
                async for told in watched:
                    await send(told)

        async with asyncio.TaskGroup() as group:
            telling = group.create_task(tell())
            drained = group.create_task(_cancel_when(self._draining, telling))
            await asyncio.wait((telling,))
            drained.cancel()
        if telling.cancelled():
            raise Waiting(STOPPING)

    async def check_watch(self, request: pipeline_pb2.WatchPipelinesRequest) -> None:
        """Check what shall be watched.

        Raises:
            Rejected: there is no such pipeline, or ``after`` was given without one.
        """
        if request.after and not request.pipeline_id:
            raise Rejected("give a pipelineId too; sequences count within one", field="after")
        if request.after < 0:
            raise Rejected("use the number of an event", field="after")
        if request.pipeline_id:
            await self._backend.pipeline(known(request.pipeline_id))

    async def watch(
        self, request: pipeline_pb2.WatchPipelinesRequest
    ) -> AsyncGenerator[pipeline_pb2.WatchPipelinesResponse, None]:
        """Yield what happens to one pipeline or to all; ``check_watch`` comes first."""
        pipeline = ids.PipelineId(request.pipeline_id) if request.pipeline_id else None
        after = ids.Sequence(request.after) if request.after else None
        async with aclosing(self._backend.watch(pipeline, after)) as changes:
            async for happened in changes:
                yield answers.change(happened)

    def _commands_of(
        self, request: pipeline_pb2.ExecuteRequest, call: Call
    ) -> list[Command | DataFlowError]:
        if len(request.commands) > COMMANDS_MAX:
            raise Rejected(
                f"use at most {COMMANDS_MAX} in a message", code=Code.TOO_LARGE, field="commands"
            )
        return [self._command(entry, call) for entry in request.commands]

    def _command(self, entry: pipeline_pb2.Command, call: Call) -> Command | DataFlowError:
        case = entry.WhichOneof("command")
        if case is None:
            return Rejected("holds no command that this server knows", field="command")
        try:
            return self._commands.command(getattr(entry, case), call)
        except DataFlowError as error:
            return error

    async def _carry_out(
        self, wanted: list[Command | DataFlowError]
    ) -> pipeline_pb2.ExecuteResponse:
        commands = [command for command in wanted if isinstance(command, Command)]
        answered = iter(await self._backend.execute(commands) if commands else ())
        outcomes = (next(answered) if isinstance(entry, Command) else entry for entry in wanted)
        return pipeline_pb2.ExecuteResponse(answers=map(self._answer, outcomes))

    def _answer(self, outcome: Answer | DataFlowError) -> pipeline_pb2.CommandAnswer:
        if isinstance(outcome, Answer):
            return response(outcome, pipeline_pb2.CommandAnswer)
        return pipeline_pb2.CommandAnswer(refusal=refusal(failure(outcome, self._new_id)))

    async def _push(
        self, request: pipeline_pb2.IngestBatchesRequest
    ) -> pipeline_pb2.IngestBatchesResponse:
        try:
            done = await ingest_batch(self._backend, request.batch, self._new_id())
        except DataFlowError as error:
            told = refusal(failure(error, self._new_id))
            batch = pipeline_pb2.IngestBatchResponse(
                pipeline_id=request.batch.pipeline_id, batch_id=request.batch.batch_id
            )
            return pipeline_pb2.IngestBatchesResponse(batch=batch, refusal=told)
        return pipeline_pb2.IngestBatchesResponse(batch=done)


Q = TypeVar("Q")
A = TypeVar("A")


async def _pipelined(
    requests: AsyncIterator[Q],
    begin: Callable[[Q], Coroutine[Any, Any, A]],
    send: Send[A],
    draining: asyncio.Event,
) -> None:
    """Begin each request in its order, up to ``IN_FLIGHT_MAX`` at once; answer in that order."""
    in_flight: asyncio.Queue[asyncio.Task[A] | None] = asyncio.Queue()
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def read() -> None:
        try:
            async for request in requests:
                await room.acquire()
                in_flight.put_nowait(group.create_task(begin(request)))
        finally:
            in_flight.put_nowait(None)

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        drained = group.create_task(_cancel_when(draining, reading))
        while (task := await in_flight.get()) is not None:
            await send(await task)
            room.release()
        drained.cancel()
    if reading.cancelled():
        raise Waiting(STOPPING)


async def _cancel_when(event: asyncio.Event, task: asyncio.Task[Any]) -> None:
    await event.wait()
    task.cancel()
