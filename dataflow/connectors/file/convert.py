"""Between an Arrow stream, which can be cut, and a parquet or Arrow file, which cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BufferedWriter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.connect import Corrupted, sync_path
from dataflow.connectors.file.write_file import failures_of
from dataflow.connectors.formats.shape import Compression, Format

GROUP_ROWS, GROUP_BYTES = 131_072, 64 << 20
"""A row group, or a record batch: large enough to compress well, small enough to be held in memory
twice."""


def convert(stream: Path, target: Path, kind: Format, compression: Compression) -> int:
    """Write the stream's rows as a file of another format, durably; return its bytes."""
    with failures_of(target):
        try:
            with (
                pa.OSFile(str(stream), "rb") as source,
                pa.ipc.open_stream(source) as reader,
                target.open("wb") as out,
                _writer(out, reader.schema, kind, compression) as writer,
            ):
                for table in _groups(reader):
                    writer.write_table(table.combine_chunks() if kind == "arrow" else table)
        except pa.ArrowInvalid as error:
            raise Corrupted(f"{stream}: {error}") from error
        sync_path(target)
        return target.stat().st_size


def _writer(
    out: BufferedWriter, schema: pa.Schema, kind: Format, compression: Compression
) -> AbstractContextManager[pq.ParquetWriter | pa.RecordBatchFileWriter]:
    if kind == "parquet":
        return pq.ParquetWriter(out, schema, compression=compression)
    options = pa.ipc.IpcWriteOptions(compression="zstd" if compression == "zstd" else None)
    return pa.ipc.new_file(out, schema, options=options)


def schema_of(stream: Path) -> pa.Schema:
    """Return the schema that a stream begins with."""
    with failures_of(stream), pa.OSFile(str(stream), "rb") as source:
        return pa.ipc.open_stream(source).schema


def batches_of(path: Path, kind: Format, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file that this sink finished, after a batch without any.

    Raises:
        Corrupted: it does not hold as many rows as were decided.
    """
    with failures_of(path):
        try:
            yield from _of_parquet(path, rows) if kind == "parquet" else _of_arrow(path, rows)
        except pa.ArrowInvalid as error:
            raise Corrupted(f"{path}: {error}") from error


def _of_parquet(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        _require(path, file.metadata.num_rows, rows)
        yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow.remove_metadata())
        yield from file.iter_batches(batch_size=GROUP_ROWS // 2)


def _of_arrow(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as reader:
        _require(path, reader.count_rows(), rows)  # type: ignore[attr-defined] # not in the stubs
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            batch.validate(full=True)  # a damaged offset would end the process
            yield batch


def _require(path: Path, found: int, decided: int) -> None:
    if found != decided:
        raise Corrupted(
            f"{path} has {found} rows, but {decided} are decided: put the file back, or replay the"
            " pipeline"
        )


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
