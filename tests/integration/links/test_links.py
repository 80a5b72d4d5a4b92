"""Questions between two programs, over a real stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from dataflow.cluster.links import contract
from dataflow.cluster.links.answering import serving
from dataflow.cluster.links.asking import GrpcLinks
from dataflow.cluster.links.contract import LinkLost
from dataflow.core import errors as e

PATIENCE = timedelta(seconds=10)


@dataclass
class Answering:
    """Answers with what it was asked, in ways that a test chooses by the name."""

    asked: list[bytes] = field(default_factory=list)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    async def answer(self, name: str, payload: bytes) -> bytes:
        self.asked.append(payload)
        if name == "wait":
            await self.let.wait()
        if self.error is not None:
            raise self.error
        return payload[::-1]

    async def follow(self, name: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(3):
                yield payload + str(number).encode()
            if self.error is not None:
                raise self.error
            await self.let.wait()
        finally:
            self.closed.set()


@asynccontextmanager
async def linked() -> AsyncGenerator[tuple[GrpcLinks, Answering, str], None]:
    """Two ends of a link."""
    answering = Answering()
    async with serving(answering, "127.0.0.1:0") as port, GrpcLinks.open() as links:
        yield links, answering, f"127.0.0.1:{port}"


async def test_every_question_gets_its_own_reply_in_whatever_order() -> None:
    """One that waits holds up nobody."""
    async with linked() as (links, answering, address), asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(links.ask(address, "wait", b"slow", PATIENCE))
        quick = await links.ask(address, "", b"quick", PATIENCE)
        assert (quick, slow.done()) == (b"kciuq", False)
        answering.let.set()
        assert await slow == b"wols"


async def test_questions_arrive_in_the_order_of_the_calls() -> None:
    """The order of commands rests on it."""
    async with linked() as (links, answering, address):
        async with asyncio.TaskGroup() as tasks:
            for number in range(500):
                tasks.create_task(links.ask(address, "", str(number).encode(), PATIENCE))
        assert answering.asked == [str(number).encode() for number in range(500)]


async def test_large_questions_are_carried_whole() -> None:
    """A pushed batch has up to 16 MiB."""
    async with linked() as (links, _, address):
        payload = bytes(16 << 20)
        assert await links.ask(address, "", payload, PATIENCE) == payload


@pytest.mark.parametrize(
    "error",
    [
        e.Rejected("no", code=e.Code.UNKNOWN_PIPELINE, field="pipelineId"),
        e.Invalid([e.Problem("a", "bad"), e.Problem("b", "worse")]),
        e.Unavailable("full", retry_after=timedelta(seconds=3)),
        e.Waiting("for a file"),
        e.Fenced("larger"),
        e.NotOwner("elsewhere"),
        e.Corrupted("broken"),
    ],
)
async def test_an_error_is_raised_where_it_is_heard(error: e.DataFlowError) -> None:
    """Who asks over a link must act as one who asks directly."""
    async with linked() as (links, answering, address):
        answering.error = error
        with pytest.raises(e.DataFlowError) as raised:
            await links.ask(address, "", b"", PATIENCE)
        heard = raised.value
        assert (type(heard), heard.code, str(heard)) == (type(error), error.code, str(error))
        assert getattr(heard, "retry_after", None) == getattr(error, "retry_after", None)
        assert getattr(heard, "problems", ()) == getattr(error, "problems", ())


async def test_a_bug_at_the_other_end_is_unavailable_here_and_shown_there() -> None:
    """Its text may hold what the asker must not see."""
    async with linked() as (links, answering, address):
        answering.error = KeyError("secret")
        with pytest.raises(e.Unavailable, match="its log shows") as raised:
            await links.ask(address, "", b"", PATIENCE)
        assert raised.value.code is e.Code.INTERNAL


async def test_a_question_to_nobody_is_lost_and_the_next_one_is_asked_anew() -> None:
    """A node that was away is asked as soon as it is back."""
    async with GrpcLinks.open() as links:
        async with serving(Answering(), "127.0.0.1:0") as port:
            address = f"127.0.0.1:{port}"
            assert await links.ask(address, "", b"ab", PATIENCE) == b"ba"
        with pytest.raises(LinkLost):
            await links.ask(address, "", b"ab", PATIENCE)
        async with serving(Answering(), address):
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert await links.ask(address, "", b"ab", PATIENCE) == b"ba"
                    except LinkLost:
                        await asyncio.sleep(0.05)
                    else:
                        break


async def test_what_was_asked_when_the_other_end_went_is_of_unknown_outcome() -> None:
    """It may have been done."""
    async with GrpcLinks.open() as links:
        answering = Answering()
        async with asyncio.TaskGroup() as tasks:
            async with serving(answering, "127.0.0.1:0") as port:
                asked = tasks.create_task(_lost(links, f"127.0.0.1:{port}"))
                while not answering.asked:  # noqa: ASYNC110 - the other end is what is waited for
                    await asyncio.sleep(0.01)
            assert await asked is e.Code.OUTCOME_UNKNOWN


async def _lost(links: GrpcLinks, address: str) -> str:
    with pytest.raises(LinkLost) as raised:
        await links.ask(address, "wait", b"", PATIENCE)
    return raised.value.code


async def test_a_reply_that_does_not_come_is_waited_for_no_longer_than_was_said() -> None:
    """No wait is endless, and the link goes on."""
    async with linked() as (links, answering, address):
        with pytest.raises(LinkLost, match="in time"):
            await links.ask(address, "wait", b"", timedelta(seconds=0.05))
        assert await links.ask(address, "", b"ab", PATIENCE) == b"ba"
        answering.let.set()


async def test_too_many_questions_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is held in memory."""
    monkeypatch.setattr("dataflow.cluster.links.asking.WAITING_MAX", 2)
    async with linked() as (links, answering, address), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(links.ask(address, "wait", b"", PATIENCE))
        await asyncio.sleep(0.01)
        with pytest.raises(e.Unavailable, match="2 questions wait"):
            await links.ask(address, "", b"", PATIENCE)
        answering.let.set()


async def test_who_follows_hears_every_answer_and_ends_it_by_going() -> None:
    """The other end must not go on for nobody."""
    async with linked() as (links, answering, address):
        async with aclosing(links.follow(address, "watch", b"n")) as answers:
            heard = [await anext(answers) for _ in range(3)]
        assert heard == [b"n0", b"n1", b"n2"]
        async with asyncio.timeout(10):
            await answering.closed.wait()


async def test_an_error_ends_what_is_followed() -> None:
    """And is raised as it was there."""
    async with linked() as (links, answering, address):
        answering.error = e.NotOwner("it moved")
        heard: list[bytes] = []

        async def hear() -> None:
            async with aclosing(links.follow(address, "watch", b"n")) as answers:
                while True:
                    heard.append(await anext(answers))

        with pytest.raises(e.NotOwner, match="it moved"):
            await hear()
        assert heard == [b"n0", b"n1", b"n2"]


def test_a_message_has_room_for_the_largest_batch() -> None:
    """Else it could be pushed to its owner and to no other node."""
    assert contract.MESSAGE_BYTES_MAX > contract.MESSAGE_BYTES + (16 << 20)
