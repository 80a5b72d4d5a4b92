"""The answering end: a gRPC service that hands each question on and sends each reply when it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import grpc
import structlog

from dataflow.cluster.links.asking import OPTIONS
from dataflow.cluster.links.contract import MESSAGE_BYTES, WAITING_MAX, Answering
from dataflow.core.errors import Code, DataFlowError, Rejected, Unavailable
from dataflow.v1 import node_pb2 as pb
from dataflow.v1.node_pb2_grpc import NodeServiceServicer, add_NodeServiceServicer_to_server
from dataflow.wire.errors import error_told

log = structlog.get_logger()

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

SERVER_OPTIONS = (
    *OPTIONS,
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),  # a port in use is an error, not shared
)


class Service(NodeServiceServicer):
    """Serves ``NodeService`` from an ``Answering``."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def Link(  # noqa: N802 - the name of the rpc
        self, request_iterator: AsyncIterator[pb.LinkRequest], context: Context
    ) -> AsyncGenerator[pb.LinkResponse, None]:
        """Answer questions until the asker goes."""
        del context
        out = _Outgoing()
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(request_iterator, out, tasks))
                try:
                    async for response in out:
                        yield response
                finally:
                    reading.cancel()
        except* GeneratorExit:
            pass  # The asker went in the middle of a reply; a group hides that from the server.

    async def _read(
        self,
        requests: AsyncIterator[pb.LinkRequest],
        out: _Outgoing,
        tasks: asyncio.TaskGroup,
    ) -> None:
        room = asyncio.Semaphore(WAITING_MAX)

        async def answer(question: pb.Question) -> None:
            try:
                out.put(await self._reply(question))
            finally:
                room.release()

        async for request in requests:
            for question in request.questions:
                await room.acquire()
                tasks.create_task(answer(question))
        out.close()

    async def _reply(self, question: pb.Question) -> pb.Reply:
        try:
            payload = await self._answering.answer(question.name, question.payload)
        except Exception as error:  # noqa: BLE001 - whatever it is, the asker is told
            return pb.Reply(id=question.id, refusal=error_told(_expected(question.name, error)))
        return pb.Reply(id=question.id, payload=payload)

    async def Follow(  # noqa: N802 - the name of the rpc
        self, request: pb.FollowRequest, context: Context
    ) -> AsyncGenerator[pb.FollowResponse, None]:
        """Answer one question until the asker has heard enough."""
        del context
        question = request.question
        try:
            async with aclosing(self._answering.follow(question.name, question.payload)) as answers:
                async for payload in answers:
                    yield pb.FollowResponse(reply=pb.Reply(id=question.id, payload=payload))
        except Exception as error:  # noqa: BLE001 - whatever it is, the asker is told
            told = error_told(_expected(question.name, error))
            yield pb.FollowResponse(reply=pb.Reply(id=question.id, refusal=told))


class _Outgoing:
    """Replies that leave together where they come together."""

    def __init__(self) -> None:
        self._replies: deque[pb.Reply] = deque()
        self._some = asyncio.Event()
        self._closed = False

    def put(self, reply: pb.Reply) -> None:
        self._replies.append(reply)
        self._some.set()

    def close(self) -> None:
        self._closed = True
        self._some.set()

    async def __aiter__(self) -> AsyncGenerator[pb.LinkResponse, None]:
        while not self._closed or self._replies:
            await self._some.wait()
            self._some.clear()
            while self._replies:
                response, size = pb.LinkResponse(), 0
                while self._replies and size < MESSAGE_BYTES:
                    reply = self._replies.popleft()
                    size += len(reply.payload)
                    response.replies.append(reply)
                yield response


@asynccontextmanager
async def serving(answering: Answering, address: str) -> AsyncGenerator[int, None]:
    """Serve other programs at an address; return the port.

    Raises:
        Rejected: the address cannot be bound.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS)
    add_NodeServiceServicer_to_server(Service(answering), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise Rejected(f"{address} cannot be bound", field="node_address") from error
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0.5)


def _expected(name: str, error: Exception) -> DataFlowError:
    if isinstance(error, DataFlowError):
        return error
    if isinstance(error, TimeoutError):
        return Unavailable(f"{name} took too long; ask again", code=Code.OUTCOME_UNKNOWN)
    log.error("a question failed", name=name, exc_info=error)
    return Unavailable("the node met an error that its log shows", code=Code.INTERNAL)
