"""``Cassandra``: the rounds that write, and the queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from dataflow.core.errors import Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra import schema
from dataflow.journal.cassandra.options import Options
from dataflow.journal.cassandra.rounds import Rounds
from dataflow.journal.cassandra.session import Session
from dataflow.journal.statements import load
from dataflow.views.cassandra import registry
from dataflow.views.cassandra.index import Index
from dataflow.views.cassandra.writer import Writer
from dataflow.views.contract import Entry, Projected, Query, Summary

VERSION = 1
"""Of ``schema.cql`` and of what is written into it."""

STATEMENTS = load("dataflow.views.cassandra", "views.cql")
TABLES = load("dataflow.views.cassandra", "schema.cql")

GATHER_S = 1.0
"""How long events gather while nobody asks: of each pipeline a round writes one line, and of each
shard the events in one mutation."""

WAITING_MAX = 100_000
"""Events that may wait in vain: no log goes on for so long while its store takes nothing."""


class Cassandra:
    """``Views`` in a keyspace that every node of a cluster shares.

    A list by status alone reads a page and one row a shard. One by label or text reads every line
    of the registry, in bounded memory: 10,000 pipelines are some 3 MB.
    """

    def __init__(self, session: Session) -> None:
        """Take over a session whose tables are there; use ``Cassandra.open``."""
        self._session = session
        self._writer = Writer(session)
        self._index = Index(session)
        self._rounds: Rounds[Projected] = Rounds(
            "views", self._write, gather_s=GATHER_S, waiting_max=WAITING_MAX
        )
        self._unwritten: Counter[ShardId] = Counter()
        self._closed = False

    @classmethod
    async def open(cls, options: Options) -> Cassandra:
        """Connect, and create the tables that are not there yet.

        Raises:
            Unavailable: no server can be reached, or they do not agree on the tables.
            Rejected: the tables are of a newer program; an option is not right.
        """
        prepare = partial(schema.create, options, tables=TABLES, component="views", version=VERSION)
        return cls(await Session.connect(options, STATEMENTS, prepare))

    def apply(self, batch: Sequence[Projected]) -> None:
        """See ``Views.apply``."""
        self._unwritten.update(one.shard for one in batch)
        self._rounds.add(batch)

    async def _write(self, taken: Sequence[Projected]) -> None:
        await self._writer.write(taken)
        self._unwritten -= Counter(one.shard for one in taken)

    async def settled(self, shard: ShardId | None = None) -> None:
        """See ``Views.settled``.

        A shard that is taken over waits for none of those whose events are being written.
        """
        self._check_open()
        if shard is None or self._unwritten[shard]:
            await self._rounds.settled()

    async def applied_offset(self, shard: ShardId) -> Offset:
        """See ``Views.applied_offset``.

        Raises:
            Unavailable: the store cannot be read, or written while something waits.
        """
        await self.settled(shard)  # Of an earlier time that this process owned the shard.
        self._writer.forget(shard)
        rows = await self._session.run("applied", shard)
        return Offset(rows[0][0]) if rows else Offset(0)

    async def pipelines(self, query: Query) -> tuple[Sequence[Summary], int]:
        """See ``Views.pipelines``."""
        self._check_open()
        if query.label or query.text:
            return await registry.searched(self._session, query)
        return await registry.listed(self._session, query)

    async def events(
        self, pipeline: PipelineId, types: Collection[str], after: SequenceNumber, limit: int
    ) -> Sequence[Entry]:
        """See ``Views.events``."""
        self._check_open()
        return await self._index.events(pipeline, types, after, limit)

    async def versions(self, pipeline: PipelineId, before: Version, limit: int) -> Sequence[Entry]:
        """See ``Views.versions``."""
        self._check_open()
        return await self._index.versions(pipeline, before, limit)

    async def latest(
        self, pipeline: PipelineId, types: Collection[str], until: SequenceNumber | datetime
    ) -> Entry | None:
        """See ``Views.latest``."""
        self._check_open()
        return await self._index.latest(pipeline, types, until)

    async def close(self) -> None:
        """See ``Views.close``."""
        if not self._closed:
            self._closed = True
            await self._rounds.close()
            await self._session.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the views are closed")
