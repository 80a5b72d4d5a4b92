"""Every layout and format of the file sink passes the suite."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from dataflow.connect import SinkStep, StagingSink
from dataflow.connect.spec import parse
from dataflow.connect.testkit import InPlaceSinkSuite, SinkPlace, StagingSinkSuite, context, rows
from dataflow.connectors.file.sink import FileSink, open_sink
from dataflow.connectors.file.sink_spec import FileSinkOptions, Written
from tests.unit.connectors.file_sink.rig import hidden, kill, rows_in


class FilePlace(SinkPlace[StagingSink[Written]]):
    """A file, or a directory of parts, in a folder of its own."""

    def __init__(self, target: Path, options: Mapping[str, Any]) -> None:
        target.parent.mkdir()
        self._target = target
        self._options = options

    def sink(self, probe: Callable[[str], None]) -> FileSink:
        step = SinkStep("file", str(self._target), batch_size=1)
        options = parse(FileSinkOptions, json.dumps(dict(self._options)))
        return open_sink(step, options, context(probe))

    def rows(self, start: int, stop: int) -> pa.RecordBatch:
        if ".txt" in self._target.name or self._options.get("format") == "text":
            return pa.record_batch({"line": pa.array([str(i) for i in range(start, stop)])})
        return rows(start, stop)

    def visible(self) -> Sequence[int]:
        if self._target.is_dir():
            parts = sorted(p for p in self._target.iterdir() if not p.name.startswith("."))
            return [row for part in parts for row in rows_in(part)]
        return rows_in(self._target) if self._target.exists() else []

    def litter(self) -> Sequence[str]:
        return hidden(self._target)

    async def kill(self, sink: StagingSink[Written]) -> None:
        assert isinstance(sink, FileSink)
        kill(sink)


class FileModes:
    """Which target and options; a new folder for each place."""

    committable = Written
    second_deaths = 41  # the sink's own tests die at every point
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path
        self.number = count()

    def place(self) -> FilePlace:
        """Return a new place."""
        return FilePlace(self.root / str(next(self.number)) / self.name, self.options)


class TestCsvFile(FileModes, InPlaceSinkSuite[Written]):
    """One csv file, in place."""

    name = "out.csv"


class TestJsonZstdFile(FileModes, InPlaceSinkSuite[Written]):
    """One json file of a zstd frame a checkpoint."""

    name = "out.json.zst"


class TestTextGzipFile(FileModes, InPlaceSinkSuite[Written]):
    """One text file of a gzip member a checkpoint."""

    name = "out.txt.gz"


class TestParquetFile(FileModes, StagingSinkSuite[Written]):
    """One parquet file, visible when the run ends."""

    name = "out.parquet"


class TestArrowFile(FileModes, StagingSinkSuite[Written]):
    """One Arrow file, visible when the run ends."""

    second_deaths = 401  # in the layout of parquet, which dies more often
    name = "out.arrow"


class TestCsvParts(FileModes, StagingSinkSuite[Written]):
    """Parts of four rows, some of which go on over a checkpoint."""

    name = "out"
    options: ClassVar[Mapping[str, Any]] = {"format": "csv", "rotateRows": 4}


class TestJsonGzipParts(FileModes, StagingSinkSuite[Written]):
    """Compressed parts."""

    name = "out"
    options: ClassVar[Mapping[str, Any]] = {
        "format": "json",
        "compression": "gzip",
        "rotateRows": 4,
    }


class TestParquetParts(FileModes, StagingSinkSuite[Written]):
    """Parts that are converted when they are full."""

    name = "out"
    options: ClassVar[Mapping[str, Any]] = {"format": "parquet", "rotateRows": 4}


class TestArrowParts(FileModes, StagingSinkSuite[Written]):
    """Parts that are given their footer when they are full."""

    second_deaths = 401
    name = "out"
    options: ClassVar[Mapping[str, Any]] = {"format": "arrow", "rotateRows": 4}
