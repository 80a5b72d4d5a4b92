"""The tests of ``test_sinks`` catch an engine that is broken on purpose, one way at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow.connect import Task as TaskId
from dataflow.core import messages as m
from dataflow.core.checkpoint import DEAD_LETTERS, Checkpoint
from dataflow.engine.checkpoints import Checkpoints
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.inlets import Readers
from dataflow.engine.items import BarrierItem
from dataflow.engine.outputs import Idempotent, Staging, Transactional
from dataflow.engine.reader import Reader
from dataflow.engine.states import States
from dataflow.engine.tally import Progressed
from dataflow.engine.task import Task
from dataflow.engine.writer import Writer
from tests.contract.engine import test_graphs as graphs
from tests.contract.engine import test_sinks as tests
from tests.contract.engine.owner import Broken

Patch = tuple[type, str, Callable[..., Any]]


async def opens_without_committing_again(self: Staging, task: TaskId, start: Checkpoint) -> None:
    """A crash between the decision and its commit hides the rows for ever."""
    text = start.committables.get(self.name, "")
    last = self.model.model_validate_json(text) if text else None
    await self.sink.open(task, last)
    await self.sink.discard(task, last)


async def opens_without_discarding(self: Staging, task: TaskId, start: Checkpoint) -> None:
    """What nobody decided stays."""
    text = start.committables.get(self.name, "")
    last = self.model.model_validate_json(text) if text else None
    if last is not None:
        await self.sink.commit(last)
    await self.sink.open(task, last)


async def commits_before_the_decision(self: Staging, number: int, *, final: bool) -> str:
    """Rows are seen that may be read again."""
    committable = await self.sink.prepare(number, final=final)
    await self.sink.commit(committable)
    text: str = committable.model_dump_json()
    return text


async def decides_without_flushing(*_: object, **__: object) -> str:
    """Positions move past rows that are nowhere."""
    return ""


async def ignores_what_the_sink_holds(
    self: Transactional, task: TaskId, start: Checkpoint
) -> Checkpoint | None:
    """The register is behind where the answer to a commit was lost."""
    await self.sink.recover(task, start)
    return None


_close = Progressed.close


def forgets_other_splits(self: Progressed, barrier: BarrierItem) -> BarrierItem:
    """Only what this run has read is decided."""
    found = _close(self, barrier)
    read = found.positions.keys() | self._ended
    positions = {k: v for k, v in found.moved.positions.items() if k in read}
    return replace(found, moved=replace(found.moved, positions=positions))


def forgets_the_end_of_splits(self: Progressed, split: str) -> None:
    """A split that has ended is read on."""


async def keeps_letters_by_the_register(
    self: Checkpoints, start: Checkpoint
) -> tuple[Checkpoint, Checkpoint | None]:
    """What a transactional sink has decided is dropped as if nobody had."""
    await self._letters.commit(start.committables.get(DEAD_LETTERS, ""))
    await self._letters.sweep(self._task.run, "")
    held = await self._writers[0].open(start)
    return held or start, held


async def never_sweeps_letters(self: DeadLetters, run: int, decided: str) -> None:
    """What nobody decided stays."""


async def opens_the_source_first(self: Task) -> Readers:
    """The register does not know what the sink's decision has pinned."""
    self._start = await self._inlets.open(self._start, self._told.waiting)
    pinned = self._start.pinned
    self._start, held = await self._checkpoints.open(self._start)
    if not self._start.pinned:
        self._start = replace(self._start, pinned=pinned)
    self._checkpoints.begin(self._start)
    self._progressed = Progressed(self._start)
    self._around.send(m.Opened(self._pipeline, self._run, held))
    return self._inlets.readers(self._start, self._read, self._around.clock, numbers=True)


MUTATIONS: Mapping[str, tuple[str, Patch]] = {
    "no commit again": ("staging", (Staging, "open", opens_without_committing_again)),
    "no discard": ("staging", (Staging, "open", opens_without_discarding)),
    "commit before the decision": ("staging", (Staging, "prepare", commits_before_the_decision)),
    "decision before the flush": ("idempotent", (Idempotent, "prepare", decides_without_flushing)),
    "the register wins": ("transactional", (Transactional, "open", ignores_what_the_sink_holds)),
    "other splits forgotten": ("staging", (Progressed, "close", forgets_other_splits)),
    "ends forgotten": ("staging", (Progressed, "ended", forgets_the_end_of_splits)),
    "letters dropped": ("transactional", (Checkpoints, "open", keeps_letters_by_the_register)),
    "letters left": ("staging", (DeadLetters, "sweep", never_sweeps_letters)),
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_broken_engine_is_caught(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that a broken engine survives would prove nothing about one that is not."""
    kind, (where, attribute, mutation) = MUTATIONS[name]
    monkeypatch.setattr(where, attribute, mutation)
    with pytest.raises((AssertionError, Broken)):
        await tests.test_broken_at_every_point_the_next_run_delivers_every_row_once(kind, tmp_path)


async def test_a_source_that_is_opened_before_the_sink_is_asked_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read by other pins than those that its lineage has decided."""
    monkeypatch.setattr(Task, "_open", opens_the_source_first)
    with pytest.raises(AssertionError):
        await tests.test_what_a_source_has_pinned_is_what_every_later_run_reads_by(
            "transactional", tmp_path
        )


async def restores_nothing(self: States, saved: Mapping[str, str], steps: object) -> None:
    """What had been kept before a crash is forgotten."""


async def opens_all_by_the_register(
    self: Checkpoints, start: Checkpoint
) -> tuple[Checkpoint, Checkpoint | None]:
    """What the deciding sink knows and the register does not is not asked of the others."""
    held = None
    for writer in self._writers:
        held = await writer.open(start) or held
    await self._letters.sweep(self._task.run, "")
    return held or start, held


async def decides_without_the_others(
    self: Checkpoints, barrier: BarrierItem, writer: Writer
) -> Checkpoint | None:
    """A decision that names nothing of what other sinks have staged."""
    self._parts.append(await writer.prepare(barrier))
    return await self._close(barrier) if writer is self._decider else None


async def reads_all_at_once(self: Readers, name: str, reader: Reader) -> None:
    """Rows come before the table that they ask for."""
    await reader.read(self._ended[name].set)


GRAPH_MUTATIONS: Mapping[str, Patch] = {
    "states forgotten": (States, "restore", restores_nothing),
    "sinks opened by the register": (Checkpoints, "open", opens_all_by_the_register),
    "a decision without the others": (Checkpoints, "prepare", decides_without_the_others),
    "no table first": (Readers, "_read", reads_all_at_once),
}


@pytest.mark.parametrize("name", GRAPH_MUTATIONS)
async def test_a_broken_graph_is_caught(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One decision for all sources, states and sinks is what the sweep is for."""
    monkeypatch.setattr(*GRAPH_MUTATIONS[name])
    with pytest.raises((AssertionError, Broken)):
        await graphs.test_broken_at_every_point_every_sink_of_a_graph_has_every_row_once(tmp_path)
