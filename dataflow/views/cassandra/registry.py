"""The list of pipelines: parts that are each in order of ids, merged a page at a time."""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from typing import Any

from dataflow.core.ids import PipelineId, Version
from dataflow.core.state import Status
from dataflow.journal.cassandra.encoding import from_us
from dataflow.journal.cassandra.rounds import write_all
from dataflow.journal.cassandra.session import Session, Values
from dataflow.views.cassandra.writer import PARTS, add
from dataflow.views.contract import Query, Summary

IN_FLIGHT_MAX = 16
"""Parts that are asked at a time."""

ROWS_FIRST, ROWS_NEXT = 8, 64
"""Of a part: a page of 50 takes about one from each."""

SCAN_ROWS = 500
COUNTS_ROWS = 1000


class _Part:
    """One part of the registry behind an id, read as far as it is needed."""

    def __init__(self, session: Session, part: int, after: str) -> None:
        self._session = session
        self._part = part
        self._after = after
        self._rows: list[Values] = []
        self._ended = False

    async def fill(self, count: int) -> None:
        """Read rows if there is none left."""
        if self._rows or self._ended:
            return
        rows = await self._session.run("lines", self._part, self._after, count)
        self._ended = len(rows) < count
        self._rows = list(reversed(rows))
        if rows:
            self._after = rows[-1][0]

    def head(self) -> str | None:
        """Return the first id that is left; None of a part that is read to its end."""
        return self._rows[-1][0] if self._rows else None

    def take(self) -> Values:
        """Return the first row and go on."""
        return self._rows.pop()


async def listed(session: Session, query: Query) -> tuple[Sequence[Summary], int]:
    """Return a page and the total, where no more than the status is asked for."""
    parts = [_Part(session, part, query.after) for part in range(PARTS)]
    await write_all(parts, lambda part: part.fill(ROWS_FIRST), IN_FLIGHT_MAX)
    heads = [(head, number) for number, part in enumerate(parts) if (head := part.head())]
    heapq.heapify(heads)
    page: list[Summary] = []
    while heads and len(page) < query.limit:
        _, number = heapq.heappop(heads)
        row = parts[number].take()
        if _has_status(row, query):
            page.append(_summary(row))
        await parts[number].fill(ROWS_NEXT)
        head = parts[number].head()
        if head is not None:
            heapq.heappush(heads, (head, number))
    return page, await _total(session, query)


async def searched(session: Session, query: Query) -> tuple[Sequence[Summary], int]:
    """Return a page and the total of a query by label or text, which takes reading every line.

    Whatever the number of pipelines, no more than a page and some hundred rows are in memory.
    """
    total = 0
    page: list[tuple[str, Summary]] = []
    text = query.text.casefold()

    async def scan(number: int) -> None:
        nonlocal total
        part = _Part(session, number, "")
        while True:
            await part.fill(SCAN_ROWS)
            if part.head() is None:
                return
            row = part.take()
            if not (_has_status(row, query) and _has_label(row, query) and text in row[-1]):
                continue
            total += 1
            if row[0] > query.after:
                page.append((row[0], _summary(row)))
                if len(page) > 2 * query.limit:
                    page[:] = heapq.nsmallest(query.limit, page)

    await write_all(range(PARTS), scan, IN_FLIGHT_MAX // 4)
    return [line for _, line in heapq.nsmallest(query.limit, page)], total


async def _total(session: Session, query: Query) -> int:
    found: list[str] = []
    after = -1
    while True:
        rows = await session.run("counts", after, COUNTS_ROWS)
        found += [counts for _, counts in rows]
        if len(rows) < COUNTS_ROWS:
            break
        after = rows[-1][0]
    counts = add(found)
    if query.status is not None:
        return counts.get(query.status.value, 0)
    return sum(count for status, count in counts.items() if status != Status.DELETED.value)


def _has_status(row: Values, query: Query) -> bool:
    status = row[2]
    if query.status is None:
        return bool(status != Status.DELETED.value)
    return bool(status == query.status.value)


def _has_label(row: Values, query: Query) -> bool:
    name, equals, value = query.label.partition("=")
    if not name:
        return True
    labels: dict[str, Any] = json.loads(row[3])
    return name in labels and (not equals or labels[name] == value)


def _summary(row: Values) -> Summary:
    pipeline, name, status, labels, source_type, sink_type, version, created, updated, _ = row
    return Summary(
        pipeline_id=PipelineId(pipeline),
        name=name,
        status=Status(status),
        labels=json.loads(labels),
        source_type=source_type,
        sink_type=sink_type,
        version=Version(version),
        created_at=from_us(created),
        updated_at=from_us(updated),
    )
