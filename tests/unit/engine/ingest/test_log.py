"""What a sender and a source can rely on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest import Ingested
from tests.unit.engine.ingest.pushing import Pushing, numbers_of


class Gate:
    """Stands in for fsync, and lets it through when told to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.calls = 0

    def fsync(self, descriptor: int) -> None:
        """Wait for the gate, then synchronise."""
        self.calls += 1
        self.entered.set()
        self.opened.wait(10)
        os.fdatasync(descriptor)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return a gate before every fsync of the test."""
    made = Gate()
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


async def test_batch_ids_are_remembered_over_segments_cuts_and_restarts(pushing: Pushing) -> None:
    """The window is carried on in each segment's header, so deleted segments lose nothing."""
    for n in range(40):
        await pushing.push(f"b{n}", n, n)
    assert len(pushing.segments) > 3
    await pushing.log.cut(80)
    assert len(pushing.segments) == 1
    await pushing.reopen()
    assert await pushing.push("b0", 0, 0) == Ingested(2, 0, duplicate=True)
    assert await pushing.push("b39", 39, 39) == Ingested(2, 78, duplicate=True)
    assert await pushing.log.end() == 80


async def test_batches_gather_while_one_is_synchronised(pushing: Pushing, gate: Gate) -> None:
    """One fsync carries many batches, and nobody is answered before it."""
    gate.opened.set()
    await pushing.push("first", 0)
    gate.opened.clear()
    gate.entered.clear()
    gate.calls = 0
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(pushing.push("b1", 1))]
        await asyncio.to_thread(gate.entered.wait, 10)
        answers += [group.create_task(pushing.push(f"b{n}", n)) for n in range(2, 8)]
        await asyncio.sleep(0.1)
        assert not any(answer.done() for answer in answers)
        assert await pushing.numbers() == [0], "what is not durable must not be read"
        gate.opened.set()
    assert gate.calls == 2
    assert await pushing.numbers() == list(range(8))


async def test_a_caller_that_goes_leaves_its_batch_whole_or_out(
    pushing: Pushing, gate: Gate
) -> None:
    """Cancelled while it is written, a batch is there; the sender asks again and hears so."""
    gate.opened.set()
    await pushing.push("first", 0)
    gate.opened.clear()
    gate.entered.clear()
    going = asyncio.ensure_future(pushing.push("a", 1))  # noqa: TID251 - cancelled below
    await asyncio.to_thread(gate.entered.wait, 10)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    gate.opened.set()
    assert (await pushing.push("a", 1)).duplicate
    assert await pushing.numbers() == [0, 1]


async def test_a_tail_waits_for_what_is_pushed_next(pushing: Pushing) -> None:
    """A source reads for ever; across segments too."""
    found: list[int] = []
    async with aclosing(pushing.log.read(0)) as batches:
        for n in range(30):
            waiting = asyncio.ensure_future(anext(batches))  # noqa: TID251 - awaited below
            await asyncio.sleep(0)
            await pushing.push(f"b{n}", n)
            found += numbers_of((await waiting).batch)
    assert found == list(range(30))
    assert len(pushing.segments) > 2


async def test_all_that_is_taken_at_one_moment_has_a_limit(tmp_path: Path) -> None:
    """Memory is bounded by configuration, not by how many senders there are."""
    small = Pushing(tmp_path / "small", pending_bytes_max=10_000)
    results = await asyncio.gather(  # noqa: TID251 - at the same time is the point
        *(small.push(f"b{n}", *range(200)) for n in range(4)), return_exceptions=True
    )
    await small.logs.close()
    busy = [result for result in results if isinstance(result, Unavailable)]
    assert len(busy) == 3
    assert {error.code for error in busy} == {Code.BUSY}


async def test_a_cut_deletes_whole_segments_below_the_decision(pushing: Pushing) -> None:
    """What is not decided stays, and the last segment stays: it holds the window."""
    for n in range(30):
        await pushing.push(f"b{n}", n)
    second = int(pushing.segments[1].stem)
    before = len(pushing.segments)
    await pushing.log.cut(second - 1)
    assert len(pushing.segments) == before
    await pushing.log.cut(second)
    assert len(pushing.segments) == before - 1
    assert await pushing.log.begin() == second
    assert await pushing.numbers(second) == list(range(second, 30))
    with pytest.raises(Rejected, match=r"records 0 to \d+ of the ingest log are gone"):
        await pushing.numbers(0)


async def test_after_a_replay_nothing_it_has_yet_to_read_is_deleted(pushing: Pushing) -> None:
    """A cut that goes back takes back what may be deleted."""
    await pushing.push("a", *range(100))
    await pushing.log.cut(100)
    await pushing.log.cut(10)
    await pushing.push("b", 100)
    assert len(pushing.segments) == 2
    await pushing.log.cut(11)
    assert await pushing.numbers(11) == list(range(11, 101))


