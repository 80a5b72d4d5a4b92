"""Bulk, push and watch over streams that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import TypeVar

import grpc
import pyarrow as pa
import pytest

from dataflow.client import (
    Batch,
    DataFlow,
    Rejected,
    Unavailable,
    create_command,
    from_refusal,
)
from dataflow.client.messages import Command, StartPipelineRequest
from dataflow.client.records import Records
from dataflow.core.errors import Code
from dataflow.v1 import event_pb2
from tests.integration.client.conftest import Served
from tests.integration.client.service import RUNNING, Fault

T = TypeVar("T")

SPEC = {"source": {"sourceType": "push"}, "sink": {"sinkType": "console"}}


async def gather(items: AsyncIterator[T], into: list[T]) -> None:
    """Keep what comes before an error."""
    async for item in items:
        into.append(item)  # noqa: PERF401 - a comprehension would lose it


def commands(number: int) -> list[Command]:
    """Return creates of as many pipelines."""
    return [create_command(SPEC, pipeline_id=f"p-{n}") for n in range(number)]


async def test_a_bulk_is_answered_in_order(served: Served, df: DataFlow) -> None:
    """An answer is told apart by its place alone."""
    answers = [a async for a in df.execute(commands(25), commands_a_message=10)]
    assert [a.pipeline_id for a in answers] == [f"p-{n}" for n in range(25)]
    assert served.service.executed == [10, 10, 5]


async def test_a_refused_command_of_a_bulk_leaves_its_neighbours_alone(df: DataFlow) -> None:
    """One wrong id in ten thousand must not cost the others."""
    start = Command(start=StartPipelineRequest(pipeline_id="nobody"))
    one, refused, two = [a async for a in df.execute([*commands(1), start, commands(2)[1]])]
    assert (one.changed, two.changed) == (True, True)
    error = from_refusal(refused.refusal)
    assert isinstance(error, Rejected)
    assert error.code == Code.UNKNOWN_PIPELINE


async def test_a_broken_bulk_goes_on_with_the_same_command_ids(
    served: Served, df: DataFlow
) -> None:
    """The commands whose answers were lost were carried out; asking anew would refuse them."""
    served.service.break_after = 2
    answers = [a async for a in df.execute(commands(50), commands_a_message=5, window=4)]
    assert [a.pipeline_id for a in answers] == [f"p-{n}" for n in range(50)]
    assert all(a.changed for a in answers)
    assert len(served.service.seen["Execute"]) > 50
    assert len(set(served.service.seen["Execute"])) == 50


async def test_a_command_put_off_in_a_bulk_is_asked_again(served: Served, df: DataFlow) -> None:
    """A shard on the move answers for its own commands alone; they are worth another try."""
    served.service.faults["Execute"] += [Fault(reason="NOT_OWNER"), Fault(reason="OUTCOME_UNKNOWN")]
    answers = [a async for a in df.execute(commands(6), commands_a_message=3)]
    assert [a.pipeline_id for a in answers] == [f"p-{n}" for n in range(6)]
    assert sorted(served.service.executed) == [2, 3, 3]


async def test_a_command_put_off_too_long_is_answered_with_its_refusal(served: Served) -> None:
    """No endless wait in bulk either."""
    served.service.faults["Execute"] += [Fault(message="busy")] * 1000
    async with DataFlow(served.address, timeout=timedelta(milliseconds=200)) as df:
        (answer,) = [a async for a in df.execute(commands(1))]
    assert (answer.refusal.message, answer.refusal.retryable) == ("busy", True)


async def test_a_bulks_own_error_comes_after_the_answers_before_it(df: DataFlow) -> None:
    """What was carried out must be known, whatever then went wrong in the caller's code."""

    def broken() -> Iterator[Command]:
        yield from commands(3)
        raise ValueError("mine")

    seen: list[str] = []
    with pytest.raises(ValueError, match="mine"):
        await gather(
            (a.pipeline_id async for a in df.execute(broken(), commands_a_message=1)), seen
        )
    assert seen == ["p-0", "p-1", "p-2"]


async def test_a_bulk_waits_for_its_source_without_a_deadline(served: Served) -> None:
    """A source may rest longer than an answer may take."""

    async def slow() -> AsyncIterator[Command]:
        for command in commands(2):
            await asyncio.sleep(0.4)
            yield command

    async with DataFlow(served.address, timeout=timedelta(milliseconds=200)) as df:
        answers = [a async for a in df.execute(slow(), commands_a_message=1)]
    assert len(answers) == 2


