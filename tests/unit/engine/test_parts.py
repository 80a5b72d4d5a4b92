"""Small parts of a task: limits, blame, channels, objects, dead letters, states, the tally."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from dataflow.connect import OnError, Position
from dataflow.core.checkpoint import Checkpoint, Ledger, SplitPosition, Totals
from dataflow.core.errors import Code, Corrupted, Rejected, Unavailable
from dataflow.core.events import ErrorType
from dataflow.core.ids import PipelineId, Run, SplitId
from dataflow.engine.channel import Channel
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.failure import StepFailed, blaming, pipeline_error
from dataflow.engine.items import BarrierItem, RoundBegins, Rows, SourceEnded
from dataflow.engine.limits import TimeLimit
from dataflow.engine.objects import Objects
from dataflow.engine.outputs import output
from dataflow.engine.rejects import Rejects
from dataflow.engine.splits import SplitNames
from dataflow.engine.tally import Progressed, Tally

NOW = datetime(2026, 1, 1, tzinfo=UTC)
P = PipelineId("p")
COLUMNS = pa.schema([pa.field("n", pa.int64())])


class At(Position):
    """A position of a test."""

    byte: int


def rows(count: int, read: int, byte: int, split: str = "a") -> Rows:
    """Return a batch on its way."""
    batch = pa.record_batch({"n": pa.array(range(count), pa.int64())})
    return Rows(
        source="source",
        split=SplitId(split),
        batch=batch,
        resume_at=At(byte=byte),
        read=read,
        bytes_read=byte,
        size=batch.nbytes,
    )


async def test_a_batch_over_its_time_is_a_failure_with_a_code() -> None:
    """Nothing waits for ever, and the audit trail says what was slow."""
    with pytest.raises(Unavailable) as caught:
        await TimeLimit(timedelta(milliseconds=5)).keep(asyncio.sleep(5), "slow")
    assert caught.value.code == Code.BATCH_TIMED_OUT


async def test_a_time_out_of_the_work_itself_is_not_the_limit() -> None:
    """A driver's own time-out must not be told as ours."""

    async def work() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await TimeLimit(timedelta(seconds=5)).keep(work(), "x")


def test_the_innermost_blame_wins() -> None:
    """A transform that fails inside the engine is the transform's failure."""
    with (
        pytest.raises(StepFailed) as caught,
        blaming(ErrorType.SYSTEM, "outer"),
        blaming(ErrorType.TRANSFORM, "inner"),
    ):
        raise Rejected("no")
    assert (caught.value.error_type, caught.value.step) == (ErrorType.TRANSFORM, "inner")


