"""Answers find their requests by their place alone, whatever gRPC still does with older streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import grpc
from grpc import aio

from dataflow.client.connection import Connection, Settings
from dataflow.client.pipelined import Pipelined
from dataflow.core.errors import DataFlowError

NUMBERS = [0, 1, 2]


@dataclass
class Number:
    """A slot whose answer is its own request."""

    asked: int
    answered: list[int] = field(default_factory=list)

    def request(self) -> int:
        """Return the number."""
        return self.asked

    def settle(self, answer: int) -> DataFlowError | None:
        """Keep an answer."""
        self.answered.append(answer)
        return None


class Broken:
    """A stream that breaks at once; gRPC has not begun to read its requests."""

    def __init__(self, requests: AsyncIterator[int]) -> None:
        self.requests = requests

    async def read(self) -> object:
        """Break."""
        nothing = aio.Metadata()
        raise aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing)

    def cancel(self) -> None:
        """Leave the requests as they are."""


class Echo(Broken):
    """A stream that answers each request with itself, while gRPC reads for the one before it."""

    def __init__(self, requests: AsyncIterator[int], before: Broken) -> None:
        super().__init__(requests)
        self._before = before

    async def read(self) -> object:
        """Return the next answer."""
        await anext(self._before.requests, None)
        return await anext(self.requests, aio.EOF)


async def test_what_reads_for_a_stream_that_broke_moves_no_answer_to_another_request() -> None:
    """GRPC reads on for a moment; one entry too many gave each answer to the request before."""
    streams: list[Broken] = []

    def begin(requests: AsyncIterator[int]) -> aio.StreamStreamCall[int, int]:
        streams.append(Echo(requests, streams[-1]) if streams else Broken(requests))
        return cast("aio.StreamStreamCall[int, int]", streams[-1])

    async def source() -> AsyncIterator[Number]:
        for number in NUMBERS:
            yield Number(number)

    connection = Connection(Settings("127.0.0.1:1", timeout=timedelta(seconds=2)))
    await connection.open()
    try:
        run = Pipelined(connection, begin, connection.attempts(), len(NUMBERS))
        async with asyncio.timeout(10):
            found = [cast("Number", slot) async for slot in run.answered(source())]
    finally:
        await connection.close()
    assert [(one.asked, one.answered) for one in found] == [(n, [n]) for n in NUMBERS]