async def test_a_bulk_without_a_server_ends() -> None:
    """Unreachable, and not an endless reconnection."""
    patience, contact = timedelta(seconds=20), timedelta(milliseconds=200)
    async with DataFlow("127.0.0.1:1", timeout=patience, connect_timeout=contact) as df:
        with pytest.raises(Unavailable, match="cannot reach"):
            _ = [a async for a in df.execute(commands(1))]


async def test_a_bulk_that_is_never_answered_ends(served: Served) -> None:
    """A server that is alive and silent must not be waited for without end."""
    served.service.silent = True
    async with DataFlow(served.address, timeout=timedelta(milliseconds=300)) as df:
        with pytest.raises(Unavailable, match="left 1 requests of a stream") as silent:
            _ = [a async for a in df.execute(commands(1))]
    assert silent.value.code == Code.OUTCOME_UNKNOWN


async def test_a_client_can_be_opened_again(served: Served) -> None:
    """A context manager that is kept and entered twice is no mistake."""
    client = DataFlow(served.address)
    for n in range(2):
        async with client as df:
            (answer,) = [a async for a in df.execute(commands(2)[n : n + 1])]
            assert answer.changed


async def test_a_bulk_may_be_left_early(df: DataFlow) -> None:
    """A caller that has seen enough leaves nothing running behind."""
    async for answer in df.execute(commands(100), commands_a_message=1):
        assert answer.pipeline_id == "p-0"
        break


async def test_a_bulk_holds_a_window_only(df: DataFlow) -> None:
    """A source of millions must not be read into memory ahead of its answers."""
    given = 0

    def counted() -> Iterator[Command]:
        nonlocal given
        for command in commands(100):
            given += 1
            yield command

    answers = df.execute(counted(), commands_a_message=1, window=3)
    async for _ in answers:
        break
    await asyncio.sleep(0.1)
    assert given <= 5


# --- push ----------------------------------------------------------------------------------------


@pytest.fixture
async def pushed(df: DataFlow) -> DataFlow:
    """Return a client of a server with a running pipeline ``in`` whose source is push."""
    await df.create(SPEC, pipeline_id="in")
    await df.start("in")
    return df


TABLE = pa.table({"n": [1, 2, 3]})


@pytest.mark.parametrize(
    "records",
    [
        [{"n": 1}, {"n": 2}, {"n": 3}],
        b'{"n":1}\n{"n":2}\n{"n":3}\n',
        Batch(b'[{"n":1},{"n":2},{"n":3}]', "application/json"),
        TABLE,
        TABLE.to_batches()[0],
    ],
    ids=["dicts", "bytes", "json", "table", "record batch"],
)
async def test_records_are_taken_in_every_form(pushed: DataFlow, records: Records) -> None:
    """Callers hold records in different forms, and none should convert them first."""
    assert (await pushed.push("in", records)).records == 3


async def test_a_push_whose_answer_is_lost_adds_nothing_twice(
    served: Served, pushed: DataFlow
) -> None:
    """The batch id is fixed before the first attempt."""
    served.service.faults["IngestBatch"].append(Fault(after_work=True))
    answer = await pushed.push("in", [{"n": 1}])
    assert (answer.duplicate, served.service.pipelines["in"].records) == (True, 1)


async def test_a_full_log_is_tried_again_when_it_says(served: Served, pushed: DataFlow) -> None:
    """Backpressure slows the sender down; it is no failure."""
    served.service.faults["IngestBatch"].append(
        Fault(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "full",
            "BUSY",
            retry_after=timedelta(milliseconds=300),
        )
    )
    began = asyncio.get_running_loop().time()
    await pushed.push("in", [{"n": 1}])
    assert asyncio.get_running_loop().time() - began >= 0.3


async def test_a_record_that_does_not_fit_is_named(pushed: DataFlow) -> None:
    """The caller finds the record by its position."""
    with pytest.raises(Rejected) as refused:
        await pushed.push("in", b"refuse me")
    assert (refused.value.code, refused.value.field) == (Code.RECORD_REJECTED, "records[0].n")


async def test_a_batch_past_the_message_limit_is_refused_here(served: Served) -> None:
    """GRPC's own words name neither the field nor the remedy."""
    async with DataFlow(served.address, message_bytes_max=1000) as df:
        with pytest.raises(Rejected, match="push smaller batches") as refused:
            await df.push("in", b"x" * 2000)
    assert refused.value.code == Code.TOO_LARGE


async def test_what_holds_no_records_is_refused(pushed: DataFlow) -> None:
    """A single dict would else be pushed as its keys."""
    with pytest.raises(Rejected, match="a dict holds no records"):
        await pushed.push("in", {"n": 1})  # type: ignore[arg-type]  # the mistake itself


