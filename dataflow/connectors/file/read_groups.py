"""Files that are written once, in groups of rows: a position is a group, and a row in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Chunk, Rejected
from dataflow.connect.types import from_arrow, to_arrow
from dataflow.connectors.file.source_ahead import ahead
from dataflow.connectors.file.source_head import Head, digest, escaped
from dataflow.connectors.file.source_options import FilePosition

BATCH_ROWS = 65_536
"""Arrow's own default; wide rows make larger batches, so memory is bounded by rows here."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a group, the one after them, if any, and what they take in the file."""

    batch: pa.RecordBatch
    group: int
    next_row: int
    bytes: int
    at_end: bool


@dataclass(frozen=True, slots=True)
class GroupPass(ABC):
    """One reading of a file from a position to its end."""

    path: Path
    head: Head
    start: FilePosition
    batch_rows: int

    @abstractmethod
    def rows(self) -> Generator[Rows, None, None]:
        """Yield the rows from the position on, in the types of ``normal``."""

    @abstractmethod
    def groups(self) -> int:
        """Return how many groups there are."""

    async def chunks(self) -> AsyncGenerator[Chunk[FilePosition], None]:
        """Yield the rows from the position on.

        Raises:
            Waiting: the file is not there.
            Rejected: it is damaged, or not the one that the position was taken in.
            Unavailable: it cannot be read at the moment.
        """
        self.head.require_same(self.path, self.start)
        rows = self.rows()
        consumed = self.start.consumed
        async with aclosing(ahead(rows, _whole, rows.close)) as items:
            async for item, batch in items:
                if not batch.num_rows:
                    continue
                consumed += item.bytes
                yield Chunk(batch, self._position(item, consumed), bytes_read=item.bytes)

    def end(self) -> FilePosition:
        """Return the position after the last row."""
        empty = pa.RecordBatch.from_arrays([], schema=pa.schema([]))
        last = Rows(empty, self.groups(), 0, 0, at_end=True)
        return self._position(last, self.path.stat().st_size)

    def _position(self, rows: Rows, consumed: int) -> FilePosition:
        return FilePosition(
            row_group=rows.group,
            skip=rows.next_row,
            head=digest(self.head.data),
            head_bytes=len(self.head.data),
            consumed=consumed,
            at_end=rows.at_end,
            name=escaped(self.path.name),
        )


def normal(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata, dictionaries and large strings."""
    return pa.schema([(field.name, _normal(field.type)) for field in schema])


def _normal(of: pa.DataType) -> pa.DataType:
    try:
        return to_arrow(from_arrow(of))
    except Rejected:  # opaque to expressions: a map; it passes as it is
        return of


def _whole(rows: Rows) -> pa.RecordBatch:
    return rows.batch
