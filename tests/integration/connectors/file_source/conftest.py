"""Files on disk, and a source read as the engine reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Chunk, Context, Rejected, SourceStep, Split, SplitId
from dataflow.connect.spec import parse
from dataflow.connectors.file.source import FileSource
from dataflow.connectors.file.source_options import FilePinned, FilePosition, FileSourceOptions
from dataflow.connectors.file.source_spec import SPEC
from dataflow.core.ids import PipelineId


class StillClock:
    """A clock that stands."""

    def now(self) -> datetime:
        return datetime(2024, 1, 2, tzinfo=UTC)

    def steady(self) -> float:
        return 0.0


@dataclass
class Read:
    """What came out of a source, and where it could have been resumed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    positions: list[tuple[Split, FilePosition, int, int]] = field(default_factory=list)
    """Split, position, and how many rows and rejected records came before it."""
    schemas: set[pa.Schema] = field(default_factory=set)
    bytes_read: int = 0

    def take(self, split: Split, chunk: Chunk[FilePosition], first: int) -> int:
        """Add a chunk whose first record is number ``first``; return the number after it."""
        bad = chunk.rejected.to_pylist() if chunk.rejected else []
        self.rejected += [(first + one["index"], one["record"], one["error"]) for one in bad]
        self.rows += chunk.batch.to_pylist()
        self.sizes.append(chunk.batch.num_rows + len(bad))
        self.bytes_read += chunk.bytes_read
        self.schemas.add(chunk.batch.schema)
        position = FilePosition.model_validate_json(chunk.resume_at.model_dump_json())
        self.positions.append((split, position, len(self.rows), len(self.rejected)))
        return first + self.sizes[-1]


@dataclass
class Folder:
    """A folder of input, and sources over it."""

    path: Path
    roots: Path | None = None

    def write(self, name: str, data: str | bytes) -> Path:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def allowed(self, text: str) -> Path:
        """Resolve a path as a node does."""
        path = Path(text).resolve()
        if self.roots and not path.is_relative_to(self.roots):
            raise Rejected(f"{path} is outside of the allowed roots", code="PERMISSION")
        return path

    def source(
        self,
        name: str = "",
        options: Mapping[str, object] | None = None,
        *,
        batch: int = 0,
        chunk: int = 4 << 20,
    ) -> FileSource:
        """Return a source over a file, glob or folder below this one."""
        given = parse(FileSourceOptions, json.dumps(options or {}))
        connection = name if "://" in name else str(self.path / name)
        step = SourceStep("file", connection, batch_size=batch, poll_interval_ms=10)
        assert SPEC.check(step, given) == []
        context = Context(PipelineId("p"), "source", StillClock(), str, self.allowed)
        return FileSource(step, given, context, chunk)

    async def read(
        self,
        name: str = "",
        options: Mapping[str, object] | None = None,
        *,
        batch: int = 0,
        chunk: int = 4 << 20,
        pinned: FilePinned | None = None,
        start: Mapping[SplitId, FilePosition | None] | None = None,
    ) -> Read:
        """Read everything, or the splits in ``start`` from there."""
        source = self.source(name, options, batch=batch, chunk=chunk)
        await source.open(pinned)
        found = Read()
        for split in await source.splits():
            if start is None or split.id in start:
                number = 0
                reading = source.read(split, (start or {}).get(split.id))
                async with aclosing(reading) as chunks:
                    async for one in chunks:
                        number = found.take(split, one, number)
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an empty folder."""
    path = tmp_path / "in"
    path.mkdir()
    return Folder(path)
