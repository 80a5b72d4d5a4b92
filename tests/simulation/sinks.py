"""Where rows end up: two sinks in memory, kept by a store that outlives every process.

``Parts`` stages rows under (run, checkpoint) and publishes a stage as the part of its checkpoint,
as a folder of files does: a stage's name holds the run, a part's the checkpoint alone, and a part
is never replaced. ``Table`` keeps rows and decision in one transaction, a compare-and-set on the
stamp. Both do what ``dataflow.connect.sink`` asks of its kinds, and note what must never happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from dataflow.connect.decision import decision_held
from dataflow.core.checkpoint import Checkpoint, Stamp
from dataflow.core.errors import Corrupted, Fenced
from dataflow.core.ids import Run

Row: TypeAlias = tuple[str, int]
"""A split, and which of its numbers."""


@dataclass
class Parts:
    """A staging sink: a part a checkpoint, published once."""

    broken: Callable[[str], None]
    stages: dict[tuple[int, int], Sequence[Row]] = field(default_factory=dict)
    parts: dict[int, tuple[int, Sequence[Row]]] = field(default_factory=dict)

    def stage(self, run: Run, number: int, rows: Sequence[Row]) -> None:
        """Keep rows that nobody sees yet."""
        self.stages[run, number] = rows

    def publish(self, run: Run, number: int) -> None:
        """Show what a decided checkpoint has staged; again changes nothing."""
        if number in self.parts:
            if self.parts[number][0] != run:
                self.broken(
                    f"two runs commit: checkpoint {number} is run {self.parts[number][0]}'s,"
                    f" and now run {run}'s"
                )
            return
        if (run, number) not in self.stages:
            raise Corrupted(f"the stage {run}-{number} is gone")
        self.parts[number] = run, self.stages.pop((run, number))

    def discard(self, run: Run) -> None:
        """Drop what smaller runs have staged."""
        for stage in [stage for stage in self.stages if stage[0] < run]:
            del self.stages[stage]

    def rows(self) -> Sequence[Row]:
        """Return what is seen, in order."""
        return [row for number in sorted(self.parts) for row in self.parts[number][1]]


@dataclass
class Table:
    """A transactional sink: rows and their decision appear together."""

    broken: Callable[[str], None]
    claimed: Run = Run(0)
    decision: Checkpoint | None = None
    shown: list[Row] = field(default_factory=list)
    checks_run: ClassVar[bool] = True
    """Whether a transaction is refused to a run that was superseded."""

    def recover(self, run: Run, seed: Checkpoint) -> Checkpoint:
        """Claim the table, and return the decision that it holds."""
        if run < self.claimed and self.checks_run:
            raise Fenced(f"run {self.claimed} has claimed the table")
        self.claimed = run
        self.decision = decision_held(self.decision, seed) if self.decision else seed
        return self.decision

    def commit(self, run: Run, decision: Checkpoint, rows: Sequence[Row]) -> None:
        """Show rows and decision, if the stored stamp is the one before."""
        held = self.decision.stamp if self.decision else Stamp()
        if self.checks_run and (run != self.claimed or held.number != decision.stamp.number - 1):
            raise Fenced(f"run {self.claimed} has decided {held}, not run {run}")
        if held.number >= decision.stamp.number:
            self.broken(f"two runs commit: {held} was decided before {decision.stamp}")
        self.shown += rows
        self.decision = decision

    def rows(self) -> Sequence[Row]:
        """Return what is seen, in order."""
        return self.shown
