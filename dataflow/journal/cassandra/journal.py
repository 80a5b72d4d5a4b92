"""``Cassandra``: the log, the registers, the snapshots and the audit table of one keyspace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from dataflow.core.errors import DataFlowError
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal import rules
from dataflow.journal.cassandra import schema
from dataflow.journal.cassandra.audit import Audit
from dataflow.journal.cassandra.buckets import Buckets
from dataflow.journal.cassandra.log import BUCKET_EVENTS, Log
from dataflow.journal.cassandra.options import Options
from dataflow.journal.cassandra.reading import Reader
from dataflow.journal.cassandra.registers import Registers
from dataflow.journal.cassandra.session import Session
from dataflow.journal.cassandra.snapshots import Snapshots
from dataflow.journal.cassandra.values import LargeValues
from dataflow.journal.contract import (
    AppendId,
    Decided,
    Decision,
    Held,
    Nonce,
    Outcome,
    Record,
    Snapshot,
)
from dataflow.journal.statements import load

STATEMENTS = load("dataflow.journal.cassandra", "journal.cql")

SERIAL = frozenset({"header", "registers"})
"""Reads that complete what another coordinator has left half done, and so see all that is decided.
Whatever else is read was so completed before."""


class Cassandra:
    """A ``Journal`` in a keyspace that every node of a cluster shares.

    It is told from what the store answers alone who may write: another process may acquire a shard
    at any time. A call that is cancelled may still take effect.
    """

    def __init__(self, session: Session, bucket_events: int = BUCKET_EVENTS) -> None:
        """Take over a session whose tables are there; use ``Cassandra.open``."""
        self._session = session
        self._buckets = Buckets(session)
        values = LargeValues(session)
        self._reader = Reader(session, self._buckets, values)
        self._log = Log(session, self._buckets, values, bucket_events)
        self._registers = Registers(session, values)
        self._snapshots = Snapshots(session, self._buckets, self._reader, values)
        self._audit = Audit(session, self._buckets, self._reader)

    @classmethod
    async def open(cls, options: Options, bucket_events: int = BUCKET_EVENTS) -> Cassandra:
        """Connect, check the servers' settings, and create the tables that are not there yet.

        Processes need not agree on ``bucket_events``, for a header says where its bucket ends.

        Raises:
            Unavailable: no server can be reached, or they do not agree on the tables.
            Rejected: a server is too old, or set so that it may lose what it has acknowledged; the
                tables are of a newer program; an option is not right.
        """
        prepare = partial(schema.prepare, options)
        session = await Session.connect(options, STATEMENTS, prepare, SERIAL)
        return cls(session, bucket_events)

    def __str__(self) -> str:
        """See ``Journal.__str__``."""
        return str(self._session)

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """See ``Journal.acquire``. The registers' fence is raised AFTER the log's.

        Raises:
            Unavailable: the store cannot be reached; the fence may have been raised.
            Corrupted: the log behind the audit table's end is broken.
        """
        await self._snapshots.kept(shard)  # They know of a bucket near the end.
        held = await self._log.acquire(shard, nonce)
        await self._registers.fence(shard, held.fence)
        await self._audit.catch_up(shard)
        return held

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        """See ``Journal.append``."""
        after, bucket = await self._log.append(held, records, append_id)
        await self._note(held.shard, bucket, records)
        return after

    async def _note(self, shard: ShardId, bucket: Offset, records: Sequence[Record]) -> None:
        """Have what is durable by now copied; nothing here may fail the append."""
        try:
            await self._audit.note(shard, bucket, records)
        except DataFlowError:
            return  # It waits on, and readers of history are told why.

    async def read(self, shard: ShardId, after: Offset) -> AsyncIterator[Sequence[Record]]:
        """See ``Journal.read``; it ends no earlier than where the log ended when asked."""
        async for _, page in self._reader.pages(shard, after):
            yield page

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``; a process sees all that it has appended itself."""
        found = await self._audit.history(pipeline, after, limit)
        rules.check_history(pipeline, after, found)
        return found

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """See ``Journal.decide``; in one write if they fit 40 KiB, else in as few as they need."""
        return await self._registers.decide(held, decisions)

    async def decision(self, shard: ShardId, pipeline: PipelineId) -> Decided | None:
        """See ``Journal.decision``; read after a decision of unknown outcome, it settles that."""
        return await self._registers.decision(shard, pipeline)

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        """See ``Journal.save_snapshot``."""
        await self._snapshots.save(held, snapshot)

    async def load_snapshot(self, shard: ShardId) -> Snapshot | None:
        """See ``Journal.load_snapshot``."""
        return await self._snapshots.load(shard)

    async def close(self) -> None:
        """See ``Journal.close``."""
        if not self._session.closed:
            await self._audit.close()
            await self._session.close()
