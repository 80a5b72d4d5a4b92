"""What the owner of a pipeline and the worker that runs it say to each other.

Every message names its pipeline and run. The owner ignores a message of an older run, a worker
one of a run it does not have: that settles every race between the two. Messages are plain data
and cross a function call, a pipe or a network alike.

A run in lanes has several tasks. Messages of one of them say which, counted from 1, and an owner
hears none: ``engine.lanes`` stands between and speaks for the whole run, whose messages say 0.

    owner                            worker
    RunTask(checkpoint)     ------>  opens, commits that checkpoint again, cuts back to it
                            <------  Opened
    Barrier(number, final)  ------>  flows behind the rows already read
                            <------  Prepared(checkpoint)
    decides, then Decided   ------>  commits
                            <------  Committed
    Abandon                 ------>  ends at once; nothing more is heard of the run
                            <------  Failed, Exhausted, CheckpointDue, Progress at any time
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from dataflow.core.checkpoint import Checkpoint
from dataflow.core.events import PipelineError
from dataflow.core.ids import PipelineId, Run
from dataflow.core.light import light
from dataflow.core.spec import PipelineSpec


class Phase(StrEnum):
    """What is going on, beside what was decided."""

    IDLE = "idle"
    STARTING = "starting"
    PROCESSING = "processing"
    WAITING = "waiting"
    BACKING_OFF = "backing-off"
    DRAINING = "draining"


@light
@dataclass(frozen=True, slots=True)
class RunTask:
    """(to the worker) Run the pipeline from this checkpoint."""

    pipeline_id: PipelineId
    run: Run
    spec: PipelineSpec
    checkpoint: Checkpoint
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Barrier:
    """(to the worker) Close a checkpoint behind what has been read; a final one ends reading."""

    pipeline_id: PipelineId
    run: Run
    number: int
    final: bool = False
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Decided:
    """(to the worker) The checkpoint is decided: make it visible."""

    pipeline_id: PipelineId
    run: Run
    number: int
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Abandon:
    """(to the worker) Drop the run where it stands."""

    pipeline_id: PipelineId
    run: Run
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Opened:
    """(to the owner) Sources and sinks are open.

    ``checkpoint`` is what a transactional sink holds, which the register may not have heard of.
    """

    pipeline_id: PipelineId
    run: Run
    checkpoint: Checkpoint | None = None
    pinned: Mapping[str, str] = field(default_factory=dict)
    """What the sources have pinned for the lineage, by name, as JSON text."""
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Prepared:
    """(to the owner) Everything before the barrier is durable; decide this."""

    pipeline_id: PipelineId
    run: Run
    checkpoint: Checkpoint
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Committed:
    """(to the owner) What was decided is visible; after a final checkpoint the task has ended."""

    pipeline_id: PipelineId
    run: Run
    number: int
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Failed:
    """(to the owner) The task has ended with an error."""

    pipeline_id: PipelineId
    run: Run
    error: PipelineError
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Exhausted:
    """(to the owner) Every split of a bounded source has been read to its end."""

    pipeline_id: PipelineId
    run: Run
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class CheckpointDue:
    """(to the owner) The pipeline's ``checkpointRows`` have come through since the last barrier."""

    pipeline_id: PipelineId
    run: Run
    lane: int = 0


@light
@dataclass(frozen=True, slots=True)
class Progress:
    """(to the owner) What is going on, a few times a second; nothing rests on it."""

    pipeline_id: PipelineId
    run: Run
    phase: Phase
    detail: str = ""
    records_read: int = 0
    """In this run."""
    lag_records: int = -1
    """Records known to wait in the source; -1 where it cannot know."""
    lag_bytes: int = -1
    positions_moved: int = 0
    """How often a position has moved on in this run without a record."""
    lane: int = 0

    def is_beyond(self, before: Progress) -> bool:
        """Tell whether there is something to decide since."""
        now = self.records_read + self.positions_moved
        return now > before.records_read + before.positions_moved


ToWorker: TypeAlias = RunTask | Barrier | Decided | Abandon
ToOwner: TypeAlias = Opened | Prepared | Committed | Failed | Exhausted | CheckpointDue | Progress


class Place(NamedTuple):
    """A task that a worker has, of whichever run."""

    pipeline: PipelineId
    lane: int = 0


def place_of(message: ToWorker | ToOwner) -> Place:
    """Return the task that a message goes to or comes from."""
    return Place(message.pipeline_id, message.lane)
