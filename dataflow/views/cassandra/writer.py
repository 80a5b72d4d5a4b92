"""Writing: what one round puts down, and what it must know for it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.by_pipeline import ByPipeline, Request, Row
from dataflow.journal.cassandra.encoding import to_us
from dataflow.journal.cassandra.rounds import write_all
from dataflow.journal.cassandra.session import Session, Values
from dataflow.views import rows
from dataflow.views.contract import Projected

PARTS = 64
"""Of the registry, for ever: a page asks each of them, and ten million pipelines make 60 MB of
one."""

EVENT_BYTES = 128
"""Of a row of the index."""

REQUEST_ROWS_MAX = 64
"""Of one request: 20 KiB of the longest lines."""

IN_FLIGHT_MAX = 4
PAGE_ROWS = 1000


class Known(NamedTuple):
    """What a pipeline's line says."""

    sequence: SequenceNumber
    status: str


class Writer:
    """Writes rounds. It keeps the status of every pipeline of the shards that it has written."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._events = ByPipeline(session, "events")
        self._known: dict[ShardId, dict[PipelineId, Known]] = {}

    def forget(self, shard: ShardId) -> None:
        """Read a shard's lines again before they are counted: another owner may have written."""
        self._known.pop(shard, None)

    async def write(self, taken: Sequence[Projected]) -> None:
        """Write a round; the same events again change nothing.

        Raises:
            Unavailable: not all of it could be written.
        """
        ends: dict[ShardId, Offset] = {}
        latest: dict[PipelineId, Projected] = {}
        for one in taken:
            ends[one.shard] = max(one.offset, ends.get(one.shard, one.offset))
            known = latest.get(one.event.pipeline_id)
            if known is None or known.event.sequence < one.event.sequence:
                latest[one.event.pipeline_id] = one
        await write_all([shard for shard in ends if shard not in self._known], self._load, 4)
        await self._events.write([_event(one) for one in taken])
        lines = [*_lines(latest.values()), *_specs(taken)]
        await write_all(lines, self._session.run_all, IN_FLIGHT_MAX)
        # AFTER the rows: what is said to be there must be.
        self._count(latest.values())
        requests = [[self._applied(shard, offset)] for shard, offset in ends.items()]
        await write_all(requests, self._session.run_all, IN_FLIGHT_MAX)

    async def _load(self, shard: ShardId) -> None:
        """Read the statuses of a shard's pipelines."""
        found: dict[PipelineId, Known] = {}
        after = ""
        while True:
            page = await self._session.run("statuses", part_of(shard), after, PAGE_ROWS)
            for pipeline, of, sequence, status in page:
                if of == shard:
                    found[pipeline] = Known(sequence, status)
            if len(page) < PAGE_ROWS:
                break
            after = page[-1][0]
        self._known[shard] = found

    def _count(self, latest: Iterable[Projected]) -> None:
        for one in latest:
            known = self._known[one.shard]
            before = known.get(one.event.pipeline_id)
            if before is None or before.sequence < one.event.sequence:
                status = one.state.status.value
                known[one.event.pipeline_id] = Known(one.event.sequence, status)

    def _applied(self, shard: ShardId, offset: Offset) -> tuple[str, Values]:
        counts = Counter(known.status for known in self._known[shard].values())
        return "save_applied", (shard, offset, json.dumps(counts), offset)


def part_of(shard: ShardId) -> int:
    """Return the part of the registry that holds a shard's pipelines."""
    return shard % PARTS


def _lines(latest: Iterable[Projected]) -> Iterable[Request]:
    """Return the lines of the registry, those of one part together."""
    parts: dict[int, list[tuple[str, Values]]] = defaultdict(list)
    for one in latest:
        parts[part_of(one.shard)].append(("save_line", _line(one)))
    for lines in parts.values():
        for start in range(0, len(lines), REQUEST_ROWS_MAX):
            yield lines[start : start + REQUEST_ROWS_MAX]


def _specs(taken: Sequence[Projected]) -> Iterable[Request]:
    """Return the rows of the events that made a version, those of one shard together."""
    shards: dict[ShardId, list[tuple[str, Values]]] = defaultdict(list)
    for one in taken:
        entry = rows.entry(one)
        if entry.version:
            key = (entry.shard, entry.pipeline_id, entry.version)
            place = (entry.sequence, entry.offset, entry.type, to_us(entry.time))
            shards[entry.shard].append(("save_spec", (*key, *place)))
    for specs in shards.values():
        for start in range(0, len(specs), REQUEST_ROWS_MAX):
            yield specs[start : start + REQUEST_ROWS_MAX]


def _event(one: Projected) -> Row:
    entry = rows.entry(one)
    return Row(
        shard=entry.shard,
        offset=entry.offset,
        pipeline=entry.pipeline_id,
        first=entry.sequence,
        sequence=entry.sequence,
        rest=(entry.offset, entry.type, to_us(entry.time), entry.version),
        size=EVENT_BYTES,
    )


def _line(one: Projected) -> Values:
    line = rows.summary(one)
    return (
        part_of(one.shard),
        line.pipeline_id,
        one.shard,
        one.event.sequence,
        line.name,
        line.status.value,
        _json(tuple(line.labels.items())),
        line.source_type,
        line.sink_type,
        line.version,
        to_us(line.created_at),
        to_us(line.updated_at),
        rows.searched(one.state),
        one.offset,
    )


@lru_cache(maxsize=1024)
def _json(labels: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(labels))


def add(counts: Iterable[str]) -> Mapping[str, int]:
    """Return the sum of what ``applied`` holds of some shards."""
    total: Counter[str] = Counter()
    for text in counts:
        total.update(json.loads(text))
    return total
