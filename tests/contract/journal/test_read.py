"""Reading: logs, a pipeline's history, registers and snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import Offset, PipelineId, Run, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import (
    GENESIS,
    AppendId,
    Decided,
    Decision,
    Hash,
    Held,
    Journal,
    Nonce,
    Outcome,
    Record,
    Snapshot,
)

Author = Callable[..., list[Record]]
Opener = Callable[[], Awaitable[Journal]]

SHARD = ShardId(3)
FLIGHTS = PipelineId("flights")


def at(run: int, number: int) -> Stamp:
    """Return a stamp."""
    return Stamp(Run(run), number)


def decision(expected: Stamp, stamp: Stamp, pipeline: str = "flights") -> Decision:
    """Return a decision whose payload tells it apart."""
    return Decision(PipelineId(pipeline), expected, stamp, f"{pipeline} {stamp}".encode())


async def filled(journal: Journal, author: Author, count: int, pipeline: str = "flights") -> Held:
    """Write a log of ``count`` records in as many appends as it takes."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, count, pipeline=pipeline)
    for start in range(0, count, 700):
        part = records[start : start + 700]
        claim = await journal.append(claim, part, AppendId(f"{start}"))
    return claim


async def test_a_log_is_read_in_bounded_pages(journal: Journal, author: Author) -> None:
    """A long log must not need memory for all of it."""
    await filled(journal, author, 2500)
    pages = [page async for page in journal.read(SHARD, Offset(0))]
    assert [record.offset for page in pages for record in page] == list(range(1, 2501))
    assert max(len(page) for page in pages) <= 1000


async def test_reading_begins_behind_an_offset(journal: Journal, author: Author) -> None:
    """Recovery reads what came after its snapshot and nothing before."""
    await filled(journal, author, 10)
    found = [r.offset async for page in journal.read(SHARD, Offset(7)) for r in page]
    assert found == [8, 9, 10]


async def test_nothing_is_behind_the_end(journal: Journal, author: Author) -> None:
    """An owner that is up to date reads nothing, and that is no error."""
    await filled(journal, author, 2)
    assert [page async for page in journal.read(SHARD, Offset(2))] == []
    assert [page async for page in journal.read(ShardId(9), Offset(0))] == []


async def test_what_is_acknowledged_can_be_read(journal: Journal, author: Author) -> None:
    """Reading sees its own writes, at every moment and beside further ones."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    for number in range(20):
        claim = await journal.append(claim, author(claim), AppendId(f"{number}"))
        found = [r.offset async for page in journal.read(SHARD, Offset(number)) for r in page]
        assert found == [number + 1]


async def test_a_history_holds_one_pipeline_in_order(journal: Journal, author: Author) -> None:
    """A pipeline's events lie between those of its neighbours."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    for number in range(6):
        records = author(claim, 2, pipeline=("flights", "orders")[number % 2])
        claim = await journal.append(claim, records, AppendId(f"{number}"))
    found = await journal.history(FLIGHTS, SequenceNumber(2), 3)
    assert [(r.pipeline, r.sequence) for r in found] == [("flights", n) for n in (3, 4, 5)]


async def test_a_pipeline_without_events_has_an_empty_history(journal: Journal) -> None:
    """Asking is no write: an unknown name leaves nothing behind."""
    assert list(await journal.history(PipelineId("nobody"), SequenceNumber(0), 10)) == []


async def test_a_decision_overwrites_what_it_expected(open_journal: Opener) -> None:
    """The register holds the latest decision, also for the next process."""
    journal = await open_journal()
    claim = await journal.acquire(SHARD, Nonce("a"))
    for expected, stamp in ((at(0, 0), at(5, 1)), (at(5, 1), at(5, 2)), (at(5, 2), at(9, 3))):
        outcomes = await journal.decide(claim, [decision(expected, stamp)])
        assert list(outcomes) == [Outcome(accepted=True, stored=stamp)]
    journal = await open_journal()
    assert await journal.decision(SHARD, FLIGHTS) == Decided(
        at(9, 3), decision(at(5, 2), at(9, 3)).payload
    )


