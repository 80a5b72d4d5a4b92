"""A whole node in this process: what its parts only show together."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from prometheus_client import generate_latest

from dataflow.app import watching
from dataflow.app.cleaning import Cleaning
from dataflow.app.node import Node
from dataflow.app.settings import Settings
from dataflow.app.standalone import node
from dataflow.cluster.shard import Committed
from dataflow.core import commands as c
from dataflow.core.checkpoint import Ledger
from dataflow.core.errors import DataFlowError, Unavailable
from dataflow.core.ids import CommandId, PipelineId, Run
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.core.state import State, Status
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.objects import Objects

P = PipelineId("p")
NUMBERS = count()

PATIENCE_S = 10.0
"""Far above what a busy machine needs."""


@pytest.fixture(params=[0, 1], ids=["inline", "a process"])
def workers(request: pytest.FixtureRequest) -> int:
    """Who does the work on rows: whoever asks the node sees no difference."""
    return int(request.param)


@asynccontextmanager
async def running(tmp_path: Path, workers: int) -> AsyncIterator[Node]:
    """A node over a folder of the test."""
    async with node(Settings(data_dir=tmp_path / "data", workers=workers)) as served:
        yield served


async def ask(served: Node, *bodies: c.UserCommand) -> None:
    """Carry out commands that must be accepted."""
    for body in bodies:
        name = CommandId(f"c{next(NUMBERS)}")
        (answer,) = await served.execute([c.Command(P, name, "me", body, b"d")])
        if isinstance(answer, DataFlowError):
            raise answer


async def ended(served: Node) -> State:
    """Return the state once the pipeline has ended."""
    async for change in served.watch(P, SequenceNumber(0)):
        state = change.pipeline.state
        is_latest = state.sequence == (await served.pipeline(P)).state.sequence
        if is_latest and state.status in {Status.STOPPED, Status.FAILED}:
            return state
    raise AssertionError("a watch has no end")


def copying(tmp_path: Path) -> PipelineSpec:
    """Return a pipeline that copies lines."""
    return canonical(
        PipelineSpec(
            source=Source("file", str(tmp_path / "in.txt")),
            sink=Sink("file", str(tmp_path / "out.txt")),
        )
    )


def append(path: Path, text: str) -> None:
    """Add to a file."""
    with path.open("a") as file:
        file.write(text)


async def test_a_file_that_grew_after_completion_is_read_on(tmp_path: Path, workers: int) -> None:
    """Starting after ``completed`` goes on; only a replay goes back."""
    append(tmp_path / "in.txt", "one\ntwo\n")
    async with running(tmp_path, workers) as served:
        await ask(served, c.CreatePipeline(copying(tmp_path)), c.StartPipeline())
        assert (await ended(served)).reason == "completed"
        append(tmp_path / "in.txt", "three\n")
        await ask(served, c.StartPipeline())
        assert (await ended(served)).reason == "completed"
        decision = (await served.pipeline(P)).decision
    assert (tmp_path / "out.txt").read_text() == "one\ntwo\nthree\n"
    assert decision is not None
    assert decision.ledgers["sink"] == Ledger(records_read=3, records_written=3)


async def test_a_replay_writes_again_behind_what_is_there(tmp_path: Path, workers: int) -> None:
    """It was asked for; the ledger begins anew, the totals do not."""
    append(tmp_path / "in.txt", "one\ntwo\n")
    async with running(tmp_path, workers) as served:
        await ask(served, c.CreatePipeline(copying(tmp_path)), c.StartPipeline())
        await ended(served)
        await ask(served, c.ReplayPipeline(), c.StartPipeline())
        await ended(served)
        decision = (await served.pipeline(P)).decision
    assert (tmp_path / "out.txt").read_text() == "one\ntwo\none\ntwo\n"
    assert decision is not None
    assert (decision.ledgers["sink"].records_read, decision.totals.records) == (2, 4)


async def with_a_pushed_record(served: Node, tmp_path: Path) -> Path:
    """Push a record into a pipeline and stop it; return where the record is kept."""
    spec = PipelineSpec(
        source=Source("push", options='{"schema": {"a": "int64"}}'),
        sink=Sink("file", str(tmp_path / "out.csv")),
    )
    await ask(served, c.CreatePipeline(canonical(spec)), c.StartPipeline())
    await served.ingest(P, "b1", "application/x-ndjson", json.dumps({"a": 1}).encode())
    await ask(served, c.StopPipeline("done"))
    await ended(served)
    folder = tmp_path / "data" / "ingest" / P
    assert folder.exists()
    objects = Objects.local(tmp_path / "data" / "objects")
    await objects.put(f"states/{P}/1-1-totals", b"kept")
    letter = pa.RecordBatch.from_pylist([{"step": "a", "error": "b"}])
    letters = DeadLetters(objects, P)
    await letters.commit(await letters.stage(Run(1), 1, [letter]))
    return folder


async def test_what_a_deleted_pipeline_has_kept_is_removed(tmp_path: Path, workers: int) -> None:
    """Its events tell its story for ever; its data is not kept behind its owner's back."""
    async with running(tmp_path, workers) as served:
        folder = await with_a_pushed_record(served, tmp_path)
        await ask(served, c.DeletePipeline())
        events = await served.events(P, SequenceNumber(0), 100, "")
    assert not folder.exists()
    assert not await Objects.local(tmp_path / "data" / "objects").keys("")
    assert events[-1].type == "PipelineDeleted"


