"""The asking end: a stream to each program that was asked, made when it is first needed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc

from dataflow.cluster.links.contract import (
    MESSAGE_BYTES,
    MESSAGE_BYTES_MAX,
    WAITING_MAX,
    LinkLost,
)
from dataflow.core.errors import Unavailable
from dataflow.v1 import node_pb2 as pb
from dataflow.v1.node_pb2_grpc import NodeServiceStub
from dataflow.wire.errors import error_from

if TYPE_CHECKING:  # the stubs know more classes than the module has
    from dataflow.v1.node_pb2_grpc import NodeServiceAsyncStub

OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 10_000),  # a program that hangs is given up after 13 s
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class GrpcLinks:
    """Implements ``Links`` over gRPC."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._links: dict[str, _Link] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[GrpcLinks, None]:
        """Return links to nobody yet; on leaving, every question is given up."""
        async with asyncio.TaskGroup() as tasks:
            links = cls(tasks)
            try:
                yield links
            finally:
                for link in links._links.values():
                    link.close()

    async def ask(self, address: str, name: str, payload: bytes, patience: timedelta) -> bytes:
        """See ``Links.ask``."""
        link = self._links.get(address)
        if link is None or link.is_lost:
            link = self._links[address] = _Link(address)
            link.work = self._tasks.create_task(link.carry())
        return await link.ask(name, payload, patience)

    async def follow(self, address: str, name: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        """See ``Links.follow``."""
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            stub: NodeServiceAsyncStub = NodeServiceStub(channel)
            question = pb.Question(id=1, name=name, payload=payload)
            call = stub.Follow(pb.FollowRequest(question=question))
            try:
                async for told in call:
                    yield _payload(told.reply)
            except grpc.aio.AioRpcError as error:
                raise _lost(address, error) from error
            finally:
                call.cancel()


class _Link:
    """One stream. When it is lost, so is everything that was asked on it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._asked = 0
        self._outgoing: deque[pb.Question] = deque()
        self._some = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self.is_lost = False
        self.work: asyncio.Task[None] | None = None

    async def ask(self, name: str, payload: bytes, patience: timedelta) -> bytes:
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable(f"{WAITING_MAX} questions wait for {self._address}; try again")
        self._asked += 1
        number = self._asked
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._outgoing.append(pb.Question(id=number, name=name, payload=payload))
        self._some.set()
        try:
            async with asyncio.timeout(patience.total_seconds()):
                reply: bytes = await future
                return reply
        except TimeoutError:
            raise LinkLost(f"{self._address} did not answer in time; ask again") from None
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Give everything up."""
        if self.work is not None:
            self.work.cancel()

    async def carry(self) -> None:
        """Carry questions there and replies back, until the stream is lost."""
        try:
            async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
                stub: NodeServiceAsyncStub = NodeServiceStub(channel)
                try:
                    async for told in stub.Link(self._requests()):
                        for reply in told.replies:
                            self._take(reply)
                finally:
                    # The call does not end the task that it reads requests with.
                    self.is_lost = True
                    self._some.set()
            self._lose(LinkLost(f"{self._address} closed the link; ask again"))
        except grpc.aio.AioRpcError as error:
            self._lose(_lost(self._address, error))
        except asyncio.CancelledError:
            self._lose(LinkLost(f"the link to {self._address} is closed"))
            raise

    async def _requests(self) -> AsyncIterator[pb.LinkRequest]:
        while True:
            await self._some.wait()
            if self.is_lost:
                return
            request, size = pb.LinkRequest(), 0
            while self._outgoing and size < MESSAGE_BYTES:
                question = self._outgoing.popleft()
                size += len(question.payload)
                request.questions.append(question)
            if not self._outgoing:
                self._some.clear()
            yield request

    def _take(self, reply: pb.Reply) -> None:
        future = self._waiting.get(reply.id)
        if future is None or future.done():
            return
        try:
            future.set_result(_payload(reply))
        except Exception as error:  # noqa: BLE001 - whatever was raised there is raised here
            future.set_exception(error)

    def _lose(self, error: LinkLost) -> None:
        self.is_lost = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)


def _payload(reply: pb.Reply) -> bytes:
    if reply.HasField("refusal"):
        raise error_from(reply.refusal)
    return reply.payload


def _lost(address: str, error: grpc.aio.AioRpcError) -> LinkLost:
    what: Any = error.code()
    return LinkLost(f"{address} cannot be reached: {what.name.lower()} {error.details()}")
