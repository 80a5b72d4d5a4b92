"""One pipeline's events, findable by its name: written behind the log, and never trusted over it.

Rows are plain and always the same, so whoever writes them again does no harm. What waits to be
written is read from memory; a round takes all that waits, a shard's events in one mutation.

The log is the truth: up to ``audited`` a shard's log is in the table for certain, and whoever
acquires the shard takes up what lies behind that, BEFORE it serves anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog

from dataflow.core.errors import Corrupted, DataFlowError
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.buckets import Buckets
from dataflow.journal.cassandra.by_pipeline import ByPipeline, Place, Row, part_of
from dataflow.journal.cassandra.encoding import decode, encode
from dataflow.journal.cassandra.reading import Reader
from dataflow.journal.cassandra.rounds import Rounds
from dataflow.journal.cassandra.session import Session, Values
from dataflow.journal.contract import Record

log = structlog.get_logger()

HURRY_AT, WAITING_MAX = 2048, 8192
"""Records that wait to be written: past the first a round begins, past the second appends wait."""

GATHER_S = 1.0
"""So that a round has many records of each pipeline. The next owner of a shard reads as much again,
some milliseconds of it."""

ROW_BYTES_MAX = 16 << 10
"""Of payloads in one row; an event that is larger is read from the log."""

FIXED_BYTES = 128
"""Of a row: everything but its records."""

PAGE_ROWS = 16
"""Of a history: 256 KiB at the most, mostly some ten events each."""

UNMARKED_MAX = 128
"""Records of a shard that are written and not marked as such."""


class _Waiting(NamedTuple):
    """A record, and where it is."""

    shard: ShardId
    bucket: Offset
    record: Record


class Audit:
    """Writes and reads the table."""

    def __init__(self, session: Session, buckets: Buckets, reader: Reader) -> None:
        self._session = session
        self._buckets = buckets
        self._reader = reader
        self._table = ByPipeline(session, "audit")
        self._pending: dict[PipelineId, dict[SequenceNumber, Record]] = defaultdict(dict)
        self._marked: dict[ShardId, Offset] = {}
        self._rounds: Rounds[_Waiting] = Rounds("audit", self._write, gather_s=GATHER_S)

    async def note(self, shard: ShardId, bucket: Offset, records: Sequence[Record]) -> None:
        """Have records written soon; waits while too many wait already.

        Raises:
            Unavailable: too many wait, and cannot be written now; these wait, too.
        """
        for record in records:
            self._pending[record.pipeline][record.sequence] = record
        self._rounds.add([_Waiting(shard, bucket, record) for record in records])
        if len(self._rounds) > HURRY_AT:
            self._rounds.hurry()
        if len(self._rounds) > WAITING_MAX:
            await self._rounds.settled()

    async def catch_up(self, shard: ShardId) -> None:
        """Take up what the last owner may have left out."""
        marks = await self._session.run("audited", shard)
        bucket, after = marks[0] if marks else (0, 0)
        self._buckets.know(shard, [Offset(bucket)])
        self._marked[shard] = Offset(after)
        async for place, page in self._reader.pages(shard, Offset(after)):
            await self.note(shard, place, page)

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``; whether it is without a gap is the caller's to check."""
        last = after + limit
        # BEFORE the table is read: what is written meanwhile is then in the one or the other.
        pending = self._pending.get(pipeline, {})
        found = {number: r for number, r in pending.items() if after < number <= last}
        async for place, row in self._table.forwards(pipeline, after, PAGE_ROWS):
            for record in await self._records(pipeline, place, row):
                if after < record.sequence <= last:
                    found.setdefault(record.sequence, record)
            if row[0] >= last:
                break
        return [found[number] for number in sorted(found)]

    async def close(self) -> None:
        """Write what waits, once."""
        await self._rounds.close()

    async def _write(self, taken: Sequence[_Waiting]) -> None:
        """Write a round."""
        await self._table.write(list(_rows(taken)))
        for one in taken:
            pending = self._pending[one.record.pipeline]
            pending.pop(one.record.sequence, None)
            if not pending:
                del self._pending[one.record.pipeline]
        try:
            await self._mark(taken)
        except DataFlowError as error:
            log.warning("audit not marked", why=str(error))

    async def _mark(self, taken: Sequence[_Waiting]) -> None:
        """Say up to where the table is complete, now and then. AFTER its rows are durable."""
        reached = {one.shard: one for one in taken}
        for shard, one in reached.items():
            behind = one.record.offset - self._marked.get(shard, one.record.offset)
            if behind > UNMARKED_MAX:
                offset = one.record.offset
                await self._session.run("save_audited", shard, one.bucket, offset, offset)
                self._marked[shard] = offset

    async def _records(self, pipeline: PipelineId, place: Place, row: Values) -> Sequence[Record]:
        sequence, bucket, seq, content = row
        if content is not None:
            where = f"{self._session}: the row of pipeline {pipeline} up to event {sequence}"
            return decode(content, where)
        found = await self._reader.record(place.shard, Offset(bucket), Offset(seq))
        if found is None or (found.pipeline, found.sequence) != (pipeline, sequence):
            raise Corrupted(
                f"{self._session}, shard {place.shard}: record {seq}, event {sequence} of pipeline"
                f" {pipeline}, is missing"
            )
        return [found]


def _rows(taken: Sequence[_Waiting]) -> Iterator[Row]:
    """Put the records of one pipeline into rows, in order; each large one has its own."""
    open_rows: dict[PipelineId, list[_Waiting]] = {}
    sizes: dict[PipelineId, int] = {}
    for one in taken:
        name, size = one.record.pipeline, len(one.record.payload)
        mine = open_rows.get(name)
        if mine and (
            sizes[name] + size > ROW_BYTES_MAX
            or part_of(mine[0].record.offset) != part_of(one.record.offset)
        ):
            yield _row(open_rows.pop(name))
        sizes[name] = size + (sizes[name] if name in open_rows else 0)
        open_rows.setdefault(name, []).append(one)
    for mine in open_rows.values():
        yield _row(mine)


def _row(mine: Sequence[_Waiting]) -> Row:
    last = mine[-1]
    is_large = len(last.record.payload) > ROW_BYTES_MAX
    content = None if is_large else encode([one.record for one in mine])
    return Row(
        shard=last.shard,
        offset=last.record.offset,
        pipeline=last.record.pipeline,
        first=mine[0].record.sequence,
        sequence=last.record.sequence,
        rest=(last.bucket, last.record.offset, content),
        size=FIXED_BYTES + len(content or b""),
    )
