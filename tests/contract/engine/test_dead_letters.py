"""Dead letters wait in memory for a checkpoint: that wait has a bound."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from dataflow.connect import (
    Chunk,
    Context,
    Options,
    Pinned,
    Position,
    Registry,
    Source,
    SourceSpec,
    SourceStep,
    Split,
    SplitId,
)
from dataflow.connect.source import REJECTED_COLUMNS
from dataflow.core.spec import OnError, PipelineOptions, PipelineSpec, Sink, canonical
from dataflow.core.spec import Source as SourceOf
from dataflow.engine.task import DEAD_BYTES_MAX
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.engine.owner import Owner, Points

RECORD_BYTES = DEAD_BYTES_MAX // 4
RECORDS = 24


class Row(Position):
    """The next row."""

    row: int = Field(ge=0)


class Unreadable(Source[Row, Pinned]):
    """Large records, not one of which can be read."""

    async def splits(self) -> Sequence[Split]:
        return [Split(SplitId("rows"))]

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        columns = [pa.array([0]), pa.array(["x" * RECORD_BYTES]), pa.array(["no record"])]
        rejected = pa.record_batch(columns, names=list(REJECTED_COLUMNS))
        none = pa.record_batch({"id": pa.array([], pa.int64())})
        for row in range(start.row if start else 0, RECORDS):
            yield Chunk(none, Row(row=row + 1), rejected=rejected)


def open_unreadable(_: SourceStep, __: Options, ___: Context) -> Unreadable:
    """Return the source of a step."""
    return Unreadable()


UNREADABLE = SourceSpec(
    name="unreadable",
    summary="Records that cannot be read.",
    options=Options,
    open=f"{__name__}:open_unreadable",
    position=Row,
)


async def test_many_dead_letters_ask_for_a_checkpoint_whatever_its_interval(tmp_path: Path) -> None:
    """Else an input of bad records alone would be held in memory for up to an hour."""
    options = PipelineOptions(checkpoint_rows=0, on_error=OnError.DEAD_LETTER)
    sink = Sink("arrow-files", str(tmp_path / "out"))
    spec = canonical(PipelineSpec(source=SourceOf("unreadable"), sink=sink, options=options))
    owner, points = Owner(Registry([UNREADABLE, ARROW_FILES]), spec, tmp_path / "objects"), Points()
    await owner.live(points)
    assert len(await owner.dead_letters()) == RECORDS
    seed_and_last = 2
    assert points.names.count("owner.decided") > seed_and_last
