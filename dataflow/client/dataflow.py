"""The client: everything that can be asked of a server, with retries that do nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import timedelta
from random import Random, SystemRandom
from typing import Self, cast

from dataflow.client.bulk import (
    BATCHES_IN_FLIGHT,
    COMMANDS_A_MESSAGE,
    MESSAGES_IN_FLIGHT,
    Push,
    each,
    grouped,
)
from dataflow.client.bulk import Commands as CommandsSlot
from dataflow.client.cluster import ClusterCalls
from dataflow.client.commands import Commands
from dataflow.client.connection import MESSAGE_BYTES_MAX, TIMEOUT, Connection, Settings, Tls
from dataflow.client.letters import Letters
from dataflow.client.messages import Command, CommandAnswer, IngestBatchResponse
from dataflow.client.pipelined import Pipelined
from dataflow.client.questions import Questions
from dataflow.client.records import Records, batch_of
from dataflow.core.errors import Code, Rejected
from dataflow.v1.pipeline_pb2 import IngestBatchRequest


class DataFlow(Commands, Letters, Questions, ClusterCalls):
    """A connection to one server, for use as ``async with DataFlow("127.0.0.1:50051") as df:``.

    Requests return the messages of ``proto/`` (``dataflow.client.messages``); errors are those of
    ``dataflow.core.errors`` and ``Unreachable``. One client serves any number of tasks of one
    event loop. ``dataflow.client.blocking`` is the same without asyncio.

    Args:
        server: ``HOST:PORT``, or any other target that gRPC knows.
        timeout: of each request, all its attempts together.
        connect_timeout: how long to try while the server was never reached; None is ``timeout``.
        tls: how the two sides are known to each other; None is no encryption.
        token: a bearer token, sent with every request; needs TLS unless the server is local.
        message_bytes_max: of a request and of an answer; the server has a limit too.
        keepalive: how often a silent connection is tested while requests are open.
        keepalive_timeout: how long such a test may take before the connection counts as broken.
        random: what ids and the jitter of waits are drawn from.
    """

    def __init__(
        self,
        server: str,
        *,
        timeout: timedelta = TIMEOUT,
        connect_timeout: timedelta | None = None,
        tls: Tls | None = None,
        token: str = "",
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        keepalive: timedelta = timedelta(seconds=30),
        keepalive_timeout: timedelta = timedelta(seconds=10),
        random: Random | None = None,
    ) -> None:
        self._settings = Settings(
            server=server,
            timeout=timeout,
            connect_timeout=connect_timeout,
            tls=tls,
            token=token,
            message_bytes_max=message_bytes_max,
            keepalive=keepalive,
            keepalive_timeout=keepalive_timeout,
            random=random or SystemRandom(),
        )
        self._connection = Connection(self._settings)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def push(
        self,
        pipeline_id: str,
        records: Records,
        *,
        batch_id: str = "",
        timeout: timedelta | None = None,
    ) -> IngestBatchResponse:
        """Push one batch to a pipeline whose source is ``push``; it is durable on return.

        The batch has an id before the first attempt, so a retry adds nothing; a server whose log
        is full is asked again when it says.

        Raises:
            Rejected: a record does not fit, or the batch is larger than a message may be.
        """
        request = self._batch(pipeline_id, records, batch_id)
        return await self._connection.call(self._connection.stub.IngestBatch, request, timeout)

    async def push_many(
        self,
        pipeline_id: str,
        batches: Iterable[Records] | AsyncIterable[Records],
        *,
        window: int = BATCHES_IN_FLIGHT,
        timeout: timedelta | None = None,
    ) -> AsyncIterator[IngestBatchResponse]:
        """Push batch after batch over one stream; yields each answer, in order, when durable.

        ``window`` batches are under way at most: reading the answers slowly slows the reading of
        ``batches``. After a broken stream the unanswered are sent again with their ids. With a
        window above 1, a batch that the server put off may enter the log after its successors.

        Raises:
            Rejected: a batch was refused; those before it are durable, those behind it may be.
            Unavailable: nothing was answered for as long as ``timeout``.
        """
        pipelined = Pipelined(
            self._connection,
            lambda requests: self._connection.stub.IngestBatches(
                requests, metadata=self._connection.metadata
            ),
            self._connection.attempts(timeout),
            window,
        )

        async def source() -> AsyncIterator[Push]:
            async for records in each(batches):
                yield Push(self._batch(pipeline_id, records, ""))

        async for slot in pipelined.answered(source()):
            yield cast("Push", slot).answer

    async def execute(
        self,
        commands: Iterable[Command] | AsyncIterable[Command],
        *,
        commands_a_message: int = COMMANDS_A_MESSAGE,
        window: int = MESSAGES_IN_FLIGHT,
        timeout: timedelta | None = None,
    ) -> AsyncIterator[CommandAnswer]:
        """Carry out commands in bulk; yields one answer a command, in order.

        A refused command is an answer with ``refusal`` (``from_refusal`` makes it an error), and
        its neighbours are unaffected. After a broken stream the unanswered are sent again with
        their command ids. A command that the server put off is asked again behind those sent
        since: let a command that needs another one's effect wait for its answer.

        Raises:
            Unavailable: nothing was answered for as long as ``timeout``.
        """
        pipelined = Pipelined(
            self._connection,
            lambda requests: self._connection.stub.Execute(
                requests, metadata=self._connection.metadata
            ),
            self._connection.attempts(timeout),
            window,
        )

        async def source() -> AsyncIterator[CommandsSlot]:
            async for group in grouped(each(commands), commands_a_message):
                yield CommandsSlot([self._with_id(command) for command in group])

        async for slot in pipelined.answered(source()):
            for answer in cast("CommandsSlot", slot).answers:
                yield answer

    def new_id(self) -> str:
        """Return an id that nobody else has, for a command or a batch."""
        return self._connection.new_id()

    def _with_id(self, command: Command) -> Command:
        kind = command.WhichOneof("command")
        if kind is None:
            raise Rejected("an empty command", field="commands")
        if getattr(command, kind).command_id:
            return command
        fixed = Command()
        fixed.CopyFrom(command)
        getattr(fixed, kind).command_id = self._connection.new_id()
        return fixed

    def _batch(self, pipeline_id: str, records: Records, batch_id: str) -> IngestBatchRequest:
        batch = batch_of(records, batch_id or self._connection.new_id())
        request = IngestBatchRequest(
            pipeline_id=pipeline_id,
            batch_id=batch.batch_id,
            content_type=batch.content_type,
            records=batch.records,
        )
        if request.ByteSize() > self._settings.message_bytes_max:
            raise Rejected(
                f"a batch of {request.ByteSize()} B, past the {self._settings.message_bytes_max} B"
                " of a message; push smaller batches, or raise message_bytes_max on both sides",
                code=Code.TOO_LARGE,
                field="records",
            )
        return request
