"""Parquet files, a row group and a batch at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.connect import Chunk, Rejected
from dataflow.connect.batches import one_batch
from dataflow.connect.types import from_arrow, to_arrow
from dataflow.connectors.file.source_ahead import ahead
from dataflow.connectors.file.source_head import Head, digest, escaped
from dataflow.connectors.file.source_options import FilePosition
from dataflow.connectors.file.source_stream import reading

BATCH_ROWS = 65_536
"""Arrow's own default; wide rows make larger batches, so memory is bounded by rows here."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a row group, the one after them, if any, and what they take in the file."""

    batch: pa.RecordBatch
    row_group: int
    next_row: int
    bytes: int
    at_end: bool


def parquet_schema(path: Path) -> pa.Schema:
    """Return the columns of a file, of the types that expressions compute in.

    Raises:
        Waiting: there is no such file.
        Rejected: it is damaged, or no parquet file.
    """
    with _opened(path) as file:
        return normal(file.schema_arrow)


def normal(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata, dictionaries and large strings."""
    return pa.schema([(field.name, _normal(field.type)) for field in schema])


def _normal(of: pa.DataType) -> pa.DataType:
    try:
        return to_arrow(from_arrow(of))
    except Rejected:  # opaque to expressions: a map; it passes as it is
        return of


@dataclass(frozen=True, slots=True)
class ParquetPass:
    """One reading of a file from a position to its end."""

    path: Path
    head: Head
    start: FilePosition
    batch_rows: int

    async def chunks(self) -> AsyncGenerator[Chunk[FilePosition], None]:
        """Yield the rows from the position on.

        Raises:
            Waiting: the file is not there.
            Rejected: it is damaged, or not the one that the position was taken in.
            Unavailable: it cannot be read at the moment.
        """
        self.head.require_same(self.path, self.start)
        rows = self._rows()
        consumed = self.start.consumed
        async with aclosing(ahead(rows, _whole, rows.close)) as items:
            async for item, batch in items:
                if not batch.num_rows:
                    continue
                consumed += item.bytes
                yield Chunk(batch, self._position(item, consumed), bytes_read=item.bytes)

    def end(self) -> FilePosition:
        """Return the position after the last row."""
        with _opened(self.path) as file:
            groups = file.metadata.num_row_groups
        empty = pa.RecordBatch.from_arrays([], schema=pa.schema([]))
        return self._position(Rows(empty, groups, 0, 0, at_end=True), self.path.stat().st_size)

    def _rows(self) -> Generator[Rows, None, None]:
        with _opened(self.path) as file:
            schema = normal(file.schema_arrow)
            for group in range(self.start.row_group, file.metadata.num_row_groups):
                about = file.metadata.row_group(group)
                row = 0
                skip = self.start.skip if group == self.start.row_group else 0
                for batch in file.iter_batches(self.batch_rows or BATCH_ROWS, row_groups=[group]):
                    begin, row = max(row, skip), row + batch.num_rows
                    if begin < row:
                        part = batch.slice(batch.num_rows - (row - begin))
                        whole = pa.Table.from_batches([part]).cast(schema)
                        size = about.total_byte_size * part.num_rows // about.num_rows
                        last = row == about.num_rows
                        at = (group + 1, 0) if last else (group, row)
                        at_end = at == (file.metadata.num_row_groups, 0)
                        yield Rows(one_batch(whole), *at, size, at_end)

    def _position(self, rows: Rows, consumed: int) -> FilePosition:
        return FilePosition(
            row_group=rows.row_group,
            skip=rows.next_row,
            head=digest(self.head.data),
            head_bytes=len(self.head.data),
            consumed=consumed,
            at_end=rows.at_end,
            name=escaped(self.path.name),
        )


def _whole(rows: Rows) -> pa.RecordBatch:
    return rows.batch


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with reading(path, 0), path.open("rb") as raw:
        try:
            with pq.ParquetFile(raw) as file:
                yield file
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise Rejected(
                f"{path}: damaged, or no parquet file: {error}", code="CORRUPTED"
            ) from error
