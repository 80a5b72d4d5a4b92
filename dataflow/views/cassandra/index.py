"""The index of events: partitions of a pipeline's events, read forwards and backwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

from dataflow.core.ids import Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.encoding import from_us
from dataflow.journal.cassandra.session import Session, Values
from dataflow.views.cassandra import writer
from dataflow.views.contract import Entry

PAGE_ROWS = 500
"""Of a partition: 40 KiB."""

INTEGER_MAX = (1 << 63) - 1
"""A bound that bounds nothing."""


async def events(
    session: Session,
    pipeline: PipelineId,
    types: Collection[str],
    after: SequenceNumber,
    *,
    limit: int,
) -> Sequence[Entry]:
    """See ``Views.events``."""
    found: list[Entry] = []
    async for entry in _forwards(session, pipeline, after):
        if len(found) == limit:
            break
        if not types or entry.type in types:
            found.append(entry)
    return found


async def versions(
    session: Session, pipeline: PipelineId, before: Version, limit: int
) -> Sequence[Entry]:
    """See ``Views.versions``."""
    rows = await session.run("specs", pipeline, before or INTEGER_MAX, limit)
    return [_entry(pipeline, row) for row in rows]


async def latest(
    session: Session,
    pipeline: PipelineId,
    types: Collection[str],
    until: SequenceNumber | datetime,
) -> Entry | None:
    """See ``Views.latest``."""
    is_moment = isinstance(until, datetime)
    last = INTEGER_MAX if isinstance(until, datetime) else until
    async for entry in _backwards(session, pipeline, last):
        in_time = not is_moment or entry.time <= until  # type: ignore[operator]  # a moment
        if in_time and (not types or entry.type in types):
            return entry
    return None


async def _forwards(session: Session, pipeline: PipelineId, after: int) -> AsyncIterator[Entry]:
    part = after // writer.EVENTS_PART
    while True:
        rows = await session.run("events", pipeline, part, after, PAGE_ROWS)
        for row in rows:
            yield _entry(pipeline, row)
        if rows:
            after = rows[-1][0]
        if after < (part + 1) * writer.EVENTS_PART and len(rows) < PAGE_ROWS:
            return
        part = after // writer.EVENTS_PART


async def _backwards(session: Session, pipeline: PipelineId, last: int) -> AsyncIterator[Entry]:
    parts = await session.run("last_part", pipeline)
    newest = (parts[0][0] or 0) if parts else 0
    part = min(newest, (last - 1) // writer.EVENTS_PART)
    while part >= 0:
        rows = await session.run("events_back", pipeline, part, last, PAGE_ROWS)
        for row in rows:
            yield _entry(pipeline, row)
        if len(rows) < PAGE_ROWS:
            part -= 1
        else:
            last = rows[-1][0] - 1


def _entry(pipeline: PipelineId, row: Values) -> Entry:
    sequence, type_, time_us, version, shard, seq = row
    return Entry(
        pipeline_id=pipeline,
        sequence=SequenceNumber(sequence),
        type=type_,
        time=from_us(time_us),
        version=Version(version),
        shard=ShardId(shard),
        offset=Offset(seq),
    )
