"""Stands between the owner of a pipeline and the lanes of its run, and speaks for each.

The owner sees one task. A message of its goes to every lane; what the lanes say goes on to it once
all have said it, as one: a run is open, prepared, committed or exhausted when all its lanes are,
and has failed with the first that has. Runs that are one task pass untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.ids import PipelineId, Run
from dataflow.core.lanes import ALONE, Lane, together
from dataflow.core.light import replace
from dataflow.core.spec import with_defaults

T = TypeVar("T")


@dataclass(slots=True)
class _Laned:
    """A run in lanes, and what each lane, from 1 on, has said since it was asked."""

    run: Run
    starts: dict[int, m.RunTask]
    seeded: bool
    opened: dict[int, Checkpoint | None] = field(default_factory=dict)
    barrier: m.Barrier | None = None
    """One that goes to the others when the first lane has prepared."""
    last: int = -1
    """The number of the final checkpoint, once it is asked for."""
    prepared: dict[int, Checkpoint] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)
    exhausted: dict[int, bool] = field(default_factory=dict)
    progress: dict[int, m.Progress] = field(default_factory=dict)

    @property
    def others(self) -> Sequence[int]:
        """Return the lanes but the first."""
        return list(self.starts)[1:]

    def all_have(self, said: dict[int, T], lane: int, what: T) -> list[T]:
        """Note what a lane says; returns what all have said, in order, if it is the last."""
        said[lane] = what
        if len(said) < len(self.starts):
            return []
        whole = [said[each] for each in self.starts]
        said.clear()
        return whole


class Lanes:
    """Keeps the lanes of each run together."""

    def __init__(
        self, tell: Callable[[m.ToWorker], None], to_owner: Callable[[m.ToOwner], None]
    ) -> None:
        self._tell = tell
        self._to_owner = to_owner
        self._runs: dict[PipelineId, _Laned] = {}

    # --- from the owner --------------------------------------------------------------------------

    def receive(self, message: m.ToWorker) -> None:
        """Take a message from an owner."""
        laned = self._runs.get(message.pipeline_id)
        if isinstance(message, m.RunTask) and not message.lane:
            self._run(message, laned)
        elif message.lane or laned is None or laned.run != message.run:
            self._tell(message)
        elif isinstance(message, m.Abandon):
            self._abandon(message.pipeline_id, laned)
        elif isinstance(message, m.Barrier):
            self._close(message, laned)
        else:
            for lane in laned.starts:
                self._tell(replace(message, lane=lane))

    def _close(self, barrier: m.Barrier, laned: _Laned) -> None:
        """A lineage is seeded in the first lane BEFORE the others: they begin with what it pins."""
        if barrier.final:
            laned.last = barrier.number
        self._tell(replace(barrier, lane=1))
        if not laned.seeded:
            laned.barrier = barrier
            return
        for lane in laned.others:
            self._tell(replace(barrier, lane=lane))

    def _run(self, message: m.RunTask, before: _Laned | None) -> None:
        if before is not None:
            if before.run >= message.run:
                return
            self._abandon(message.pipeline_id, before)
        of = with_defaults(message.spec.options).parallelism
        if of == 1:
            self._tell(replace(message, checkpoint=ALONE.share(message.checkpoint)))
            return
        start = message.checkpoint
        starts = {
            lane: replace(message, checkpoint=Lane(lane - 1, of).share(start), lane=lane)
            for lane in range(1, of + 1)
        }
        laned = self._runs[message.pipeline_id] = _Laned(message.run, starts, start.seeded)
        self._tell(starts[1])
        if laned.seeded and self._runs.get(message.pipeline_id) is laned:
            self._start_others(laned, start.pinned)

    def _start_others(self, laned: _Laned, pinned: Mapping[str, str]) -> None:
        """Start all but the first; in a lineage that begins, AFTER the first has pinned."""
        for lane in laned.others:
            own = replace(laned.starts[lane].checkpoint, pinned=pinned)
            laned.starts[lane] = replace(laned.starts[lane], checkpoint=own)
            self._tell(laned.starts[lane])

    def _abandon(self, pipeline: PipelineId, laned: _Laned) -> None:
        del self._runs[pipeline]
        for lane in laned.starts:
            self._tell(m.Abandon(pipeline, laned.run, lane))

    # --- to the owner ----------------------------------------------------------------------------

    def hear(self, message: m.ToOwner) -> None:
        """Take a message from a task; one of a lane goes no further than as its run's."""
        if not message.lane:
            self._to_owner(message)
            return
        laned = self._runs.get(message.pipeline_id)
        if laned is not None and laned.run == message.run:
            self._hear(message, laned)

    def _hear(self, message: m.ToOwner, laned: _Laned) -> None:  # noqa: C901 - one arm a message
        lane, whole = message.lane, replace(message, lane=0)
        match whole:
            case m.Opened():
                self._opened(whole, laned, lane)
            case m.Prepared():
                self._prepared(whole, laned, lane)
            case m.Committed():
                if laned.all_have(laned.committed, lane, whole.number):
                    if whole.number == laned.last:
                        del self._runs[whole.pipeline_id]
                    self._to_owner(whole)
            case m.Exhausted():
                if laned.all_have(laned.exhausted, lane, True):
                    self._to_owner(whole)
            case m.Failed():
                self._abandon(whole.pipeline_id, laned)
                self._to_owner(whole)
            case m.CheckpointDue():
                self._to_owner(whole)
            case m.Progress():
                laned.progress[lane] = whole
                self._to_owner(_of_all(whole, list(laned.progress.values())))

    def _opened(self, message: m.Opened, laned: _Laned, lane: int) -> None:
        if lane == 1 and not laned.seeded:
            self._start_others(laned, message.pinned)
        if found := laned.all_have(laned.opened, lane, message.checkpoint):
            starts = [start.checkpoint for start in laned.starts.values()]
            each = [held or start for held, start in zip(found, starts, strict=True)]
            held = replace(together(each), seeded=laned.seeded) if any(found) else None
            self._to_owner(m.Opened(message.pipeline_id, message.run, held))

    def _prepared(self, message: m.Prepared, laned: _Laned, lane: int) -> None:
        if lane == 1 and laned.barrier is not None:
            barrier, laned.barrier, laned.seeded = laned.barrier, None, True
            for other in laned.others:
                self._tell(replace(barrier, lane=other))
        if whole := laned.all_have(laned.prepared, lane, message.checkpoint):
            self._to_owner(replace(message, checkpoint=together(whole)))


def _of_all(latest: m.Progress, each: list[m.Progress]) -> m.Progress:
    """Return what is going on in a run; it waits if one of its lanes does."""
    shown = next((one for one in each if one.phase is m.Phase.WAITING), latest)
    return replace(
        shown,
        records_read=sum(one.records_read for one in each),
        positions_moved=sum(one.positions_moved for one in each),
        lag_records=_sum([one.lag_records for one in each]),
        lag_bytes=_sum([one.lag_bytes for one in each]),
    )


def _sum(counts: list[int]) -> int:
    return -1 if -1 in counts else sum(counts)
