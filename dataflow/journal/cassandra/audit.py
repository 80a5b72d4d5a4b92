"""One pipeline's events, findable by its name: written behind the log, and never trusted over it.

Rows are plain and always the same, so whoever writes them again does no harm. A round takes all
that waits; of one pipeline it writes row by row in order, so that a reader finds no gap. The log
is the truth: up to ``audited`` a shard's log is in the table for certain, and whoever acquires the
shard writes what lies behind that again, BEFORE it serves anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from dataflow.core.errors import Corrupted, DataFlowError
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra import audit_rows as rows
from dataflow.journal.cassandra.buckets import Buckets
from dataflow.journal.cassandra.reading import Reader
from dataflow.journal.cassandra.rounds import Rounds, write_all
from dataflow.journal.cassandra.session import Session
from dataflow.journal.cassandra.session import Values as RowValues
from dataflow.journal.contract import Record

log = structlog.get_logger()

IN_FLIGHT_MAX = 4
"""Requests of a round: enough to keep up with the log, too few to be in its way."""

WAITING_MAX = 8192
"""Records that wait to be written; then the appends wait."""

GATHER_S = 0.02
"""So that a round has many records of each pipeline; readers of history cut it short."""

UNMARKED_MAX = 128
"""Records of a shard that the next owner may have to write again: some 30 ms of its start."""


class Audit:
    """Writes and reads the table."""

    def __init__(self, session: Session, buckets: Buckets, reader: Reader) -> None:
        self._session = session
        self._buckets = buckets
        self._reader = reader
        self._pending: Counter[PipelineId] = Counter()
        self._marked: dict[ShardId, Offset] = {}
        self._rounds: Rounds[rows.Waiting] = Rounds("audit", self._write, gather_s=GATHER_S)

    async def note(self, shard: ShardId, bucket: Offset, records: Sequence[Record]) -> None:
        """Have records written soon; waits while too many wait already.

        Raises:
            Unavailable: too many wait, and cannot be written now; these wait, too.
        """
        self._pending.update(record.pipeline for record in records)
        self._rounds.add([rows.Waiting(shard, bucket, record) for record in records])
        if len(self._rounds) > WAITING_MAX:
            await self._rounds.settled()

    async def catch_up(self, shard: ShardId) -> None:
        """Write what the last owner may have left out."""
        marks = await self._session.run("audited", shard)
        bucket, after = marks[0] if marks else (0, 0)
        self._buckets.know(shard, [Offset(bucket)])
        self._marked[shard] = Offset(after)
        noted = False
        async for place, page in self._reader.pages(shard, Offset(after)):
            await self.note(shard, place, page)
            noted = True
        if noted:
            await self._rounds.settled()

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``; whether it is without a gap is the caller's to check."""
        if pipeline in self._pending:
            await self._rounds.settled()
        found: list[Record] = []
        last = after + limit
        for part in range(after // rows.PART_EVENTS, (last - 1) // rows.PART_EVENTS + 1):
            page = await self._session.run("history", pipeline, part, after, last)
            found += [await self._record(pipeline, row) for row in page]
            if not page:
                break
        return found

    async def close(self) -> None:
        """Write what waits, once."""
        await self._rounds.close()

    async def _write(self, taken: Sequence[rows.Waiting]) -> None:
        """Write a round."""
        await write_all(list(rows.requests(taken)), self._write_chain, IN_FLIGHT_MAX)
        for one in taken:
            self._pending[one.record.pipeline] -= 1
            if not self._pending[one.record.pipeline]:
                del self._pending[one.record.pipeline]
        try:
            await self._mark(taken)
        except DataFlowError as error:
            log.warning("audit not marked", why=str(error))

    async def _write_chain(self, chain: Sequence[rows.Request]) -> None:
        for request in chain:
            await self._session.run_all(request)

    async def _mark(self, taken: Sequence[rows.Waiting]) -> None:
        """Say up to where the table is complete, now and then. AFTER its rows are durable."""
        reached = {one.shard: one for one in taken}
        for shard, one in reached.items():
            behind = one.record.offset - self._marked.get(shard, one.record.offset)
            if behind > UNMARKED_MAX:
                offset = one.record.offset
                await self._session.run("save_audited", shard, one.bucket, offset, offset)
                self._marked[shard] = offset

    async def _record(self, pipeline: PipelineId, row: RowValues) -> Record:
        record, place = rows.to_record(pipeline, row, str(self._session))
        if place is None:
            return record
        found = await self._reader.record(*place, record.offset)
        if found is None or found.hash != record.hash:
            raise Corrupted(
                f"{self._session}, shard {place[0]}: record {record.offset}, event"
                f" {record.sequence} of pipeline {pipeline}, is missing"
            )
        return found