async def test_pushed_records_that_a_crash_has_left_are_removed_at_the_next_start(
    tmp_path: Path, workers: int
) -> None:
    """It may die after the delete is journalled and before the files are gone."""
    async with running(tmp_path, workers) as served:
        folder = await with_a_pushed_record(served, tmp_path)
        shutil.copytree(folder, tmp_path / "as-it-was")
        await ask(served, c.DeletePipeline())
    shutil.copytree(tmp_path / "as-it-was", folder)
    async with running(tmp_path, workers):
        pass
    assert not folder.exists()


async def busy_while_watching(served: Node) -> None:
    """Watch, and let more happen between two looks than may wait."""
    async for change in served.watch(P, SequenceNumber(0)):
        if change.pipeline.state.sequence == 1:
            await ask(served, *[c.ReplayPipeline()] * (watching.EVENTS_WAITING_MAX + 1))


async def test_a_watcher_that_falls_behind_is_told_to_come_again(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it has a limit, and a gap that nobody mentions would be a wrong history."""
    monkeypatch.setattr(watching, "EVENTS_WAITING_MAX", 3)
    async with running(tmp_path, workers) as served, asyncio.timeout(PATIENCE_S):
        await ask(served, c.CreatePipeline(copying(tmp_path)))
        with pytest.raises(Unavailable, match="watch again from the last sequence seen"):
            await busy_while_watching(served)


async def test_a_node_shows_its_pipelines_to_prometheus(tmp_path: Path, workers: int) -> None:
    """How many there are, and how far each that runs has got."""
    endless = PipelineSpec(
        source=Source("generator", options='{"rowsPerSecond": 1000}'),
        sink=Sink("file", str(tmp_path / "out.csv")),
    )
    async with running(tmp_path, workers) as served:
        await ask(served, c.CreatePipeline(canonical(endless)), c.StartPipeline())
        async for change in served.watch(P, None):
            if change.pipeline.decision and change.pipeline.decision.totals.records:
                break
        shown = generate_latest(served.metrics).decode()
    assert 'dataflow_pipelines{status="running"} 1.0' in shown
    assert 'dataflow_records_total{pipeline="p"}' in shown
    assert "process_resident_memory_bytes" in shown


async def test_a_delete_that_is_journalled_while_the_node_ends_is_cleaned_up_by_the_next(
    tmp_path: Path,
) -> None:
    """What ends first must not be asked for more; nothing is lost by waiting for a start."""
    async with node(Settings(data_dir=tmp_path / "data")) as served:
        await ask(served, c.CreatePipeline(copying(tmp_path)))
        host, ingest = served._parts.host, served._parts.stores.ingest
        async with Cleaning.open(ingest, served._parts.workers) as cleaning:
            pass
        await ask(served, c.DeletePipeline())
        (event,) = await served.events(P, SequenceNumber(1), 10, "")
        cleaning.committed([Committed(event, host.state(P))])
