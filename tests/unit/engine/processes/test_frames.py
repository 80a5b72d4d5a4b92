"""Messages over a socket come as they were sent, however the system cuts them."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.core.errors import Code, Rejected
from dataflow.engine.processes import link
from dataflow.engine.processes.link import LENGTH, Frames, Link


def framed(messages: list[bytes]) -> bytes:
    """Return messages as they are sent."""
    return b"".join(LENGTH.pack(len(message)) + message for message in messages)


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 40), max_size=40))
def test_messages_arrive_whole_and_in_order_in_whatever_pieces(
    messages: list[bytes], sizes: list[int]
) -> None:
    """A read may end anywhere, also within a length."""
    data, frames = framed(messages), Frames()
    found: list[bytes] = []
    for size in sizes:
        piece, data = data[:size], data[size:]
        found += frames.feed(piece)
    found += frames.feed(data)
    assert found == messages


def test_a_length_that_nobody_sends_is_refused_before_it_is_waited_for() -> None:
    """Else one broken byte would gather whatever comes, until the memory is full."""
    with pytest.raises(ValueError, match="are the most"):
        list(Frames().feed(LENGTH.pack(link.FRAME_BYTES_MAX + 1)))


class End:
    """One end of a link, and what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.times_lost = 0

    def lose(self) -> None:
        """Note that the other end is gone."""
        self.times_lost += 1
        self.lost.set()


async def linked() -> tuple[Link, End, socket.socket]:
    """Return a link, what it hears, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    end = End()
    return await Link.open(ours, end.heard.put_nowait, end.lose), end, theirs


async def test_a_message_is_sent_behind_its_length() -> None:
    """Whoever reads knows how much to wait for."""
    made, _, theirs = await linked()
    made.send(b"hello")
    data = await asyncio.get_running_loop().sock_recv(theirs, 100)
    assert data == framed([b"hello"])
    made.close()
    theirs.close()


async def test_the_end_of_the_other_end_is_told_once_after_all_it_said() -> None:
    """Its last words are the reason why it ended."""
    made, end, theirs = await linked()
    await asyncio.get_running_loop().sock_sendall(theirs, framed([b"last", b"words"]))
    theirs.close()
    await end.lost.wait()
    assert [end.heard.get_nowait(), end.heard.get_nowait()] == [b"last", b"words"]
    made.send(b"to nobody")
    made.close()
    await asyncio.sleep(0)
    assert end.times_lost == 1


async def test_what_cannot_be_understood_ends_the_link() -> None:
    """Nothing behind it can be understood either."""
    _, end, theirs = await linked()
    await asyncio.get_running_loop().sock_sendall(theirs, b"\xff" * 8)
    await end.lost.wait()
    theirs.close()


async def test_a_message_that_is_too_large_is_refused_and_the_link_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It concerns one run; the others go on."""
    made, _, theirs = await linked()
    monkeypatch.setattr(link, "FRAME_BYTES_MAX", 4)
    with pytest.raises(Rejected) as caught:
        made.send(b"hello")
    assert caught.value.code == Code.TOO_LARGE
    made.send(b"ok")
    assert await asyncio.get_running_loop().sock_recv(theirs, 100) == framed([b"ok"])
    made.close()
    theirs.close()


async def test_what_the_other_end_does_not_take_is_counted() -> None:
    """Sending never waits, so whoever sends must be able to see that it is too much."""
    made, _, theirs = await linked()
    for _ in range(64):
        made.send(b"x" * (64 << 10))
    assert made.unsent > 1 << 20
    made.close()
    theirs.close()
