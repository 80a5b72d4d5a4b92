"""Rows by a cursor: those whose value is larger than that of all that were read before.

Rows of one value are told apart by their key, so a batch may end between them. What is committed
late, with a value below that of others, is waited for: a value is read up to once it, or a larger
one, was there a while ago.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from asyncpg import Connection, Record

from dataflow.connect import Chunk, Context, Rejected, SourceStep
from dataflow.connectors.formats.parse import rejected
from dataflow.connectors.postgres.names import quoted
from dataflow.connectors.postgres.session import connected
from dataflow.connectors.postgres.source.catalog import SQL, SourceTable
from dataflow.connectors.postgres.source.changed import Changed
from dataflow.connectors.postgres.source.snapshot import FORMATS, Range
from dataflow.connectors.postgres.source.spec import (
    PostgresPinned,
    PostgresPosition,
    PostgresSourceOptions,
)

POLL_S = 1.0
"""Unless ``pollIntervalMs`` says otherwise."""


def cursor_keys(table: SourceTable, cursor: str) -> tuple[str, ...]:
    """Return what orders rows and tells them apart: the cursor, then the rest of the key.

    Raises:
        Rejected: there is no such column.
    """
    if cursor not in {column.name for column in table.columns}:
        held = ", ".join(column.name for column in table.columns)
        raise Rejected(
            f"table {str(table.name)!r} has no column {cursor!r}, only {held}",
            field="options.cursorColumn",
        )
    return cursor, *(key for key in table.keys if key != cursor)


class Incremental:
    """Reads one table by its cursor."""

    def __init__(
        self, step: SourceStep, options: PostgresSourceOptions, context: Context, url: str
    ) -> None:
        self._url = url
        self._session = f"dataflow source {context.pipeline}"[:63]
        self._options = options
        self._clock = context.clock
        self._lag_s = options.cursor_lag.total_seconds()
        self._poll_s = step.poll_interval_ms / 1000 or POLL_S
        self._largest: deque[tuple[float, str | None]] = deque()
        """What the largest value was, and when."""

    async def require_values(self, connection: Connection[Record], table: SourceTable) -> None:
        """Refuse rows that no cursor would come to.

        Raises:
            Rejected: there are some, and options do not say to leave them out.
        """
        name = self._options.cursor_column
        query = SQL["has_nulls"].format(table=quoted(table.name), cursor=quoted(name))
        if self._options.cursor_nulls == "fail" and await connection.fetchval(query):
            raise Rejected(
                f"table {str(table.name)!r} has rows without a value in {name!r}, which would never"
                " be read; fill them in, or set cursorNulls to skip",
                field="options.cursorColumn",
            )

    async def read(
        self,
        opened: tuple[SourceTable, PostgresPinned],
        changed: Changed,
        start: PostgresPosition | None,
        rows_max: int,
    ) -> AsyncGenerator[Chunk[PostgresPosition], None]:
        """Yield rows in the order of their cursor; for ever, unless options say to stop."""
        table, pinned = opened
        after = start.after if start is not None else ()
        names = [column.name for column in pinned.columns]
        async with connected(self._url, self._session, writes=False) as connection:
            await connection.execute(FORMATS)
            while True:
                upto = await self._upto(connection, table)
                if upto is not None:
                    reading = Range(table, names, pinned.keys, high=upto)
                    async with aclosing(reading.pages(connection, after, rows_max)) as pages:
                        async for page in pages:
                            parsed = await asyncio.to_thread(changed.read, page.texts)
                            after = page.last
                            bad = rejected(parsed.bad) if parsed.bad else None
                            position = PostgresPosition(after=after)
                            yield Chunk(parsed.batch, position, bad, page.size)
                if self._options.stop_at_end:
                    return
                await asyncio.sleep(self._poll_s)

    async def _upto(self, connection: Connection[Record], table: SourceTable) -> str | None:
        """Return the largest value that was there as long ago as rows may be late."""
        query = SQL["largest"].format(
            table=quoted(table.name), cursor=quoted(self._options.cursor_column)
        )
        largest: str | None = await connection.fetchval(query)
        if self._options.stop_at_end or not self._lag_s:
            await asyncio.sleep(self._lag_s)
            return largest
        now_s = self._clock.steady()
        self._largest.append((now_s, largest))
        while len(self._largest) > 1 and self._largest[1][0] <= now_s - self._lag_s:
            self._largest.popleft()
        when_s, value = self._largest[0]
        return value if when_s <= now_s - self._lag_s else None

    async def last(
        self, connection: Connection[Record], table: SourceTable, keys: Sequence[str]
    ) -> PostgresPosition:
        """Return the position behind all rows that there are."""
        query = SQL["last"].format(
            table=quoted(table.name),
            cursor=quoted(keys[0]),
            texts=", ".join(f"{quoted(key)}::text" for key in keys),
            descending=", ".join(f"{quoted(key)} DESC" for key in keys),
        )
        row = await connection.fetchrow(query)
        return PostgresPosition(after=tuple(row) if row is not None else ())