async def test_batches_are_answered_in_order(pushed: DataFlow) -> None:
    """The n-th answer is the n-th batch's."""
    batches = [Batch(b"{}\n" * (n + 1), batch_id=f"b{n}") for n in range(20)]
    answers = [a async for a in pushed.push_many("in", batches)]
    assert [(a.batch_id, a.records) for a in answers] == [(f"b{n}", n + 1) for n in range(20)]


async def test_a_broken_push_goes_on_with_the_same_batch_ids(
    served: Served, pushed: DataFlow
) -> None:
    """Nothing lost and nothing twice when a stream of batches breaks."""
    served.service.break_after = 3
    served.service.faults["IngestBatches"].append(Fault(message="full"))
    answers = [a async for a in pushed.push_many("in", [[{"n": n}] for n in range(30)])]
    assert len({a.batch_id for a in answers}) == 30
    assert served.service.pipelines["in"].records == 30
    assert len(served.service.seen["IngestBatches"]) > 30


async def test_a_refused_batch_is_raised_in_its_turn(pushed: DataFlow) -> None:
    """Those before it are known to be durable."""
    seen: list[int] = []
    batches: list[Records] = [[{"n": 1}], Batch(b"refuse me", batch_id="bad")]
    with pytest.raises(Rejected, match="not a number") as refused:
        await gather((a.records async for a in pushed.push_many("in", batches)), seen)
    assert (seen, refused.value.__notes__) == ([1], ["batch bad"])


# --- watch ---------------------------------------------------------------------------------------


async def test_a_watch_goes_on_behind_the_last_event_seen(served: Served, df: DataFlow) -> None:
    """What happens while the stream is broken must not be missed, nor told twice."""
    await df.create(SPEC, pipeline_id="a")
    await df.start("a")
    seen = []
    async for change in df.watch("a", after=1):
        seen.append(change.event.sequence)
        if len(seen) == 2:
            break
        served.service.cut_watches()
        served.service.note("a", pipeline_resumed=event_pb2.PipelineResumed())
    assert (seen, served.service.watched_after) == ([2, 3], [1, 2])


async def note_when_watched(served: Served, pipeline_id: str) -> None:
    """Let something happen once somebody looks."""
    while not served.service.watchers:  # noqa: ASYNC110 - the service has no event for it
        await asyncio.sleep(0.01)
    served.service.note(pipeline_id, pipeline_started=event_pb2.PipelineStarted())


async def test_a_watch_of_all_reads_what_a_break_hid(served: Served, df: DataFlow) -> None:
    """A stream of all pipelines cannot be asked for by number, so the events are."""
    await df.create(SPEC, pipeline_id="a")
    seen: list[int] = []
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(note_when_watched(served, "a"))
        async for change in df.watch():
            seen.append(change.event.sequence)
            if len(seen) == 2:
                break
            served.service.cut_watches()
            served.service.note("a", pipeline_reset=event_pb2.PipelineReset())
    assert seen == [2, 3]


async def test_a_watch_after_nothing_begins_at_the_beginning(df: DataFlow) -> None:
    """Number 0 stands for «what happens next» on the wire; to a caller it is the beginning."""
    await df.create(SPEC, pipeline_id="a")
    await df.start("a")
    seen = []
    async for change in df.watch("a", after=0):
        seen.append(change.event.tags["type"])
        if len(seen) == 2:
            break
    assert seen == ["PipelineCreated", "PipelineStarted"]


async def test_a_watch_passes_rates_on(served: Served, df: DataFlow) -> None:
    """A change without an event has no number to be judged by."""
    await df.create(SPEC, pipeline_id="a")
    served.service.pipelines["a"].status = RUNNING
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:

        async def tell() -> None:
            while not served.service.watchers:  # noqa: ASYNC110 - the service has no event for it
                await asyncio.sleep(0.01)
            metrics = served.service._metrics(served.service.pipelines["a"])
            served.service.tell("a", metrics=metrics)

        tasks.create_task(tell())
        async for change in df.watch("a"):
            assert change.metrics.throughput_per_second == 1234.5
            break


async def test_a_watch_of_nobody_is_refused(df: DataFlow) -> None:
    """Waiting for what can never come would be an endless wait."""
    with pytest.raises(Rejected, match="no 'nobody'"):
        async for _ in df.watch("nobody"):
            pass


async def test_a_watch_gives_up_when_the_server_stays_away(served: Served) -> None:
    """The break is told once the timeout has passed without a server."""
    async with DataFlow(served.address, timeout=timedelta(milliseconds=300)) as df:
        await df.create(SPEC, pipeline_id="a")
        served.service.faults["WatchPipelines"] += [Fault()] * 100
        with pytest.raises(Unavailable):
            async for _ in df.watch("a", after=1):
                pass