async def test_what_waits_is_counted(pushing: Pushing) -> None:
    """The lag of a push source, in records and bytes."""
    assert await pushing.log.behind(0) == (0, 0)
    for n in range(30):
        await pushing.push(f"b{n}", n)
    records, size = await pushing.log.behind(0)
    assert records == 30
    assert size < sum(path.stat().st_size for path in pushing.segments)
    fewer, smaller = await pushing.log.behind(20)
    assert fewer == 10
    assert 0 < smaller < size
    assert await pushing.log.behind(30) == (0, 0)


@pytest.mark.parametrize("batch_id", ["", "x" * 129, "line\nbreak"])
async def test_a_batch_id_is_short_and_printable(pushing: Pushing, batch_id: str) -> None:
    """It is kept, shown and compared."""
    with pytest.raises(Rejected, match="batchId: use 1 to 128 printable characters"):
        await pushing.push(batch_id, 1)


async def test_a_batch_of_more_than_16_mib_is_refused(pushing: Pushing) -> None:
    """One batch is parsed at once."""
    with pytest.raises(Rejected, match="records: 16777217 bytes are more than") as refused:
        await pushing.send("a", b" " * ((16 << 20) + 1))
    assert refused.value.code is Code.TOO_LARGE


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("text/csv", "contentType: 'text/csv' is not one of application/json, "),
        ("application/json; charset=latin-1", "contentType: latin-1 is not understood"),
    ],
)
async def test_other_content_types_are_refused(
    pushing: Pushing, content_type: str, message: str
) -> None:
    """With those there are."""
    with pytest.raises(Rejected, match=message):
        await pushing.send("a", b"[]", content_type)


@pytest.mark.parametrize(
    "content_type",
    ["application/x-ndjson; charset=utf-8", 'Application/X-NDJSON;charset="UTF-8"; q=1'],
)
async def test_a_content_type_may_have_parameters(pushing: Pushing, content_type: str) -> None:
    """HTTP clients add them."""
    await pushing.send("a", b'{"n": 1}', content_type)
    assert await pushing.numbers() == [1]


async def test_logs_that_idle_are_closed_and_open_again(tmp_path: Path) -> None:
    """Ten thousand pipelines must not hold ten thousand files; what is decided stays known."""
    few = Pushing(tmp_path / "few", open_logs_max=1)
    await few.push("a", *range(200), buffer_bytes=1000)
    await few.log.cut(200)
    await few.logs.log(PipelineId("other")).end()
    assert list(few.logs._open) == ["other"]
    await few.push("b", 1, buffer_bytes=1000)
    assert (await few.push("a", *range(200))).duplicate
    await few.logs.close()


async def test_a_log_that_is_read_stays_open(tmp_path: Path) -> None:
    """A reader that waits uses it."""
    few = Pushing(tmp_path / "few", open_logs_max=0)
    await few.push("a", 1)
    async with aclosing(few.log.read(0)) as batches:
        await anext(batches)
        assert list(few.logs._open) == ["p"]
        with pytest.raises(Unavailable, match="in use"):
            await few.logs.remove(PipelineId("p"))
        await few.push("b", 2)
        assert (await anext(batches)).batch.column("n").to_pylist() == [2]
    assert not few.logs._open
    await few.logs.close()


async def test_a_removed_log_is_gone(pushing: Pushing) -> None:
    """A deleted pipeline leaves no records behind; removing nothing is fine."""
    await pushing.push("a", 1)
    await pushing.logs.remove(PipelineId("p"))
    await pushing.logs.remove(PipelineId("p"))
    assert not pushing.folder.exists()
    assert await pushing.log.end() == 0


@pytest.mark.parametrize("times", [1, 3])
async def test_a_reader_that_goes_while_a_thread_reads_closes_nothing_under_it(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The descriptor could be another file's by then; a shutdown may follow on a stop."""
    await pushing.push("a", 1)
    reading, proceed = threading.Event(), threading.Event()
    pread = os.pread
    seen: list[bytes] = []

    def slow(descriptor: int, size: int, at: int) -> bytes:
        reading.set()
        proceed.wait(10)
        seen.append(pread(descriptor, size, at))
        return seen[-1]

    monkeypatch.setattr(os, "pread", slow)
    going = asyncio.ensure_future(anext(pushing.log.read(0)))  # noqa: TID251 - cancelled below
    await asyncio.to_thread(reading.wait, 10)
    for _ in range(times):
        going.cancel()
        await asyncio.sleep(0.01)
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert seen
    assert all(seen)


async def test_nothing_loads_arrow_before_the_first_batch() -> None:
    """Arrow is half of an idle process's memory."""
    code = (
        "import sys, dataflow.engine.ingest, dataflow.connectors.push;"
        "print(sorted({'pyarrow', 'polars', 'numpy'} & set(sys.modules)))"
    )
    python = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await python.communicate()
    assert out.decode().strip() == "[]"
