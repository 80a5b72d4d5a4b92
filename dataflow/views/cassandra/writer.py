"""Writing: what one round puts down, and what it must know for it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.encoding import to_us
from dataflow.journal.cassandra.rounds import write_all
from dataflow.journal.cassandra.session import Session, Values
from dataflow.views import rows
from dataflow.views.contract import Entry, Projected

PARTS = 64
"""Of the registry, for ever: a page asks each of them, and ten million pipelines make 60 MB of
one."""

EVENTS_PART = 10_000
"""Events of a pipeline in one partition."""

REQUEST_ROWS_MAX, REQUEST_PIPELINES_MAX = 64, 10
"""Of one request: 20 KiB of the longest lines, and no more partitions than servers like to see."""

IN_FLIGHT_MAX = 4
PAGE_ROWS = 1000

Request: TypeAlias = Sequence[tuple[str, Values]]


class Known(NamedTuple):
    """What a pipeline's line says."""

    sequence: SequenceNumber
    status: str


class Writer:
    """Writes rounds. It keeps the status of every pipeline of the shards that it has written."""

    def __init__(self, session: Session) -> None:
        self._session = session
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
        await write_all(
            [*_lines(latest.values()), *_events(taken)], self._session.run_all, IN_FLIGHT_MAX
        )
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


def _events(taken: Sequence[Projected]) -> Iterable[Request]:
    """Return the rows of the index, those of some pipelines together."""
    pipelines: dict[PipelineId, list[tuple[str, Values]]] = defaultdict(list)
    for one in taken:
        entry = rows.entry(one)
        pipelines[entry.pipeline_id] += _entry(entry)
    request: list[tuple[str, Values]] = []
    count = 0
    for mine in pipelines.values():
        if request and (
            len(request) + len(mine) > REQUEST_ROWS_MAX or count == REQUEST_PIPELINES_MAX
        ):
            yield request
            request, count = [], 0
        request += mine
        count += 1
    if request:
        yield request


def _entry(entry: Entry) -> Iterable[tuple[str, Values]]:
    place = (entry.type, to_us(entry.time))
    part = (entry.sequence - 1) // EVENTS_PART
    at = (entry.shard, entry.offset)
    yield (
        "save_event",
        (entry.pipeline_id, part, entry.sequence, *place, entry.version, *at),
    )
    if part:
        yield "save_last_part", (entry.pipeline_id, part, entry.sequence)
    if entry.version:
        yield "save_spec", (entry.pipeline_id, entry.version, entry.sequence, *place, *at)


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
