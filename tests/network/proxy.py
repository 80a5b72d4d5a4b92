"""A network that a test can break: a TCP proxy in the test's own event loop.

What it holds back is not lost: as on a real network it arrives late, or never if the connection
is cut meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

CHUNK_BYTES = 1 << 16

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter


class Way:
    """One of the two directions of every connection."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.delay_s = 0.0
        self.bytes_max: int | None = None
        """A connection is cut before it would carry more than this."""


class Proxy:
    """Passes every connection to it on to one server, as well or as badly as it is told to."""

    def __init__(self, host: str, port: int, owner: asyncio.TaskGroup) -> None:
        self._upstream = (host, port)
        self._owner = owner
        self._connections: set[asyncio.Task[None]] = set()
        self._refusing = False
        self.requests, self.answers = Way(), Way()
        self.accepted = 0
        """How many connections have been made to it."""
        self.host, self.port = "127.0.0.1", 0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def cut(self) -> None:
        """Break every connection; new ones are passed on."""
        for connection in self._connections:
            connection.cancel()

    def refuse(self) -> None:
        """Break every connection, and those that are made from now on."""
        self._refusing = True
        self.cut()

    def hold(self) -> None:
        """Pass on nothing in either direction; connections stay open and new ones are accepted."""
        self.requests.free.clear()
        self.answers.free.clear()

    def hold_answers(self) -> None:
        """Let requests reach the server, and nothing come back."""
        self.answers.free.clear()

    def delay(self, delay_s: float) -> None:
        """Let everything be late by so much, each way."""
        self.requests.delay_s = self.answers.delay_s = delay_s

    def resume(self) -> None:
        """Pass everything on again, what was held back first."""
        self._refusing = False
        self.delay(0.0)
        for way in (self.requests, self.answers):
            way.bytes_max = None
            way.free.set()

    def accept(self, reader: Reader, writer: Writer) -> None:
        """Begin to pass on one connection, until one of its ends closes it."""
        self.accepted += 1
        if self._refusing:
            writer.transport.abort()
            return
        connection = self._owner.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: Reader, writer: Writer) -> None:
        ends = [writer]
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            ends.append(upstream_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, upstream_writer, self.requests))
                group.create_task(_pass_on(upstream_reader, writer, self.answers))
        except* OSError:
            pass  # one end has closed it, and so will the other see it
        finally:
            for end in ends:
                end.transport.abort()


async def _pass_on(reader: Reader, writer: Writer, way: Way) -> None:
    carried = 0
    while data := await reader.read(CHUNK_BYTES):
        await way.free.wait()
        if way.delay_s:
            await asyncio.sleep(way.delay_s)
        carried += len(data)
        if way.bytes_max is not None and carried > way.bytes_max:
            raise ConnectionAbortedError
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError  # so that the other direction ends too


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    """Run a proxy to a server on a free port."""
    async with asyncio.TaskGroup() as owner:
        proxy = Proxy(host, port, owner)
        server = await asyncio.start_server(proxy.accept, proxy.host, 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.refuse()
