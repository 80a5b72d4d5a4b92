"""What must never happen, looked for at every step of the journal and once more at the end.

The journal's checks read its memory twin from outside, whatever the code under test believes; they
hold also where a mutation has taken the code's own checks out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import PipelineId, ShardId
from dataflow.journal.contract import (
    GENESIS,
    AppendId,
    Decision,
    Fence,
    Held,
    Nonce,
    Outcome,
    Record,
    link,
)
from dataflow.journal.memory import Memory


@dataclass
class Written:
    """What is known of a shard's log beside its records."""

    fences: list[Fence] = field(default_factory=list)
    """With which each record was written."""
    holders: dict[Fence, Nonce] = field(default_factory=dict)
    largest: Fence = Fence(0)


class WatchedJournal(Memory):
    """The memory twin, with every step checked: I1 and I2 of the log, and one decider a stamp."""

    def __init__(self, broken: Callable[[str], None]) -> None:
        super().__init__()
        self._broken = broken
        self.written: dict[ShardId, Written] = {}
        self.stamps: dict[PipelineId, Stamp] = {}
        self.appends = 0
        self.decided = 0

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """See ``Journal.acquire``: a fence is handed out once, and only grows."""
        held = await super().acquire(shard, nonce)
        written = self.written.setdefault(shard, Written())
        if held.fence < written.largest:
            self._broken(f"shard {shard}: fence {held.fence} after {written.largest}")
        if written.holders.setdefault(held.fence, nonce) != nonce:
            self._broken(f"shard {shard}: fence {held.fence} was handed out twice")
        written.largest = max(written.largest, held.fence)
        return held

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        """See ``Journal.append``: nobody with a smaller fence writes, and nothing is rewritten."""
        log = self.store.logs[held.shard]
        before = len(log)
        found = await super().append(held, records, append_id)
        written = self.written.setdefault(held.shard, Written())
        added = len(log) - before
        if added:
            self.appends += 1
            if held.fence < written.largest:
                self._broken(
                    f"shard {held.shard}: written with fence {held.fence},"
                    f" when {written.largest} had been handed out"
                )
            written.fences += [held.fence] * added
            self._check_chain(held.shard, before)
        return found

    def _check_chain(self, shard: ShardId, first: int) -> None:
        log = self.store.logs[shard]
        head = log[first - 1].hash if first else GENESIS
        for number, record in enumerate(log[first:], start=first + 1):
            if record.offset != number:
                self._broken(f"shard {shard}: record {record.offset} stands at {number}")
            if record.hash != link(head, record.offset, record.payload):
                self._broken(f"shard {shard}: record {number} breaks the chain")
            head = record.hash

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """See ``Journal.decide``: each number is decided once, by runs that only grow."""
        outcomes = await super().decide(held, decisions)
        for decision, outcome in zip(decisions, outcomes, strict=True):
            if outcome.accepted:
                self._accepted(decision)
        written = self.written.setdefault(held.shard, Written())
        if decisions and held.fence < written.largest:
            self._broken(
                f"shard {held.shard}: decided with fence {held.fence},"
                f" when {written.largest} had been handed out"
            )
        return outcomes

    def _accepted(self, decision: Decision) -> None:
        self.decided += 1
        before = self.stamps.get(decision.pipeline, Stamp())
        after = self.stamps[decision.pipeline] = decision.stamp
        is_claim = after.number == before.number and after.run > before.run
        is_next = after.number == before.number + 1 and after.run == before.run
        if not (is_claim or is_next):
            self._broken(f"{decision.pipeline}: {after} was decided behind {before}")
