"""Fences and appends: who may write a log, and what one write is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Corrupted, DataFlowError, Fenced, Rejected, Unavailable
from dataflow.core.ids import Offset, PipelineId, Run, ShardId
from dataflow.journal.contract import (
    APPEND_BYTES_MAX,
    GENESIS,
    AppendId,
    Decision,
    Fence,
    Hash,
    Held,
    Journal,
    Nonce,
    Record,
    Snapshot,
)

Author = Callable[..., list[Record]]
Opener = Callable[[], Awaitable[Journal]]

SHARD = ShardId(3)
DECISION = Decision(PipelineId("flights"), Stamp(), Stamp(Run(1), 1), b"decided")


async def read_all(journal: Journal, shard: ShardId = SHARD, after: int = 0) -> list[Record]:
    """Return a log from an offset on."""
    return [record async for page in journal.read(shard, Offset(after)) for record in page]


async def test_acquiring_raises_the_fence(journal: Journal) -> None:
    """The larger number is what makes the former owner harmless."""
    first = await journal.acquire(SHARD, Nonce("a"))
    second = await journal.acquire(SHARD, Nonce("b"))
    assert (first, second.fence) == (Held(SHARD, Fence(1), Offset(0), GENESIS), 2)


async def test_acquiring_again_with_the_same_nonce_is_one_acquisition(journal: Journal) -> None:
    """An owner whose answer was lost repeats the call and must not fence itself."""
    assert await journal.acquire(SHARD, Nonce("a")) == await journal.acquire(SHARD, Nonce("a"))


async def test_of_many_racing_acquirers_one_can_write(journal: Journal, author: Author) -> None:
    """However they overlap, each gets a fence of its own and only the largest counts."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(journal.acquire(SHARD, Nonce(f"n{n}"))) for n in range(8)]
    claims = sorted((task.result() for task in tasks), key=lambda claim: claim.fence)
    assert [claim.fence for claim in claims] == list(range(1, 9))
    for claim in claims[:-1]:
        with pytest.raises(Fenced):
            await journal.append(claim, author(claim), AppendId("late"))
    await journal.append(claims[-1], author(claims[-1]), AppendId("current"))


@pytest.mark.parametrize("write", ["append", "decide", "save_snapshot"])
async def test_a_smaller_fence_writes_nothing(journal: Journal, author: Author, write: str) -> None:
    """A former owner that has not noticed must change neither log, register nor snapshot."""
    former = await journal.acquire(SHARD, Nonce("a"))
    await journal.acquire(SHARD, Nonce("b"))
    writes: dict[str, Callable[[], Awaitable[object]]] = {
        "append": lambda: journal.append(former, author(former), AppendId("x")),
        "decide": lambda: journal.decide(former, [DECISION]),
        "save_snapshot": lambda: journal.save_snapshot(
            former, Snapshot(Offset(0), GENESIS, b"old")
        ),
    }
    with pytest.raises(Fenced, match="shard 3 has fence 2"):
        await writes[write]()
    left = [
        await read_all(journal),
        await journal.decision(SHARD, DECISION.pipeline),
        await journal.load_snapshot(SHARD),
    ]
    assert left == [[], None, None]


async def test_a_fence_that_was_never_given_out_is_corruption(
    journal: Journal, author: Author
) -> None:
    """The store went back in time: a writer that goes on would fork the log."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    with pytest.raises(Corrupted, match="went back"):
        await journal.append(replace(claim, fence=Fence(9)), author(claim), AppendId("x"))


async def test_an_append_returns_where_the_next_one_goes(journal: Journal, author: Author) -> None:
    """The owner writes on from what it is told, without reading."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    first = author(claim, 3)
    claim = await journal.append(claim, first, AppendId("1"))
    assert (claim.offset, claim.head, claim.fence) == (3, first[-1].hash, 1)
    second = author(claim, 2)
    await journal.append(claim, second, AppendId("2"))
    assert await read_all(journal) == [*first, *second]


async def test_the_end_of_a_log_outlives_the_process(open_journal: Opener, author: Author) -> None:
    """The next owner gets the offset and head of what was acknowledged, and all of it."""
    journal = await open_journal()
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, 5)
    claim = await journal.append(claim, records, AppendId("1"))
    journal = await open_journal()
    again = await journal.acquire(SHARD, Nonce("b"))
    assert again == replace(claim, fence=Fence(2))
    assert await read_all(journal) == records


