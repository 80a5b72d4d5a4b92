"""Parquet files, a row group and a batch at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.connect import Rejected
from dataflow.connect.batches import one_batch
from dataflow.connectors.file.read_groups import BATCH_ROWS, GroupPass, Rows, normal
from dataflow.connectors.file.source_stream import reading


def parquet_schema(path: Path) -> pa.Schema:
    """Return the columns of a file, of the types that expressions compute in.

    Raises:
        Waiting: there is no such file.
        Rejected: it is damaged, or no parquet file.
    """
    with _opened(path) as file:
        return normal(file.schema_arrow)


class ParquetPass(GroupPass):
    """One reading of a file from a position to its end; a group is a row group."""

    def groups(self) -> int:
        """See ``GroupPass``."""
        with _opened(self.path) as file:
            return file.metadata.num_row_groups

    def rows(self) -> Generator[Rows, None, None]:
        """See ``GroupPass``."""
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
