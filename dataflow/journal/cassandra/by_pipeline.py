"""Events that are found by pipeline and laid down by shard.

In partitions of the pipelines' own, an event would be a mutation, and a mutation costs the server
about a third of a whole append: 64 shards with 8 events an append fell from 1,007 appends a second
to 337. So the events of a shard lie together, 10,000 offsets in a partition, in order of pipelines;
and each pipeline has a list of the places where it has events, one entry a partition.

    places  (pipeline), first            -> shard, part    from this event on look there
    rows    (shard, part), pipeline, sequence -> …

An entry may be there twice, from different events on: a new owner does not know what the last one
has written. It does no harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.rounds import write_all
from dataflow.journal.cassandra.session import Session, Values

PART_OFFSETS = 10_000
"""Of a shard in one partition, as of a bucket of the log and for the same reason."""

REQUEST_BYTES_MAX = 32 << 10
PLACES_MAX = 10
"""Of one request: servers warn of batches over more than ten partitions."""

IN_FLIGHT_MAX = 4
"""Requests of a round: enough to keep up with the log, too few to be in its way."""

PAGE_ROWS = 200
PAGE_PLACES = 16

INTEGER_MAX = (1 << 63) - 1
"""A bound that bounds nothing."""

Request: TypeAlias = Sequence[tuple[str, Values]]


class Row(NamedTuple):
    """An event, or several of one pipeline and part, on the way into the table."""

    shard: ShardId
    offset: Offset
    pipeline: PipelineId
    first: SequenceNumber
    """Of the first event in the row."""
    sequence: SequenceNumber
    """Of the last one, which names it."""
    rest: Values
    """The columns behind ``(shard, part, pipeline, sequence)``."""
    size: int
    """Bytes, about."""


class Place(NamedTuple):
    """Where a pipeline has events."""

    shard: ShardId
    part: int


class _Entry(NamedTuple):
    """From this event on a pipeline's events are there."""

    pipeline: PipelineId
    first: SequenceNumber
    shard: ShardId
    part: int


class ByPipeline:
    """One such table, of the statements that begin with its name."""

    def __init__(self, session: Session, table: str) -> None:
        self._session = session
        self._table = table
        self._placed: dict[ShardId, tuple[int, set[PipelineId]]] = {}
        """The pipelines that have an entry for the part that each shard writes to."""

    async def write(self, rows: Sequence[Row]) -> None:
        """Write rows, of each shard in order, so that whoever reads meanwhile finds no gap.

        Raises:
            Unavailable: not all could be written; the same again does no harm.
        """
        parts: dict[tuple[ShardId, int], list[Row]] = defaultdict(list)
        for row in rows:
            parts[row.shard, part_of(row.offset)].append(row)
        placed = [entry for place, of in parts.items() for entry in self._new(place, of)]
        entries = [(f"save_{self._table}_place", tuple(entry)) for entry in placed]
        starts = range(0, len(entries), PLACES_MAX)
        requests = [entries[start : start + PLACES_MAX] for start in starts]
        await write_all(requests, self._session.run_all, IN_FLIGHT_MAX)
        # A shard's parts in order, too: a chain of them.
        chains: dict[ShardId, list[Request]] = defaultdict(list)
        for (shard, part), of in sorted(parts.items(), key=lambda item: item[0]):
            chains[shard] += self._requests(part, of)
        await write_all(list(chains.values()), self._write_chain, IN_FLIGHT_MAX)
        for entry in placed:
            known = self._placed.get(entry.shard)
            if known is None or known[0] != entry.part:
                known = self._placed[entry.shard] = (entry.part, set())
            known[1].add(entry.pipeline)

    def _new(self, place: tuple[ShardId, int], rows: Iterable[Row]) -> Sequence[_Entry]:
        """Return the entries that are not known to be there."""
        part, known = self._placed.get(place[0], (-1, set()))
        first: dict[PipelineId, SequenceNumber] = {}
        for row in rows:
            if part != place[1] or row.pipeline not in known:
                first[row.pipeline] = min(row.first, first.get(row.pipeline, row.first))
        return [_Entry(pipeline, sequence, *place) for pipeline, sequence in first.items()]

    def _requests(self, part: int, rows: Iterable[Row]) -> Iterable[Request]:
        request: list[tuple[str, Values]] = []
        size = 0
        for row in rows:
            if request and size + row.size > REQUEST_BYTES_MAX:
                yield request
                request, size = [], 0
            values = (row.shard, part, row.pipeline, row.sequence, *row.rest)
            request.append((f"save_{self._table}", values))
            size += row.size
        yield request

    async def _write_chain(self, chain: Sequence[Request]) -> None:
        for request in chain:
            await self._session.run_all(request)

    # --- reading ---------------------------------------------------------------------------------

    async def forwards(
        self, pipeline: PipelineId, after: int, page: int = PAGE_ROWS
    ) -> AsyncIterator[tuple[Place, Values]]:
        """Yield a pipeline's rows behind a sequence number, in order, each with its place."""
        name = f"{self._table}_places"
        found = await self._session.run(f"{name}_back", pipeline, after + 1, 1)
        while found:
            for _, *place in found:
                async for row in self._rows("forwards", pipeline, (*place, after), page):
                    after = row[0]
                    yield Place(*place), row
            found = await self._session.run(name, pipeline, found[-1][0], PAGE_PLACES)

    async def backwards(
        self, pipeline: PipelineId, last: int, page: int = PAGE_ROWS
    ) -> AsyncIterator[tuple[Place, Values]]:
        """Yield a pipeline's rows from a sequence number on, the last one first."""
        name = f"{self._table}_places_back"
        found = await self._session.run(name, pipeline, last, PAGE_PLACES)
        while found:
            for _, *place in found:
                async for row in self._rows("backwards", pipeline, (*place, last), page):
                    last = row[0] - 1
                    yield Place(*place), row
            found = await self._session.run(name, pipeline, found[-1][0] - 1, PAGE_PLACES)

    async def shard(self, pipeline: PipelineId) -> ShardId | None:
        """Return the shard that a pipeline is in; None of one that has no events."""
        found = await self._session.run(f"{self._table}_places_back", pipeline, INTEGER_MAX, 1)
        return ShardId(found[0][1]) if found else None

    async def _rows(
        self, way: str, pipeline: PipelineId, start: tuple[ShardId, int, int], page: int
    ) -> AsyncIterator[Values]:
        """Yield the rows of one place from a sequence number on, which is passed by forwards."""
        shard, part, number = start
        name = f"{self._table}_{way}"
        while True:
            rows = await self._session.run(name, shard, part, pipeline, number, page)
            for row in rows:
                yield row
            if len(rows) < page:
                return
            number = rows[-1][0] - (way == "backwards")


def part_of(offset: Offset) -> int:
    """Return the part of its shard that an event is in."""
    return (offset - 1) // PART_OFFSETS
