"""The journal in memory: the twin for tests and simulation.

What is durable lives in a ``Store``. A second ``Memory`` over the same store is what a restarted
process, or another node, would see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Corrupted, Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal import rules
from dataflow.journal.contract import (
    GENESIS,
    AppendId,
    Decided,
    Decision,
    Hash,
    Held,
    Nonce,
    Outcome,
    Record,
    Snapshot,
    check_chain,
)

PAGE_RECORDS = 256
"""So few that a test of a thousand records sees several pages."""

SNAPSHOTS_KEPT = 2
"""The newest, and the one before until the newest has proved good."""


@dataclass
class Store:
    """Everything that a crash leaves behind."""

    ends: dict[ShardId, rules.End] = field(
        default_factory=lambda: defaultdict(lambda: rules.UNTOUCHED)
    )
    logs: dict[ShardId, list[Record]] = field(default_factory=lambda: defaultdict(list))
    histories: dict[PipelineId, list[Record]] = field(default_factory=lambda: defaultdict(list))
    registers: dict[PipelineId, Decided] = field(default_factory=dict)
    snapshots: dict[ShardId, list[Snapshot]] = field(default_factory=lambda: defaultdict(list))


class Memory:
    """A ``Journal`` whose every method is one step of the event loop, and so atomic."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self._closed = False

    def __str__(self) -> str:
        """See ``Journal.__str__``."""
        return "the journal in memory"

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """See ``Journal.acquire``."""
        self._check_open()
        end = self.store.ends[shard] = rules.acquired(self.store.ends[shard], nonce)
        return rules.held(shard, end)

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        """See ``Journal.append``."""
        self._check_open()
        before = self.store.ends[held.shard]
        end = rules.appended(held, before, records, append_id)
        if end is not before:
            self.store.ends[held.shard] = end
            self.store.logs[held.shard] += records
            for record in records:
                self.store.histories[record.pipeline].append(record)
        return rules.held(held.shard, end)

    async def read(self, shard: ShardId, after: Offset) -> AsyncIterator[Sequence[Record]]:
        """See ``Journal.read``."""
        self._check_open()
        end = self.store.ends[shard]
        head, offset = self._hash_at(shard, after), after
        while offset < end.offset:
            page = self.store.logs[shard][offset : offset + PAGE_RECORDS]
            problem = check_chain(head, offset, page) if page else f"record {offset + 1} is missing"
            if problem:
                raise Corrupted(f"shard {shard}: {problem}")
            head, offset = page[-1].hash, page[-1].offset
            yield page

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``."""
        self._check_open()
        found = self.store.histories.get(pipeline, [])[after : after + limit]
        rules.check_history(pipeline, after, found)
        return found

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """See ``Journal.decide``."""
        self._check_open()
        rules.check_fence(held, self.store.ends[held.shard])
        outcomes = []
        for decision in decisions:
            register = self.store.registers.get(decision.pipeline)
            outcome = rules.outcome(register.stamp if register else Stamp(), decision)
            if outcome.accepted:
                decided = Decided(stamp=decision.stamp, payload=decision.payload)
                self.store.registers[decision.pipeline] = decided
            outcomes.append(outcome)
        return outcomes

    async def decision(self, shard: ShardId, pipeline: PipelineId) -> Decided | None:
        """See ``Journal.decision``; every register is in one place, whatever its shard."""
        del shard
        self._check_open()
        return self.store.registers.get(pipeline)

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        """See ``Journal.save_snapshot``."""
        self._check_open()
        rules.check_fence(held, self.store.ends[held.shard])
        others = [s for s in self.store.snapshots[held.shard] if s.offset != snapshot.offset]
        newest = sorted([*others, snapshot], key=lambda s: s.offset)[-SNAPSHOTS_KEPT:]
        self.store.snapshots[held.shard] = newest

    async def load_snapshot(self, shard: ShardId) -> Snapshot | None:
        """See ``Journal.load_snapshot``."""
        self._check_open()
        for snapshot in reversed(self.store.snapshots[shard]):
            if snapshot.offset <= len(self.store.logs[shard]) and (
                snapshot.hash == self._hash_at(shard, snapshot.offset)
            ):
                return snapshot
        return None

    async def close(self) -> None:
        """Refuse everything from now on, as a journal does whose process is gone."""
        self._closed = True

    def _hash_at(self, shard: ShardId, offset: Offset) -> Hash:
        return self.store.logs[shard][offset - 1].hash if offset else GENESIS

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the journal is closed")