@pytest.mark.parametrize(
    "spoil",
    [
        lambda records: records[1:],
        lambda records: [records[0], records[2]],
        lambda records: [records[1], records[0], records[2]],
        lambda records: [records[0], replace(records[1], payload=b"other"), records[2]],
        lambda records: [*records[:2], replace(records[2], hash=Hash(bytes(32)))],
    ],
    ids=["gap before", "gap", "order", "payload", "hash"],
)
async def test_records_that_do_not_follow_are_refused_together(
    journal: Journal, author: Author, spoil: Callable[[list[Record]], list[Record]]
) -> None:
    """All or none: what would break the chain must not leave its good half behind."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, 3)
    with pytest.raises(Corrupted, match="shard 3"):
        await journal.append(claim, spoil(records), AppendId("1"))
    assert await read_all(journal) == []
    await journal.append(claim, records, AppendId("2"))


@pytest.mark.parametrize("wrong", [{"offset": Offset(0)}, {"head": Hash(bytes(32))}])
async def test_an_append_behind_another_end_is_refused(
    journal: Journal, author: Author, wrong: dict[str, object]
) -> None:
    """The writer's idea of the log is not the log: going on would lose or fork it."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    claim = await journal.append(claim, author(claim, 2), AppendId("1"))
    misled = replace(claim, **wrong)  # type: ignore[arg-type]  # one field or the other
    with pytest.raises(Corrupted, match="the log ends at offset 2"):
        await journal.append(misled, author(misled), AppendId("2"))


async def test_a_repeated_append_is_one_append(open_journal: Opener, author: Author) -> None:
    """An owner that lost the answer repeats the identical append, here and after a restart."""
    journal = await open_journal()
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, 2)
    first = await journal.append(claim, records, AppendId("1"))
    assert await journal.append(claim, records, AppendId("1")) == first
    journal = await open_journal()
    assert await journal.append(claim, records, AppendId("1")) == first
    assert await read_all(journal) == records


async def test_an_append_id_does_not_excuse_other_records(journal: Journal, author: Author) -> None:
    """Only the identical append is a repetition; another one under its id never happened."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.append(claim, author(claim), AppendId("1"))
    with pytest.raises(Corrupted, match="the log ends at offset 1"):
        await journal.append(claim, author(claim, payload=b"other"), AppendId("1"))


async def test_the_same_records_under_another_append_id_are_refused(
    journal: Journal, author: Author
) -> None:
    """Somebody else wrote them: this writer must not take them for its own."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim)
    await journal.append(claim, records, AppendId("1"))
    with pytest.raises(Corrupted):
        await journal.append(claim, records, AppendId("2"))


async def test_an_append_past_the_limit_is_refused(journal: Journal, author: Author) -> None:
    """One writer must not hold up every other for as long as it likes."""
    claim = await journal.acquire(SHARD, Nonce("a"))
    with pytest.raises(Rejected) as refused:
        await journal.append(
            claim, author(claim, 1, payload=bytes(APPEND_BYTES_MAX + 1)), AppendId("1")
        )
    assert refused.value.code is Code.TOO_LARGE


async def test_shards_are_written_at_the_same_time(journal: Journal, author: Author) -> None:
    """64 logs in flight: each comes out whole and in order, whatever they shared."""
    written: dict[ShardId, list[Record]] = {}

    async def write(shard: ShardId) -> None:
        claim = await journal.acquire(shard, Nonce(f"n{shard}"))
        written[shard] = []
        for count in (1, 3, 2):
            records = author(claim, count, pipeline=f"p{shard}")
            claim = await journal.append(claim, records, AppendId(f"{shard}-{claim.offset}"))
            written[shard] += records

    async with asyncio.TaskGroup() as group:
        for shard in range(64):
            group.create_task(write(ShardId(shard)))
    assert {shard: await read_all(journal, shard) for shard in written} == written


async def test_refused_jobs_leave_their_neighbours_alone(journal: Journal, author: Author) -> None:
    """Jobs of many shards share a write; one that is refused must not take them along."""
    former = await journal.acquire(SHARD, Nonce("a"))
    await journal.acquire(SHARD, Nonce("b"))
    good = await journal.acquire(ShardId(4), Nonce("c"))
    records = author(good)

    async def outcome(call: Awaitable[object]) -> type:
        try:
            return type(await call)
        except DataFlowError as error:
            return type(error)

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(outcome(call))
            for call in (
                journal.append(former, author(former), AppendId("1")),
                journal.append(good, records, AppendId("2")),
                journal.append(former, author(former), AppendId("3")),
            )
        ]
    assert [task.result() for task in tasks] == [Fenced, Held, Fenced]
    assert await read_all(journal, ShardId(4)) == records


@pytest.mark.parametrize("call", ["acquire", "read", "decision", "load_snapshot", "history"])
async def test_a_closed_journal_refuses_everything(journal: Journal, call: str) -> None:
    """Whoever still holds it gets an error at once and never waits."""
    await journal.close()
    await journal.close()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "acquire": lambda: journal.acquire(SHARD, Nonce("a")),
        "read": lambda: read_all(journal),
        "decision": lambda: journal.decision(SHARD, PipelineId("flights")),
        "load_snapshot": lambda: journal.load_snapshot(SHARD),
        "history": lambda: journal.history(PipelineId("flights"), 0, 1),  # type: ignore[arg-type]  # a number is a number
    }
    with pytest.raises(Unavailable, match="closed"):
        await calls[call]()
