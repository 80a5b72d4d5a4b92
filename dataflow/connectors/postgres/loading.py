"""A batch into the table: COPY, and a merge for upserts. Rows that it cannot hold are left out.

A batch is one savepoint. On a bad value or a violated constraint it is rolled back and tried again
in two halves, until those that fail are small enough to be written row by row, in the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

import pyarrow as pa
from asyncpg import Connection, PostgresError, Record

from dataflow.connectors.postgres.doubting import DOUBT, TRY, prepare
from dataflow.connectors.postgres.errors import is_data_error, reason, said
from dataflow.connectors.postgres.merging import ROW, STAGE, Merge
from dataflow.connectors.postgres.names import quoted
from dataflow.connectors.postgres.rows import csv_of
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.tables import Table

MESSAGE_BYTES = 1 << 19
"""Of COPY: what the driver itself sends at once."""

FIRST_ROWS = 2_048
"""Formatted first: the server has something to do in a millisecond, and not only in twenty."""

PIECE_ROWS = 16_384
"""Formatted at once: 1 M rows take 0.6 s like that, 1.0 s in pieces of 2,000 and 0.4 s in those of
50,000, while the server takes 3.5 s for them (two cores)."""

DOUBTED_ROWS = 512
"""Written row by row, each a savepoint: 20 us a row, where to try a half takes 2 ms and more."""

BEGIN = "SAVEPOINT dataflow_batch"
KEEP = "RELEASE SAVEPOINT dataflow_batch"
UNDO = "ROLLBACK TO SAVEPOINT dataflow_batch; RELEASE SAVEPOINT dataflow_batch"

Refused = dict[int, str]
"""Row of a batch, from 0 -> why it was left out."""


class Loading:
    """Writes batches of the same columns to one table."""

    def __init__(
        self,
        connection: Connection[Record],
        table: Table,
        names: Sequence[str],
        merge: Merge | None,
    ) -> None:
        self._connection = connection
        self._table = table
        self._names = names
        self._merge = merge
        self._targets = merge.targets if merge else table.targets(names)
        self._into = TableName("", STAGE) if merge else table.name
        self._doubts = False

    async def prepare(self) -> None:
        """Make the stage of an upsert; inside the transaction that writes."""
        if self._merge is not None:
            await self._connection.execute(self._merge.prepare)

    async def put(self, batch: pa.RecordBatch, index: Sequence[int], refused: Refused) -> None:
        """Write what the table can hold of a batch, and note the rest.

        Args:
            batch: the rows, with the columns of a stage where there is one.
            index: what each row is called in ``refused``.
            refused: is added to.
        """
        if not batch.num_rows:
            return
        if await self._tried(lambda: self._load(batch)) is None:
            return
        if batch.num_rows <= DOUBTED_ROWS:
            await self._doubt(batch, index, refused)
            return
        half = batch.num_rows // 2
        await self.put(batch.slice(0, half), index[:half], refused)
        await self.put(batch.slice(half), index[half:], refused)

    async def empty(self, row: int, refused: Refused) -> None:
        """Delete every row, because one of the batch says so, or note why that cannot be."""
        delete = f"DELETE FROM {quoted(self._table.name)}"  # noqa: S608 - quoted
        error = await self._tried(lambda: self._execute(delete))
        if error is not None:
            refused[row] = said(error)

    async def _execute(self, statement: str) -> None:
        await self._connection.execute(statement)

    async def _tried(self, act: Callable[[], Awaitable[None]]) -> PostgresError | None:
        """Act in a savepoint; returns the error, undone, if a row is to blame for it."""
        await self._connection.execute(BEGIN)
        try:
            await act()
        except PostgresError as error:
            if not is_data_error(error):
                raise
            await self._connection.execute(UNDO)
            return error
        await self._connection.execute(KEEP)
        return None

    async def _load(self, batch: pa.RecordBatch) -> None:
        await self._copy(batch, self._into)
        if self._merge is not None:
            await self._connection.execute(self._merge.merge)

    async def _doubt(self, batch: pa.RecordBatch, index: Sequence[int], refused: Refused) -> None:
        """Let the server find the bad rows; what it cannot even take as text is found in halves."""
        if not self._doubts:
            keys, deletes = (self._merge.keys, self._merge.deletes) if self._merge else ((), False)
            text = prepare(self._table, self._names, keys, deletes=deletes)
            await self._connection.execute(text)
            self._doubts = True
        rows = batch if self._merge else batch.append_column(ROW, pa.array(index, pa.int64()))
        error = await self._tried(lambda: self._copy(rows, TableName("", DOUBT)))
        if error is None:
            for row, why, detail, column in await self._connection.fetch(TRY):
                refused[row] = reason(why, detail, column)
        elif batch.num_rows == 1:
            refused[index[0]] = said(error)
        else:
            half = batch.num_rows // 2
            await self._doubt(batch.slice(0, half), index[:half], refused)
            await self._doubt(batch.slice(half), index[half:], refused)

    async def _copy(self, batch: pa.RecordBatch, into: TableName) -> None:
        async with aclosing(_lines(batch, {**self._targets, ROW: "bigint"})) as lines:
            await self._connection.copy_to_table(
                into.name,
                schema_name=into.schema or None,
                source=lines,
                columns=batch.schema.names,
                format="csv",
            )


async def _lines(batch: pa.RecordBatch, targets: Mapping[str, str]) -> AsyncGenerator[bytes]:
    """Yield the rows as messages of COPY; the next piece is formatted while one is sent."""
    starts = range(FIRST_ROWS, batch.num_rows, PIECE_ROWS)
    pieces = [batch.slice(0, FIRST_ROWS), *(batch.slice(start, PIECE_ROWS) for start in starts)]
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(None, csv_of, pieces[0], targets)
    try:
        for following in [*pieces[1:], None]:
            lines = await coming
            if following is not None:
                coming = loop.run_in_executor(None, csv_of, following, targets)
            for start in range(0, len(lines), MESSAGE_BYTES):
                yield bytes(lines[start : start + MESSAGE_BYTES])
    finally:
        await asyncio.wait([coming])
