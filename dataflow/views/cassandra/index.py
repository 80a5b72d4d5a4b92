"""The index of events: a pipeline's events, read forwards and backwards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from dataflow.core.ids import Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.by_pipeline import INTEGER_MAX, ByPipeline
from dataflow.journal.cassandra.encoding import from_us
from dataflow.journal.cassandra.session import Session, Values
from dataflow.views.contract import Entry


class Index:
    """Finds events; ``Writer`` writes them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._table = ByPipeline(session, "events")

    async def events(
        self, pipeline: PipelineId, types: Collection[str], after: SequenceNumber, limit: int
    ) -> Sequence[Entry]:
        """See ``Views.events``."""
        found: list[Entry] = []
        async for place, row in self._table.forwards(pipeline, after):
            if len(found) == limit:
                break
            entry = _entry(pipeline, place.shard, row)
            if not types or entry.type in types:
                found.append(entry)
        return found

    async def versions(self, pipeline: PipelineId, before: Version, limit: int) -> Sequence[Entry]:
        """See ``Views.versions``."""
        shard = await self._table.shard(pipeline)
        if shard is None:
            return []
        rows = await self._session.run("specs", shard, pipeline, before or INTEGER_MAX, limit)
        return [_entry(pipeline, shard, row) for row in rows]

    async def latest(
        self, pipeline: PipelineId, types: Collection[str], until: SequenceNumber | datetime
    ) -> Entry | None:
        """See ``Views.latest``."""
        is_moment = isinstance(until, datetime)
        last = INTEGER_MAX if isinstance(until, datetime) else until
        async for place, row in self._table.backwards(pipeline, last):
            entry = _entry(pipeline, place.shard, row)
            in_time = not is_moment or entry.time <= until  # type: ignore[operator]  # a moment
            if in_time and (not types or entry.type in types):
                return entry
        return None


def _entry(pipeline: PipelineId, shard: ShardId, row: Values) -> Entry:
    sequence, seq, type_, time_us, version = row
    return Entry(
        pipeline_id=pipeline,
        sequence=SequenceNumber(sequence),
        type=type_,
        time=from_us(time_us),
        version=Version(version),
        shard=shard,
        offset=Offset(seq),
    )
