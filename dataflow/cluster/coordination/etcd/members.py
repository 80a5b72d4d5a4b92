"""A connection to each member, and which one is asked next; for one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import grpc
from grpc import aio

from dataflow.cluster.coordination.etcd.place import CHANNEL_OPTIONS, Place
from dataflow.cluster.coordination.etcd.rpcs import A, Metadata, Q, Rpc
from dataflow.core.errors import Code, Unavailable

CLOSED = "the client of etcd is closed"

State = grpc.ChannelConnectivity


class Member:
    """A connection to one member, made when it is first needed and again when it is lost."""

    def __init__(self, place: Place, endpoint: str) -> None:
        credentials = place.credentials()
        self.endpoint = endpoint
        self._channel = (
            aio.insecure_channel(endpoint, CHANNEL_OPTIONS)
            if credentials is None
            else aio.secure_channel(endpoint, credentials, CHANNEL_OPTIONS)
        )

    async def connect(self, within_s: float) -> bool:
        """Wait until a call would go out, or fail at once with a reason; False when neither."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    state = self._channel.get_state(try_to_connect=True)
                    if state in (State.READY, State.TRANSIENT_FAILURE):
                        return True
                    await self._channel.wait_for_state_change(state)
        return False

    async def call(self, rpc: Rpc[Q, A], request: Q, metadata: Metadata, within_s: float) -> A:
        """Ask once.

        Raises:
            AioRpcError: whatever went wrong.
        """
        method = self._channel.unary_unary(rpc.path, rpc.encode, rpc.decode)
        answer: A = await method(request, timeout=within_s, metadata=aio.Metadata(*metadata))
        return answer

    def stream(
        self, rpc: Rpc[Q, A], requests: AsyncIterator[Q], metadata: Metadata
    ) -> aio.StreamStreamCall[Q, A]:
        """Begin a stream both ways."""
        method = self._channel.stream_stream(rpc.path, rpc.encode, rpc.decode)
        return method(requests, metadata=aio.Metadata(*metadata))

    async def close(self) -> None:
        """End every call and the connection."""
        await self._channel.close()


class Members:
    """All members of one etcd; calls stay with one until it fails."""

    def __init__(self, place: Place) -> None:
        self._all = [Member(place, endpoint) for endpoint in place.endpoints]
        self._at = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    @property
    def current(self) -> Member:
        """The member to ask."""
        return self._all[self._at]

    def failed(self, member: Member) -> None:
        """Ask another from now on, unless somebody has found that out already."""
        if member is self.current:
            self._at = (self._at + 1) % len(self._all)

    @contextmanager
    def using(self, *, changing: bool = False) -> Iterator[None]:
        """Turn what closing does to a call under way into an error; a task's own end stays one.

        Raises:
            Unavailable: the client is closed; if it was just now, and the call is ``changing``
                something, with ``OUTCOME_UNKNOWN``.
        """
        if self._closed:
            raise Unavailable(CLOSED)
        try:
            yield
        except (asyncio.CancelledError, aio.UsageError) as error:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                code = Code.OUTCOME_UNKNOWN if changing else Code.BUSY
                raise Unavailable(CLOSED, code=code) from error
            raise

    async def close(self) -> None:
        """End every call and connection."""
        self._closed = True
        for member in self._all:
            await member.close()
