"""Splits that end, all read at once where their source says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

from dataflow.connect import Chunk, Context, SourceStep, Split
from dataflow.core.spec import Source as SourceOf
from dataflow.core.spec import Transform
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.examples.lines import Lines, LinesOptions, LinesPosition
from tests.contract.connect.places import ids_of_files
from tests.contract.engine.owner import Owner, Points
from tests.contract.engine.test_sinks import KINDS, pipeline, registry


class Together(Lines):
    """Ends its first split once its last one has begun."""

    at_once = True

    def __init__(self, folder: Path, options: LinesOptions, batch_size: int) -> None:
        super().__init__(folder, options, batch_size)
        self._last_begun = asyncio.Event()

    async def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        if split.id == "b.txt":
            self._last_begun.set()
        await self._last_begun.wait()
        async for chunk in super().read(split, start):
            yield chunk


def open_together(step: SourceStep, options: LinesOptions, _: Context) -> Together:
    """Return the source of a step."""
    return Together(Path(step.connection_string), options, step.batch_size)


TOGETHER = replace(LINES, name="together", open=f"{__name__}:open_together")


async def test_splits_are_read_at_once_and_each_to_its_end(tmp_path: Path) -> None:
    """One connection serves many partitions: one after the other, each would wait for its own."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("1\n2\n")
    (tmp_path / "in" / "b.txt").write_text("7\n8\n")
    shape = json.dumps({"compute": {"id": "CAST(CAST(line AS string) AS int)"}, "keep": ["id"]})
    begin = SourceOf("together", str(tmp_path / "in"), batch_size=1, poll_interval_ms=1)
    to_ids = Transform("shape", "map", options=shape)
    spec = pipeline(KINDS["staging"], begin, tmp_path / "out", to_ids)
    async with asyncio.timeout(30):
        await Owner(registry(TOGETHER), spec, tmp_path / "objects").live(Points())
    assert sorted(ids_of_files(tmp_path / "out")) == [1, 2, 7, 8]