@pytest.mark.parametrize(
    ("expected", "stamp"),
    [
        (at(0, 0), at(9, 9)),
        (at(5, 1), at(9, 9)),
        (at(5, 3), at(9, 9)),
        (at(5, 2), at(5, 2)),
        (at(5, 2), at(5, 1)),
        (at(5, 2), at(4, 9)),
    ],
)
async def test_a_decision_that_expected_something_else_is_refused(
    journal: Journal, expected: Stamp, stamp: Stamp
) -> None:
    """Two runs must never both decide; a register never goes back."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.decide(claim, [decision(at(0, 0), at(5, 2))])
    outcomes = await journal.decide(claim, [decision(expected, stamp)])
    assert list(outcomes) == [Outcome(accepted=False, stored=at(5, 2))]
    kept = await journal.decision(SHARD, FLIGHTS)
    assert kept == Decided(at(5, 2), decision(at(0, 0), at(5, 2)).payload)


async def test_a_refused_decision_leaves_its_neighbours_alone(journal: Journal) -> None:
    """One tick decides for many pipelines in one write; each stands for itself."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    given = [
        decision(at(0, 0), at(5, 1), "a"),
        decision(at(4, 4), at(5, 1), "b"),
        decision(at(0, 0), at(5, 1), "c"),
    ]
    outcomes = await journal.decide(claim, given)
    assert [outcome.accepted for outcome in outcomes] == [True, False, True]
    kept = [await journal.decision(SHARD, PipelineId(name)) for name in "abc"]
    assert [k and k.stamp for k in kept] == [at(5, 1), None, at(5, 1)]


async def test_of_decisions_at_the_same_time_one_is_accepted(journal: Journal) -> None:
    """Calls that share a write are judged one behind the other, not all by what was before."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(journal.decide(claim, [decision(at(0, 0), at(run, 1))]))
            for run in range(1, 9)
        ]
    accepted = [outcome.accepted for task in tasks for outcome in task.result()]
    assert accepted.count(True) == 1


async def test_nobody_has_decided_at_first(journal: Journal) -> None:
    """An empty register is None, and not a decision of nothing."""
    assert await journal.decision(SHARD, FLIGHTS) is None


async def test_the_newest_snapshot_is_loaded(open_journal: Opener, author: Author) -> None:
    """Whatever its size: a large one is kept in pieces and comes back whole."""
    journal = await open_journal()
    claim = await filled(journal, author, 1)
    expected = Snapshot(claim.offset, claim.head, b"")
    for size in (10, 1_000_000, 0, 700_000):
        expected = Snapshot(claim.offset, claim.head, bytes(n % 251 for n in range(size)))
        await journal.save_snapshot(claim, expected)
        assert await journal.load_snapshot(SHARD) == expected
        claim = await journal.append(claim, author(claim), AppendId(f"s{size}"))
    journal = await open_journal()
    assert await journal.load_snapshot(SHARD) == expected


async def test_a_snapshot_of_another_log_is_passed_over(journal: Journal, author: Author) -> None:
    """A state that these records did not lead to is worse than none; the one before is kept."""
    claim = await filled(journal, author, 4)
    records = [r async for page in journal.read(SHARD, Offset(0)) for r in page]
    good = Snapshot(Offset(2), records[1].hash, b"good")
    await journal.save_snapshot(claim, Snapshot(Offset(1), records[0].hash, b"older"))
    await journal.save_snapshot(claim, good)
    await journal.save_snapshot(claim, Snapshot(Offset(3), Hash(bytes(32)), b"strange"))
    assert await journal.load_snapshot(SHARD) == good


async def test_a_snapshot_ahead_of_the_log_is_passed_over(journal: Journal, author: Author) -> None:
    """Its events are not there: nothing may be built on them."""
    claim = await filled(journal, author, 1)
    await journal.save_snapshot(claim, Snapshot(Offset(7), Hash(bytes(32)), b"future"))
    assert await journal.load_snapshot(SHARD) is None


async def test_a_snapshot_of_an_empty_log_counts(journal: Journal) -> None:
    """Its hash is what stands before the first record."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    empty = Snapshot(Offset(0), GENESIS, b"nothing")
    await journal.save_snapshot(claim, empty)
    assert await journal.load_snapshot(SHARD) == empty
