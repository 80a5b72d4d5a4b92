"""Every mode of the file source passes the suite."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow.connect import SourceStep
from dataflow.connect.spec import parse
from dataflow.connect.testkit import SourceSuite, context
from dataflow.connectors.file.source import FileSource
from dataflow.connectors.file.source_options import FilePinned, FilePosition, FileSourceOptions

RECORDS = 60
CHUNK_BYTES = 300
"""A few records, so that a file has many chunks and a chunk ends within a record."""


def csv_text(start: int, stop: int) -> bytes:
    """Return rows with quotes, breaks, nulls and letters of several bytes, below their names."""
    lines = [f'{i},"row ""{i}"",\nüß",{"" if i % 3 else i / 4}\n' for i in range(start, stop)]
    return ("id,name,score\n" + "".join(lines)).encode()


def json_text(start: int, stop: int) -> bytes:
    """Return an object a line."""
    rows = [{"id": i, "name": f"row\n{i} ü", "tags": [i, None]} for i in range(start, stop)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class FileSuite(SourceSuite[FilePosition, FilePinned]):
    """A directory of two files and an empty one, written by a subclass."""

    position = FilePosition
    pinned = FilePinned
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _written(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "in"
        self.folder.mkdir()
        self.write()

    def write(self) -> None:
        """Write the files."""
        raise NotImplementedError

    def source(self) -> FileSource:
        step = SourceStep("file", str(self.folder), batch_size=7)
        options = parse(FileSourceOptions, json.dumps(dict(self.options)))
        return FileSource(step, options, context(), CHUNK_BYTES)


class BadRecords(FileSuite):
    """Files with records that cannot be read."""

    async def test_there_are_records_that_cannot_be_read(self) -> None:
        """Else the suite would say nothing about them."""
        source = await self.opened()
        (split,) = await source.splits()
        chunks = await self.chunks(source, split)
        refused = [chunk.rejected for chunk in chunks if chunk.rejected is not None]
        assert sum(batch.num_rows for batch in refused) > 5
        await source.close()


class TestCsv(FileSuite):
    """Quoted breaks, nulls and inferred types."""

    options: ClassVar[Mapping[str, Any]] = {"format": "csv"}

    def write(self) -> None:
        (self.folder / "a.csv").write_bytes(csv_text(0, RECORDS))
        (self.folder / "b.csv").write_bytes(csv_text(RECORDS, RECORDS + 5).rstrip(b"\n"))
        (self.folder / "c.csv").write_bytes(b"id,name,score\n")


class TestCsvWithBadRecords(BadRecords):
    """Records that are too long, too short, and of no such type."""

    options: ClassVar[Mapping[str, Any]] = {
        "format": "csv",
        "schema": {"id": "int64", "name": "string"},
        "otherColumns": "reject",
        "onError": "dead-letter",
    }

    def write(self) -> None:
        lines = [
            f"{'x' if i % 7 == 3 else i},name {i}{',more' * (i % 11 == 5)}\n" for i in range(60)
        ]
        (self.folder / "a.csv").write_text("id,name\n" + "".join(lines))


class TestCsvGzip(FileSuite):
    """One member and two members."""

    options: ClassVar[Mapping[str, Any]] = {"format": "csv"}

    def write(self) -> None:
        (self.folder / "a.csv.gz").write_bytes(gzip.compress(csv_text(0, RECORDS)))
        cut = csv_text(0, RECORDS)
        members = gzip.compress(cut[:500]) + gzip.compress(cut[500:])
        (self.folder / "b.csv.gz").write_bytes(members)


class TestCsvLatin(FileSuite):
    """Another encoding: positions count bytes that are not in the file."""

    options: ClassVar[Mapping[str, Any]] = {"format": "csv", "encoding": "latin-1"}

    def write(self) -> None:
        text = csv_text(0, RECORDS).decode()
        (self.folder / "a.csv").write_bytes(text.encode("latin-1"))


class TestJson(FileSuite):
    """Nested values and inferred types."""

    options: ClassVar[Mapping[str, Any]] = {"format": "json"}

    def write(self) -> None:
        (self.folder / "a.json").write_bytes(json_text(0, RECORDS))
        (self.folder / "b.json").write_bytes(json_text(RECORDS, RECORDS + 5).rstrip(b"\n"))
        (self.folder / "c.json").write_bytes(b"")


class TestJsonWithBadRecords(BadRecords):
    """Lines that are no JSON, and values of no such type."""

    options: ClassVar[Mapping[str, Any]] = {
        "format": "json",
        "schema": {"id": "int64"},
        "onError": "skip",
    }

    def write(self) -> None:
        lines = ['{"id": }\n' if i % 7 == 3 else f'{{"id": {i}}}\n' for i in range(60)]
        (self.folder / "a.json").write_text("".join(lines))


class TestJsonZstd(FileSuite):
    """A compressed stream, which is read from its beginning to get to a position."""

    options: ClassVar[Mapping[str, Any]] = {"format": "json"}

    def write(self) -> None:
        codec = pa.Codec("zstd")
        packed = codec.compress(json_text(0, RECORDS), asbytes=True)
        (self.folder / "a.json.zst").write_bytes(packed)


class TestText(FileSuite):
    """Lines, with and without a last break."""

    options: ClassVar[Mapping[str, Any]] = {"format": "text"}

    def write(self) -> None:
        (self.folder / "a.txt").write_text("".join(f"line {i} ü\r\n" for i in range(RECORDS)))
        (self.folder / "b.txt").write_text("one\n\ntwo")


class TestParquet(FileSuite):
    """Several row groups, of more rows than a batch."""

    options: ClassVar[Mapping[str, Any]] = {"format": "parquet"}

    def write(self) -> None:
        table = pl.DataFrame({"id": range(RECORDS), "name": [f"n{i}" for i in range(RECORDS)]})
        pq.write_table(table.to_arrow(), self.folder / "a.parquet", row_group_size=11)
        pq.write_table(table.to_arrow().slice(0, 0), self.folder / "b.parquet")


class TestArrow(FileSuite):
    """Several record batches, of more rows than are read at once, with a footer and without."""

    options: ClassVar[Mapping[str, Any]] = {"format": "arrow"}

    def write(self) -> None:
        table = pa.table({"id": range(RECORDS), "name": [f"n{i}" for i in range(RECORDS)]})
        with pa.ipc.new_file(str(self.folder / "a.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=11)
        with pa.ipc.new_stream(str(self.folder / "b.arrows"), table.schema) as stream:
            stream.write_table(table, max_chunksize=11)
        with pa.ipc.new_file(str(self.folder / "c.feather"), table.schema):
            pass


class TestWatched(FileSuite):
    """A source that never ends: what is there is read in the same way."""

    options: ClassVar[Mapping[str, Any]] = {"format": "csv", "watch": True}
    records_max = RECORDS

    def write(self) -> None:
        (self.folder / "a.csv").write_bytes(csv_text(0, RECORDS))
