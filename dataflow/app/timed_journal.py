"""A journal that tells how long its writes take; everything else is passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from dataflow.core.clock import Clock
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import (
    AppendId,
    Decided,
    Decision,
    Held,
    Journal,
    Nonce,
    Outcome,
    Record,
    Snapshot,
)

BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1, 2, 4, 8)
"""A synced write takes 1 to 10 ms, one over Paxos 3 to 30; past a second somebody should look."""


class JournalTimes:
    """How long a journal's writes take, and how much they carry."""

    def __init__(self) -> None:
        self.seconds = Histogram(
            "dataflow_journal_seconds",
            "Time of a write to the journal, answered or not.",
            ("operation",),
            buckets=BUCKETS_S,
            registry=None,
        )
        self.records = Counter(
            "dataflow_journal_records",
            "Records and decisions written: by the number of writes, how full they are.",
            ("operation",),
            registry=None,
        )


class TimedJournal:
    """Implements ``journal.contract.Journal`` over another one, which it takes over."""

    def __init__(self, journal: Journal, times: JournalTimes, clock: Clock) -> None:
        self._journal = journal
        self._times = times
        self._clock = clock

    def __str__(self) -> str:
        return str(self._journal)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        began_s = self._clock.steady()
        try:
            yield
        finally:
            self._times.seconds.labels(operation).observe(self._clock.steady() - began_s)

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """See ``Journal.acquire``."""
        with self._timed("acquire"):
            return await self._journal.acquire(shard, nonce)

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        """See ``Journal.append``."""
        with self._timed("append"):
            done = await self._journal.append(held, records, append_id)
        self._times.records.labels("append").inc(len(records))
        return done

    def read(self, shard: ShardId, after: Offset) -> AsyncIterator[Sequence[Record]]:
        """See ``Journal.read``."""
        return self._journal.read(shard, after)

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``."""
        return await self._journal.history(pipeline, after, limit)

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """See ``Journal.decide``."""
        with self._timed("decide"):
            outcomes = await self._journal.decide(held, decisions)
        self._times.records.labels("decide").inc(len(decisions))
        return outcomes

    async def decision(self, shard: ShardId, pipeline: PipelineId) -> Decided | None:
        """See ``Journal.decision``."""
        return await self._journal.decision(shard, pipeline)

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        """See ``Journal.save_snapshot``."""
        with self._timed("save snapshot"):
            await self._journal.save_snapshot(held, snapshot)

    async def load_snapshot(self, shard: ShardId) -> Snapshot | None:
        """See ``Journal.load_snapshot``."""
        return await self._journal.load_snapshot(shard)

    async def close(self) -> None:
        """See ``Journal.close``."""
        await self._journal.close()
