"""A run ends while its sink is in a call: it lets go behind that call, or is left behind."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from dataflow.connect import Context, Options, SinkStep
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.ids import Run
from dataflow.core.spec import PipelineSpec, Sink, with_defaults
from dataflow.engine import worker
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.examples.arrow_files import ArrowFiles
from tests.contract.engine.owner import PATIENCE_S, PIPELINE
from tests.contract.engine.test_sinks import FILES, KINDS, owner_of
from tests.contract.engine.test_worker import SEED, Line, line
from tests.unit.connectors.file_sink.rig import Held, rows_in

TARGETS = ("out.csv", "out")
"""A file that is written in place, and a directory of parts."""


def spec_of(target: Path, batch_timeout: timedelta) -> PipelineSpec:
    """Return a pipeline into csv files."""
    spec = owner_of(KINDS["staging"], target.parent).spec
    given = spec.sinks["sink"].input
    sink = Sink("file", str(target), batch_size=2, input=given, options='{"format": "csv"}')
    options = replace(with_defaults(spec.options), batch_timeout=batch_timeout)
    return replace(spec, sinks={"sink": sink}, options=options)


def visible(target: Path) -> list[int]:
    """Return the rows that readers see."""
    parts = sorted(target.glob("part-*")) if target.is_dir() else [target]
    return [row for part in parts for row in rows_in(part)]


def has_opened(said: Line) -> bool:
    """Tell whether a run has opened of which nobody has heard yet."""
    return any(isinstance(message, m.Opened) for message in said.heard._queue)  # type: ignore[attr-defined]  # not in the stubs


async def seeded(said: Line, run: int, spec: PipelineSpec) -> Checkpoint:
    """Begin a lineage, and return its seed once it is decided; rows come behind it."""
    said.start(run, spec, SEED)
    await said.next(m.Opened)
    said.worker.receive(m.Barrier(PIPELINE, Run(run), 1))
    seed = (await said.next(m.Prepared)).checkpoint
    said.worker.receive(m.Decided(PIPELINE, Run(run), 1))
    await said.next(m.Committed)
    return seed


async def ended(said: Line, run: int) -> None:
    """Carry an opened run to its end."""
    await said.next(m.Exhausted)
    said.worker.receive(m.Barrier(PIPELINE, Run(run), 2, final=True))
    await said.next(m.Prepared)
    said.worker.receive(m.Decided(PIPELINE, Run(run), 2))
    await said.next(m.Committed)


@pytest.mark.parametrize("name", TARGETS)
async def test_a_run_given_up_in_a_write_lets_the_next_one_in_behind_it(
    name: str, tmp_path: Path
) -> None:
    """It is given up twice, by its owner and by the next run, and its sink must close still."""
    held, target = Held(), tmp_path / name
    async with line(tmp_path, probe=held) as said:
        with held:
            seed = await seeded(said, 7, spec := spec_of(target, timedelta(minutes=1)))
            assert await asyncio.to_thread(held.busy.wait, PATIENCE_S)
            said.worker.receive(m.Abandon(PIPELINE, Run(7)))
            await asyncio.sleep(0)
            said.start(8, spec, seed)
            await asyncio.sleep(0.01)
            assert not has_opened(said)
            held.free.set()
            assert (await said.next(m.Opened)).run == 8
            await ended(said, 8)
    assert sorted(visible(target)) == FILES.kept


class Slow(ArrowFiles):
    """Takes its time to close."""

    released: ClassVar[asyncio.Event]
    closed = 0

    async def close(self) -> None:
        await self.released.wait()
        type(self).closed += 1


def open_slow(step: SinkStep, _: Options, context: Context) -> Slow:
    """Return the sink of a step."""
    return Slow(Path(step.connection_string), context.probe)


@pytest.mark.parametrize("failed", [False, True])
async def test_the_close_of_any_sink_goes_to_its_end_before_the_next_run_opens(
    failed: bool,  # noqa: FBT001 - pytest's
    tmp_path: Path,
) -> None:
    """A sink that is cancelled while it lets go may keep what only it can give back."""
    Slow.released, Slow.closed = asyncio.Event(), 0
    slow = replace(ARROW_FILES, name="slow", open=f"{__name__}:open_slow")
    spec = spec_of(tmp_path / "out", timedelta(minutes=1))
    sink = replace(spec.sinks["sink"], sink_type="slow", options="{}")
    spec = replace(spec, sinks={"sink": sink})
    async with line(tmp_path, slow) as said, AsyncExitStack() as stack:
        stack.callback(Slow.released.set)
        said.start(7, spec, SEED)
        await said.next(m.Opened)
        if failed:
            for number in (8, 9):  # which nobody has prepared
                said.worker.receive(m.Decided(PIPELINE, Run(7), number))
            await said.next(m.Failed)
        else:
            said.worker.receive(m.Abandon(PIPELINE, Run(7)))
        await asyncio.sleep(0.01)
        for run, begun_s in ((8, 0.01), (9, 0)):  # which wait for it, and are given up as well
            said.start(run, spec, SEED)
            await asyncio.sleep(begun_s)
            said.worker.receive(m.Abandon(PIPELINE, Run(run)))
            await asyncio.sleep(begun_s)
        said.start(10, spec, SEED)
        await asyncio.sleep(0.01)
        assert (Slow.closed, has_opened(said)) == (0, False)
        Slow.released.set()
        assert (await said.next(m.Opened)).run == 10
        assert Slow.closed == 1


@pytest.mark.parametrize("name", TARGETS)
async def test_a_write_that_hangs_is_told_in_time_and_shows_nothing_twice_when_it_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that come meanwhile are kept out by the lock, which is let go BEHIND the write."""
    monkeypatch.setattr(worker, "LET_GO_S", 0.01)
    held, target = Held(), tmp_path / name
    async with line(tmp_path, probe=held) as said:
        with held:
            seed = await seeded(said, 7, spec := spec_of(target, timedelta(seconds=0.2)))
            assert (await said.next(m.Failed)).error.code == "BATCH_TIMED_OUT"
            for run in (8, 9):
                said.start(run, spec, seed)
                failed = await said.next(m.Failed)
                assert (failed.run, failed.error.retryable) == (run, True)
                assert "another writer holds" in failed.error.message
            assert not held.free.is_set()
            held.free.set()
            said.start(10, spec, seed)
            assert (await said.next(m.Opened)).run == 10
            await ended(said, 10)
    assert sorted(visible(target)) == FILES.kept
