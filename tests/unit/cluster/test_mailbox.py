"""A mailbox gives messages in order, and gives up waiting when it was told to, not before."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from dataflow.cluster.mailbox import Mailbox


async def test_messages_come_in_order_and_then_there_are_none() -> None:
    """What is there is given without any patience."""
    box: Mailbox[int] = Mailbox()
    for number in range(3):
        box.put(number)
    assert [await box.get(0) for _ in range(4)] == [0, 1, 2, None]


async def test_a_reader_hears_of_a_message_while_it_waits() -> None:
    """However much patience it has."""
    box: Mailbox[str] = Mailbox()
    asyncio.get_running_loop().call_later(0.01, box.put, "late")
    async with asyncio.timeout(5):
        assert await box.get(60) == "late"
    box.close()


@pytest.mark.parametrize(("first_s", "then_s"), [(60, 0.05), (0.05, 0.1), (0.02, 0.3)])
async def test_patience_is_that_of_the_latest_question(first_s: float, then_s: float) -> None:
    """The timer of an earlier one neither cuts it short nor draws it out."""
    loop = asyncio.get_running_loop()
    box: Mailbox[int] = Mailbox()
    loop.call_soon(box.put, 1)
    assert await box.get(first_s) == 1
    asked_s = loop.time()
    async with asyncio.timeout(5):
        assert await box.get(then_s) is None
    assert loop.time() - asked_s >= then_s - 0.002  # A timer's own grain.


async def test_what_came_to_a_reader_that_gave_up_is_there_for_the_next() -> None:
    """A message is never lost with the one who waited for it."""
    box: Mailbox[int] = Mailbox()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(box.get(60))
        await asyncio.sleep(0)
        box.put(1)
        reading.cancel()
    assert reading.cancelled()
    assert await box.get(0) == 1
    box.close()


def test_it_is_the_same_over_the_loop_that_programs_use() -> None:
    """There a timer that is due within the millisecond is none: nobody can ask when it strikes."""

    async def asked() -> list[int | None]:
        box: Mailbox[int] = Mailbox()
        found = []
        for number in range(100):
            asyncio.get_running_loop().call_soon(box.put, number)
            found += [await box.get(0.0004), await box.get(0)]
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(asked())
    assert [one for one in found if one is not None] == list(range(100))
