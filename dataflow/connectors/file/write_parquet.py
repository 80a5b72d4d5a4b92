"""Between an Arrow stream, which can be cut, and a parquet file, which cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.connect import Corrupted, sync_path
from dataflow.connectors.file.write_file import failures_of
from dataflow.connectors.formats.shape import Compression

GROUP_ROWS, GROUP_BYTES = 131_072, 64 << 20
"""A row group: large enough to compress well, small enough to be held in memory twice."""


def to_parquet(stream: Path, target: Path, compression: Compression) -> int:
    """Write the stream's rows as a parquet file, durably; return its bytes."""
    with failures_of(target):
        try:
            with (
                pa.OSFile(str(stream), "rb") as source,
                pa.ipc.open_stream(source) as reader,
                target.open("wb") as out,
                pq.ParquetWriter(out, reader.schema, compression=compression) as writer,
            ):
                for table in _groups(reader):
                    writer.write_table(table)
        except pa.ArrowInvalid as error:
            raise Corrupted(f"{stream}: {error}") from error
        sync_path(target)
        return target.stat().st_size


def schema_of(stream: Path) -> pa.Schema:
    """Return the schema that a stream begins with."""
    with failures_of(stream), pa.OSFile(str(stream), "rb") as source:
        return pa.ipc.open_stream(source).schema


def batches_of(parquet: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a parquet file that this sink finished.

    Raises:
        Corrupted: it does not hold as many rows as were decided.
    """
    with failures_of(parquet):
        try:
            with pq.ParquetFile(parquet) as file:
                if file.metadata.num_rows != rows:
                    raise Corrupted(
                        f"{parquet} has {file.metadata.num_rows} rows, but {rows} are decided:"
                        " put the file back, or replay the pipeline"
                    )
                yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow.remove_metadata())
                yield from file.iter_batches(batch_size=GROUP_ROWS // 2)
        except pa.ArrowInvalid as error:
            raise Corrupted(f"{parquet}: {error}") from error


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        held.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.Table.from_batches(held, reader.schema)
            held, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(held, reader.schema)
