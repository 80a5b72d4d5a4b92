"""A batch into the table: COPY, and a merge for upserts. Rows that it cannot hold are left out.

A batch is one savepoint. On a bad value or a violated constraint it is rolled back and tried again
in two halves, until the rows to blame stand alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pyarrow as pa
from asyncpg import Connection, PostgresError, Record

from dataflow.connectors.postgres.errors import is_data_error, said
from dataflow.connectors.postgres.merging import STAGE, Merge
from dataflow.connectors.postgres.rows import csv_of
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.tables import Table

CHUNK_BYTES = 1 << 19
"""A message of COPY: what the driver itself sends at once."""

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
        self._merge = merge
        self._targets = merge.targets if merge else table.targets(names)
        self._into = TableName("", STAGE) if merge else table.name

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
        lines = await asyncio.to_thread(csv_of, batch, self._targets)
        await self._connection.execute(BEGIN)
        try:
            await self._load(lines)
        except PostgresError as error:
            if not is_data_error(error):
                raise
            await self._connection.execute(UNDO)
            if batch.num_rows == 1:
                refused[index[0]] = said(error)
                return
        else:
            await self._connection.execute(KEEP)
            return
        half = batch.num_rows // 2
        await self.put(batch.slice(0, half), index[:half], refused)
        await self.put(batch.slice(half), index[half:], refused)

    async def _load(self, lines: memoryview) -> None:
        await self._connection.copy_to_table(
            self._into.name,
            schema_name=self._into.schema or None,
            source=_chunks(lines),
            columns=list(self._targets),
            format="csv",
        )
        if self._merge is not None:
            await self._connection.execute(self._merge.merge)


async def _chunks(lines: memoryview) -> AsyncGenerator[bytes]:
    for start in range(0, len(lines), CHUNK_BYTES):
        yield bytes(lines[start : start + CHUNK_BYTES])
