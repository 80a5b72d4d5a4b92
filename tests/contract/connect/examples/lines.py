"""A whole source: newline-terminated text files, one split a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from dataflow.connect import (
    Chunk,
    Context,
    Options,
    Pinned,
    Position,
    Rejected,
    Source,
    SourceSpec,
    SourceStep,
    Split,
    SplitId,
    Waiting,
)

LINE = "line"


class LinesOptions(Options):
    """Which files to read."""

    glob: str = Field("*.txt", min_length=1, description="Names of the files in the directory.")


class LinesPosition(Position):
    """The first byte of the next line to read."""

    byte: int = Field(ge=0)


class Lines(Source[LinesPosition, Pinned]):
    """Reads whole lines; a last one without its newline is left for when it is whole."""

    def __init__(self, folder: Path, options: LinesOptions, rows_max: int) -> None:
        self._folder = folder
        self._glob = options.glob
        self._rows_max = rows_max

    async def open(self, pinned: Pinned | None) -> Pinned | None:
        if not await asyncio.to_thread(self._folder.is_dir):
            raise Waiting(f"there is no directory {self._folder}")
        return pinned

    async def splits(self) -> Sequence[Split]:
        paths = await asyncio.to_thread(lambda: sorted(self._folder.glob(self._glob)))
        return [Split(SplitId(path.name)) for path in paths]

    async def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        path, begin = self._folder / split.id, start.byte if start else 0
        if await asyncio.to_thread(lambda: path.stat().st_size) < begin:
            raise Rejected(f"{path} is shorter than what was read of it; was it replaced?")
        while lines := await asyncio.to_thread(self._next, path, begin):
            batch = pa.record_batch({LINE: pa.array(lines, pa.binary())})
            read = sum(len(line) + 1 for line in lines)
            begin += read
            yield Chunk(batch, LinesPosition(byte=begin), bytes_read=read)

    async def latest(self, split: Split) -> LinesPosition:
        data = await asyncio.to_thread((self._folder / split.id).read_bytes)
        return LinesPosition(byte=data.rfind(b"\n") + 1)

    def _next(self, path: Path, begin: int) -> list[bytes]:
        """Return the next lines; the file is open no longer than that, however reading ends."""
        with path.open("rb") as file:
            file.seek(begin)
            lines = list(islice(file, self._rows_max))
        return [line[:-1] for line in lines if line.endswith(b"\n")]


def open_lines(step: SourceStep, options: LinesOptions, context: Context) -> Lines:
    """Return the source of a step."""
    folder = context.path(context.secret(step.connection_string))
    return Lines(folder, options, step.batch_size or 8_192)


SPEC = SourceSpec(
    name="lines",
    summary="Newline-terminated text files of a directory; one split a file.",
    options=LinesOptions,
    open=f"{__name__}:open_lines",
    position=LinesPosition,
    schema=lambda _: {LINE: "bytes"},
    lanes=True,
)
