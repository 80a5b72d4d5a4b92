"""The simulator's own promises: time jumps, processes die without a word, or stand still."""

from __future__ import annotations

import asyncio
from random import Random

from tests.simulation.loop import Loop


async def _note(after_s: float, seen: list[float], loop: Loop) -> None:
    try:
        await asyncio.sleep(after_s)
        seen.append(loop.time())
    finally:
        seen.append(-1)


def test_time_passes_only_where_nobody_is_busy() -> None:
    """A day takes no longer than what happens in it."""
    loop, seen = Loop(Random(0)), list[float]()
    loop.process("a").spawn(_note(86_400, seen, loop))
    loop.run(until_s=100_000)
    assert seen == [86_400, -1]
    loop.dispose()


def test_a_process_that_is_ended_runs_nothing_more() -> None:
    """A killed process runs no finally, and the simulated one must not either."""
    loop, seen = Loop(Random(0)), list[float]()
    process = loop.process("a")
    process.spawn(_note(2, seen, loop))
    loop.outside.call_at(1, process.end)
    loop.run(until_s=10)
    assert seen == []
    loop.dispose()


def test_a_process_that_is_held_does_later_what_was_due() -> None:
    """SIGSTOP: the clock went on, and everything is late at once."""
    loop, seen = Loop(Random(0)), list[float]()
    process = loop.process("a")
    process.spawn(_note(2, seen, loop))
    loop.outside.call_at(1, process.hold)
    loop.outside.call_at(5, process.go_on)
    loop.run(until_s=10)
    assert seen == [5, -1]
    assert process.stood_still_s == 0
    loop.dispose()


def test_a_machine_that_stood_still_does_not_know_it() -> None:
    """A suspended machine: its timers wait as long as they would have, from when it goes on."""
    loop, seen = Loop(Random(0)), list[float]()
    process = loop.process("a")
    process.spawn(_note(2, seen, loop))
    loop.outside.call_at(1, lambda: process.hold(stops_clock=True))
    loop.outside.call_at(5, process.go_on)
    loop.run(until_s=10)
    assert seen == [6, -1]
    assert process.stood_still_s == 4
    loop.dispose()


def test_the_seed_says_which_process_goes_first() -> None:
    """The same seed the same way; some other seed another way."""

    def order(seed: int) -> str:
        loop, said = Loop(Random(seed)), list[str]()
        for name in "abcd":
            process = loop.process(name)
            for _ in range(3):
                process.call(said.append, name)
        loop.run(until_s=1)
        loop.dispose()
        return "".join(said)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(10)}) > 1
