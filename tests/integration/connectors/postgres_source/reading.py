"""A table and the sources that read it, as the engine would drive them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dataflow.connect import Chunk, SourceStep, Split, SplitId
from dataflow.connect.spec import parse
from dataflow.connect.testkit import context
from dataflow.connectors.postgres.source.source import CHANGES, PostgresSource, open_source
from dataflow.connectors.postgres.source.spec import (
    PostgresPinned,
    PostgresPosition,
    PostgresSourceOptions,
)

Row = dict[str, Any]
Read = Chunk[PostgresPosition]
Done = Callable[["Reading"], bool]


@dataclass
class Reading:
    """What one pipeline has read of a table; each ``open`` is a new run."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 100
    pinned: PostgresPinned | None = None
    position: PostgresPosition | None = None
    """Of the changes."""
    positions: dict[SplitId, PostgresPosition] = field(default_factory=dict)
    """Of the key ranges."""
    ended: set[SplitId] = field(default_factory=set)
    chunks: list[Read] = field(default_factory=list)

    def source(self) -> PostgresSource:
        """Return a source as a new process would make it."""
        text = json.dumps({"table": "t", "snapshot": False, **self.options})
        step = SourceStep("postgres", self.url, batch_size=self.batch_size)
        return open_source(step, parse(PostgresSourceOptions, text), context())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[PostgresSource]:
        """Have a source that is ready."""
        source = self.source()
        source.resumes = bool(self.position or self.positions)
        try:
            self.pinned = await source.open(self.pinned)
            yield source
        finally:
            await source.close()

    async def begin(self) -> None:
        """Fix where the lineage begins."""
        async with self.opened():
            pass

    async def read(self, chunks_max: int = 1_000) -> list[Row]:
        """Read on to the end, or so many chunks, and take all for decided; returns the rows."""
        found: list[Read] = []
        options = self.options
        self.options = {**options, "stopAtEnd": True}
        async with self.opened() as source:
            for split in await source.splits():
                if len(found) < chunks_max:
                    await self._split(source, split, found, chunks_max)
        self.options = options
        self.chunks += found
        return [row for chunk in found for row in chunk.batch.to_pylist()]

    async def _split(
        self, source: PostgresSource, split: Split, found: list[Read], chunks_max: int
    ) -> None:
        position = self.position if split == CHANGES else self.positions.get(split.id)
        if split.id in self.ended and not await source.grown(split, position):
            return
        async with aclosing(source.read(split, position)) as reading:
            async for chunk in reading:
                found.append(chunk)
                if split == CHANGES:
                    self.position = chunk.resume_at
                else:
                    self.positions[split.id] = chunk.resume_at
                await source.acknowledge(split, chunk.resume_at)
                if len(found) == chunks_max:
                    return
        self.ended.add(split.id)


def told(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    """Return the operation and some columns of rows."""
    return [(row["op"], *(row[name] for name in names)) for row in rows]


def errors(reading: Reading) -> list[str]:
    """Return why records were refused."""
    refused = [chunk.rejected for chunk in reading.chunks if chunk.rejected is not None]
    return [row["error"] for batch in refused for row in batch.to_pylist()]
