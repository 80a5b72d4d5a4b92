"""Lanes: a run in several tasks, each of which reads splits of its own and decides for itself.

Nothing passes from one lane to another, so a lane is a task as any: with its own positions, stages
and decision. A run's checkpoint is that of all its lanes together: positions, of which each split
has one, are one mapping; what belongs to one lane stands in ``Checkpoint.lanes``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from zlib import crc32

from dataflow.core.checkpoint import (
    DEAD_LETTERS,
    Checkpoint,
    LaneShare,
    Ledger,
    SplitPosition,
    Totals,
)
from dataflow.core.light import replace
from dataflow.core.spec import PipelineSpec, with_defaults

LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


@dataclass(frozen=True, slots=True)
class Lane:
    """One of the lanes of a run, counted from 0."""

    index: int = 0
    of: int = 1

    @classmethod
    def of_task(cls, lane: int, spec: PipelineSpec) -> Lane:
        """Return the lane that a message names, from 1; of 0 it is the whole run."""
        return cls(lane - 1, with_defaults(spec.options).parallelism) if lane else ALONE

    def reads(self, split: str) -> bool:
        """Tell whether a split is this lane's: always the same one's, of so many.

        Splits whose names differ in their last number, as partitions do, take turns. What is
        replayed enters by the first.
        """
        if self.of == 1:
            return True
        if split.startswith(f"{DEAD_LETTERS}::"):
            return self.index == 0
        number = LAST_NUMBER.search(split)
        if number is None:
            return crc32(split.encode()) % self.of == self.index
        rest = split[: number.start()] + split[number.end() :]
        return (crc32(rest.encode()) + int(number[0])) % self.of == self.index

    def owns(self, index: int) -> bool:
        """Tell whether what a lane of that index has left, now or of more lanes, is this one's."""
        return index == self.index or (self.index == 0 and index >= self.of)

    def share(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return what a lane begins with; the first gets what was one task's before."""
        if self.of == 1:
            return replace(checkpoint, lanes=()) if checkpoint.lanes else checkpoint
        share = LaneShare()
        if len(checkpoint.lanes) == self.of:
            share = checkpoint.lanes[self.index]
        elif self.index == 0:
            share = LaneShare(checkpoint.committables, checkpoint.ledgers, checkpoint.totals)
        positions = {n: p for n, p in checkpoint.positions.items() if self.reads(n)}
        return replace(
            checkpoint,
            positions=positions,
            committables=share.committables,
            ledgers=share.ledgers,
            totals=share.totals,
            lanes=(),
        )


ALONE = Lane()
"""The one task of a run that has no others."""


def together(lanes: Sequence[Checkpoint]) -> Checkpoint:
    """Return the checkpoint of a run from those of its lanes.

    Their decisions may be one apart after a crash; each lane has made at least those before its
    own, so the latest number stands for all of them.
    """
    positions: dict[str, SplitPosition] = {}
    for lane in lanes:
        positions |= lane.positions
    return replace(
        lanes[0],
        stamp=max(lane.stamp for lane in lanes),
        seeded=all(lane.seeded for lane in lanes),
        positions=positions,
        committables={},
        ledgers=_sums([lane.ledgers for lane in lanes]),
        totals=reduce(Totals.plus, (lane.totals for lane in lanes)),
        hidden=sum(lane.hidden for lane in lanes),
        lanes=tuple(LaneShare(lane.committables, lane.ledgers, lane.totals) for lane in lanes),
    )


def _sums(each: Sequence[Mapping[str, Ledger]]) -> Mapping[str, Ledger]:
    found: dict[str, Ledger] = {}
    for ledgers in each:
        for sink, ledger in ledgers.items():
            found[sink] = found.get(sink, Ledger()).plus(ledger)
    return found
