"""A table as it is: key ranges, page by page in the order of their keys, all in one snapshot.

A run takes a snapshot of its own. Which transactions each showed is in the positions, so that what
the log tells of them is not told twice, however often reading was broken off.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from asyncpg import Connection, Record
from asyncpg.exceptions import InvalidParameterValueError
from pyarrow import csv

from dataflow.connect import Unavailable
from dataflow.connect.batches import one_batch
from dataflow.connectors.postgres.errors import translating
from dataflow.connectors.postgres.names import listed, literal, quoted
from dataflow.connectors.postgres.session import close, connect
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.source.catalog import SQL, SourceTable
from dataflow.connectors.postgres.source.spec import PostgresPinned

FORMATS = """
SET standard_conforming_strings = on;
SET bytea_output = hex;
SET IntervalStyle = postgres;
SET extra_float_digits = 1"""
"""Values are written as the log writes them."""

BEGIN = f"""{FORMATS};
SET idle_in_transaction_session_timeout = 0;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"""
"""Whoever holds the snapshot is idle for long."""

PAGE_ROWS = 1_000
"""Of the first page; those behind it by the size of its rows."""

PAGE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot: which transactions it shows, before where they are committed, and its name."""

    shows: str
    lsn: int
    name: str


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as columns of text, and the key of the last of them."""

    texts: Mapping[str, pa.Array[Any]]
    last: tuple[str, ...]
    size: int


class Snapshots:
    """The snapshot of a run: taken by the first who asks, shared by all others."""

    def __init__(self, url: str, session: str, where: str, *, primary: bool) -> None:
        """``primary``: no replica, which may be behind a slot and names no open transactions."""
        self._url = url
        self._session = session
        self._where = where
        self._primary = primary
        self._holding: Connection[Record] | None = None
        self._taken: Taken | None = None
        self._taking = asyncio.Lock()

    async def taken(self, table: TableName) -> Taken:
        """Return the snapshot, held until ``close``, and with it the form of the table."""
        async with self._taking:
            if self._taken is None:
                self._taken = await self._take(table)
            return self._taken

    async def _take(self, table: TableName) -> Taken:
        self._holding = await connect(self._url, self._session, writes=self._primary)
        with translating(self._where):
            await self._holding.execute(BEGIN)
            # BEFORE the snapshot: a table that is rewritten or truncated afterwards is empty in it.
            # https://www.postgresql.org/docs/15/mvcc-caveats.html
            await self._holding.execute(f"LOCK TABLE {quoted(table)} IN ACCESS SHARE MODE")
            row = await self._holding.fetchrow(SQL["snapshot"])
            lsn = await self._holding.fetchval(SQL["as_of"])
        assert row is not None  # noqa: S101 - a query without FROM has one row
        return Taken(row[0], lsn, row[1])

    @asynccontextmanager
    async def session(self, taken: Taken) -> AsyncIterator[Connection[Record]]:
        """Have a session that sees what the snapshot shows."""
        connection = await connect(self._url, self._session, writes=self._primary)
        try:
            with translating(self._where):
                await connection.execute(BEGIN)
                if self._primary:  # The log knows no policies, and tells of rows that they hide.
                    await connection.execute("SET row_security = off")
                try:
                    await connection.execute(f"SET TRANSACTION SNAPSHOT {literal(taken.name)}")
                except InvalidParameterValueError as error:
                    message = f"{self._where}: the session that held the snapshot has ended"
                    raise Unavailable(message) from error
                yield connection
        finally:
            await close(connection, is_sound=True)

    async def close(self) -> None:
        """Let the snapshot go: while it is held, dead rows stay in all tables."""
        holding, self._holding, self._taken = self._holding, None, None
        if holding is not None:
            await close(holding, is_sound=True)


class Range:
    """Rows of a table between two values of the first column that orders them.

    Args:
        table: what is read.
        columns: those that are wanted.
        keys: which order its rows, and tell them apart.
        low: the value before the first one.
        high: the last one.
    """

    def __init__(
        self,
        table: SourceTable,
        columns: Sequence[str],
        keys: Sequence[str],
        *,
        low: str | None = None,
        high: str | None = None,
    ) -> None:
        self._table = quoted(table.name)
        self._columns = columns
        self._keys = keys
        self._types = table.types
        key, of = quoted(keys[0]), table.types[keys[0]]
        self._low = f"{key} > {literal(low)}::{of}" if low is not None else "TRUE"
        self._high = f"{key} <= {literal(high)}::{of}" if high is not None else "TRUE"

    @classmethod
    def of_part(cls, table: SourceTable, pinned: PostgresPinned, part: int) -> Range:
        """Return a part of those that a lineage has pinned."""
        ends = (None, *pinned.bounds, None)
        names = [column.name for column in pinned.columns]
        return cls(table, names, pinned.keys, low=ends[part], high=ends[part + 1])

    async def pages(
        self, connection: Connection[Record], after: tuple[str, ...], rows_max: int
    ) -> AsyncGenerator[Page, None]:
        """Yield the rows behind a key, in the order of keys."""
        rows = min(rows_max, PAGE_ROWS)
        while True:
            page = await self._page(connection, after, rows)
            if page is None:
                return
            after = page.last
            yield page
            count = len(page.texts[self._keys[0]])
            if count < rows:
                return
            rows = max(1, min(rows_max, PAGE_BYTES * count // max(1, page.size)))

    async def _page(
        self, connection: Connection[Record], after: Sequence[str], rows: int
    ) -> Page | None:
        query = (
            f"SELECT {listed(self._columns)} FROM {self._table}"  # noqa: S608 - quoted
            f" WHERE {self._behind(after)} AND {self._high}"
            f" ORDER BY {listed(self._keys)} LIMIT {rows}"
        )
        lines = io.BytesIO()
        await connection.copy_from_query(query, output=lines, format="csv")
        data = lines.getbuffer()
        if not data.nbytes:
            return None
        texts = _texts(data, self._columns)
        last = tuple(texts[key][-1].as_py() for key in self._keys)
        return Page(texts, last, data.nbytes)

    def _behind(self, after: Sequence[str]) -> str:
        if not after:
            return self._low
        values = [
            f"{literal(text)}::{self._types[key]}"
            for key, text in zip(self._keys, after, strict=True)
        ]
        return f"({listed(self._keys)}) > ({', '.join(values)})"


def _texts(data: memoryview, columns: Sequence[str]) -> Mapping[str, pa.Array[Any]]:
    """Return rows that COPY has written: what stands in quotes is a text, be it empty."""
    table = csv.read_csv(
        io.BytesIO(data),
        read_options=csv.ReadOptions(
            column_names=list(columns), block_size=max(1 << 16, data.nbytes + 1), use_threads=False
        ),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.large_string() for name in columns},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return dict(zip(columns, one_batch(table).columns, strict=True))