@pytest.mark.parametrize(
    ("error", "retryable", "code"),
    [
        (Rejected("no", code=Code.RECORD_REJECTED), False, "RECORD_REJECTED"),
        (Corrupted("broken"), False, "CORRUPTED"),
        (Unavailable("later"), True, "BUSY"),
        (ValueError("a bug"), True, "ValueError"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, retryable: bool, code: str) -> None:  # noqa: FBT001 - a table
    """What nobody foresaw is retried too, with its stack trace."""
    group = ExceptionGroup("tasks", [error])
    told = pipeline_error(group)
    assert (told.retryable, told.code) == (retryable, code)
    assert bool(told.stack_trace) == (code == "ValueError")


async def test_a_full_channel_makes_its_writer_wait() -> None:
    """That is the back-pressure."""
    channel: Channel[int] = Channel(batches_max=2, bytes_max=100)
    await channel.put(1, 60)
    await channel.put(2, 60)
    third = asyncio.ensure_future(channel.put(3, 1))  # noqa: TID251 - awaited below
    await asyncio.sleep(0.01)
    assert not third.done()
    assert await channel.get() == 1
    assert await channel.get() == 2
    await third
    assert await channel.get() == 3


async def test_a_barrier_does_not_wait_for_room() -> None:
    """A checkpoint must not stand behind a slow sink's queue for its place in it."""
    channel: Channel[int] = Channel(batches_max=1)
    await channel.put(1, 1)
    channel.put_now(2)
    assert [await channel.get(), await channel.get()] == [1, 2]


async def test_one_batch_larger_than_the_limit_passes_alone() -> None:
    """Otherwise it would wait for ever."""
    channel: Channel[int] = Channel(bytes_max=10)
    await channel.put(1, 1000)
    assert await channel.get() == 1


async def test_objects_survive_and_move_once(tmp_path: Path) -> None:
    """A move that is repeated after a crash finds that it has happened."""
    objects = Objects.local(tmp_path)
    await objects.put("a/b/1", b"x")
    await objects.put("a/b/1", b"y")
    await objects.move("a/b/1", "a/c/1")
    await objects.move("a/b/1", "a/c/1")
    assert await objects.get("a/c/1") == b"y"
    assert list(await objects.keys("a")) == ["a/c/1"]
    await objects.delete(["a/c/1", "a/c/1"])
    assert list(await objects.keys("a")) == []


async def test_an_object_and_every_folder_on_its_way_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut makes unreachable is lost, however well its own bytes were synced."""
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink())
    )
    objects = Objects.local(tmp_path / "x" / "objects")
    assert sorted(synced) == [tmp_path, tmp_path / "x"]
    await objects.put("a/1", b"x")
    made = ("x/objects", "x/objects/a", "x/objects/a/1")
    assert sorted(synced) == [tmp_path, tmp_path / "x", *map(tmp_path.joinpath, made)]


async def test_an_object_that_is_gone_is_corruption_where_it_was_decided(tmp_path: Path) -> None:
    """It was named by a decision: whoever goes on without it loses something."""
    objects = Objects.local(tmp_path)
    with pytest.raises(Corrupted):
        await objects.move("a/b/1", "a/c/1")
    with pytest.raises(Unavailable):
        await objects.get("a/b/1")


async def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """A file stands where a folder should."""
    objects = Objects.local(tmp_path)
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(Unavailable):
        await objects.put("a/b", b"x")


def letters(count: int) -> pa.RecordBatch:
    """Return a batch of dead letters."""
    refused = pa.record_batch(
        {
            "index": pa.array(range(count), pa.int64()),
            "record": pa.array([f"r{n}" for n in range(count)], pa.large_string()),
            "error": pa.array(["bad"] * count, pa.large_string()),
        }
    )
    kept = Rejects("source", OnError.DEAD_LETTER).unread(
        SplitId("a"), refused, 100, NOW, schema=COLUMNS
    )
    return kept.dead[0]


async def test_letters_are_seen_when_they_are_decided(tmp_path: Path) -> None:
    """Staged ones may still be read again."""
    dead = DeadLetters(Objects.local(tmp_path), P)
    staged = await dead.stage(Run(1), 1, [letters(3)])
    assert await dead.count() == 0
    await dead.commit(staged)
    await dead.commit(staged)
    page, following = await dead.page("", 2)
    assert [letter.ordinal for letter in page] == [100, 101]
    rest, end = await dead.page(following, 2)
    assert ([letter.ordinal for letter in rest], end) == ([102], "")
    assert await dead.count() == 3


async def test_what_an_older_run_staged_is_dropped(tmp_path: Path) -> None:
    """Nobody decided it; the records are read again."""
    dead = DeadLetters(Objects.local(tmp_path), P)
    await dead.stage(Run(1), 1, [letters(1)])
    kept = await dead.stage(Run(2), 1, [letters(2)])
    await dead.sweep(Run(2), "")
    await dead.commit(kept)
    assert await dead.count() == 2
    assert await dead.stage(Run(2), 2, []) == ""
    await dead.commit("")


def test_positions_and_sums_move_on_from_where_they_began() -> None:
    """Splits of other runs are kept, as are the sums."""
    start = Checkpoint(
        positions={"old": SplitPosition('{"byte":1}', 7, ended=True)},
        totals=Totals(7, 0, 1, 100, 56, 1_000, NOW),
    )
    progressed = Progressed(start)
    first, second = rows(2, 3, 10), rows(1, 1, 20)
    first.skipped = 1
    progressed.read(first)
    progressed.took(0.5)
    progressed.read(second)
    progressed.took(0.25)
    progressed.refused(0, [letters(2)])
    progressed.ended(SplitId("a"))
    closed = progressed.close(BarrierItem(1, final=False))
    found = closed.moved
    assert found.positions["old"] == start.positions["old"]
    assert found.positions["a"] == SplitPosition('{"byte":20}', 4, ended=True)
    assert found.totals == Totals(
        records=11,
        failed=3,
        batches=3,
        bytes_read=130,
        bytes_written=56,
        processing_us=751_000,
        last_processed_at=NOW,
    )
    assert [batch.num_rows for batch in closed.dead] == [2]
    assert progressed.close(BarrierItem(2, final=False)).dead == []


def test_a_round_begins_at_the_beginning_of_every_split_of_its_source() -> None:
    """One that a crash found unread would be passed over, for the round before had ended it."""
    ended = SplitPosition('{"byte":9}', 5, ended=True)
    start = Checkpoint(positions={"x::a": ended, "x::b": ended, "y::a": ended})
    progressed = Progressed(start)
    names = SplitNames("x", ["y"])
    begins, moment = NOW, NOW.isoformat()
    progressed.note(RoundBegins("x", begins), lambda _: names)
    progressed.read(rows(2, 2, 10, "x::a"))
    found = progressed.close(BarrierItem(1, final=False)).moved.positions
    assert found == {
        "x::a": SplitPosition('{"byte":10}', 7),
        "x::b": SplitPosition("", 5),
        "y::a": ended,
        "rounds::x": SplitPosition(moment),
    }
    progressed.note(SourceEnded("x", begins), lambda _: names)
    found = progressed.close(BarrierItem(2, final=False)).moved.positions
    assert found["rounds::x"] == SplitPosition(moment, ended=True)


def test_a_tally_adds_to_the_ledger_of_its_sink() -> None:
    """What the sink was given, what it refused, and what was lost on the way."""
    tally = Tally(Ledger(records_read=7, records_written=7))
    tally.account(Ledger(records_read=4, records_filtered=1))
    tally.written(rows(2, 2, 10).batch)
    tally.refused(1, 0)
    later = NOW + timedelta(seconds=2)
    tally.took(0.5, NOW)
    tally.took(0.25, later)
    assert tally.ledger == Ledger(
        records_read=11, records_written=9, records_filtered=1, records_skipped=1
    )
    assert tally.ledger.balances
    assert tally.totals() == Totals(
        failed=1, bytes_written=16, processing_us=750_000, last_processed_at=later
    )


@pytest.mark.parametrize("policy", [OnError.FAIL, OnError.SKIP])
def test_refused_records_fail_or_are_counted(policy: OnError) -> None:
    """A failure names the record, so that someone can look at it."""
    refused = pa.record_batch(
        {
            "index": pa.array([1], pa.int64()),
            "record": pa.array(["x"], pa.large_string()),
            "error": pa.array(["no number"], pa.large_string()),
        }
    )
    rejects = Rejects("source", policy)
    if policy is OnError.SKIP:
        assert rejects.unread(SplitId("a"), refused, 10, NOW, schema=COLUMNS).skipped == 1
    else:
        with pytest.raises(Rejected, match="record 11 of 'a': no number") as caught:
            rejects.unread(SplitId("a"), refused, 10, NOW, schema=COLUMNS)
        assert caught.value.code == Code.RECORD_REJECTED


def test_a_sink_of_no_kind_is_refused() -> None:
    """An author forgot the base class."""
    with pytest.raises(Rejected, match="none of the kinds"):
        output(object(), "sink", At, lambda _: None)  # type: ignore[arg-type]  # no committable either
