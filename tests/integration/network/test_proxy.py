"""The network that other tests break: a fault that does nothing would prove everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.network.proxy import Proxy, proxy_to

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENCE_S = 20.0
A_WHILE_S = 0.1
"""Long enough for bytes that may pass to have passed."""


class Echo:
    """A server that sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.got = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                self.got += data
                writer.write(data)
        writer.close()


@pytest.fixture
def echo() -> Echo:
    """Return the server's memory."""
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    """Run a proxy to the server."""
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server, proxy_to("127.0.0.1", server.sockets[0].getsockname()[1]) as made:
        yield made


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Ends]:
    """Connect to the proxy."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    yield reader, writer
    writer.transport.abort()


async def answered(ends: Ends, text: bytes) -> bytes:
    """Send something and return what comes back, or nothing when the connection is broken."""
    reader, writer = ends
    writer.write(text)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.readexactly(len(text))
    except (OSError, asyncio.IncompleteReadError):
        return b""


async def test_it_passes_everything_on_when_it_is_told_nothing(proxy: Proxy) -> None:
    """Both ways, also more than fits into one piece."""
    text = bytes(range(256)) * 4096
    async with connected(proxy) as ends:
        assert await answered(ends, text) == text


async def test_a_cut_breaks_what_is_open_and_lets_others_in(proxy: Proxy) -> None:
    """As a router that was restarted."""
    async with connected(proxy) as ends:
        assert await answered(ends, b"1") == b"1"
        proxy.cut()
        assert await answered(ends, b"2") == b""
    async with connected(proxy) as ends:
        assert await answered(ends, b"3") == b"3"
    assert proxy.accepted == 2


async def test_what_is_refused_gets_nowhere_until_it_resumes(proxy: Proxy, echo: Echo) -> None:
    """As a server that is gone."""
    proxy.refuse()
    async with connected(proxy) as ends:
        assert await answered(ends, b"1") == b""
    proxy.resume()
    async with connected(proxy) as ends:
        assert await answered(ends, b"2") == b"2"
    assert echo.got == b"2"


async def test_what_is_held_arrives_late(proxy: Proxy, echo: Echo) -> None:
    """As packets that are sent again; new connections are held too."""
    proxy.hold()
    async with connected(proxy) as ends, asyncio.TaskGroup() as group:
        answer = group.create_task(answered(ends, b"1"))
        await asyncio.sleep(A_WHILE_S)
        assert (echo.got, answer.done()) == (b"", False)
        proxy.resume()
    assert answer.result() == b"1"


async def test_held_answers_let_requests_through(proxy: Proxy, echo: Echo) -> None:
    """What the server did, the client cannot know."""
    proxy.hold_answers()
    async with connected(proxy) as ends, asyncio.TaskGroup() as group:
        answer = group.create_task(answered(ends, b"1"))
        await asyncio.sleep(A_WHILE_S)
        assert (echo.got, answer.done()) == (b"1", False)
        proxy.cut()
    assert answer.result() == b""


async def test_a_connection_is_cut_after_so_many_bytes(proxy: Proxy) -> None:
    """In the middle of a long answer."""
    proxy.answers.bytes_max = 1000
    async with connected(proxy) as ends:
        assert await answered(ends, bytes(1000)) == bytes(1000)
        assert await answered(ends, b"1") == b""


async def test_everything_is_late_by_what_it_is_told(proxy: Proxy) -> None:
    """Each way: an answer takes twice as long."""
    proxy.delay(A_WHILE_S)
    begun_s = asyncio.get_running_loop().time()
    async with connected(proxy) as ends:
        assert await answered(ends, b"1") == b"1"
    assert asyncio.get_running_loop().time() - begun_s >= 2 * A_WHILE_S
