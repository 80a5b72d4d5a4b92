"""Rows that a sink refuses: left out, accounted for, and dealt with as its step says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import Field

from dataflow.connect import (
    REFUSED_COLUMNS,
    Chunk,
    Context,
    Guarantee,
    OnError,
    Options,
    Pinned,
    Position,
    Registry,
    SinkSpec,
    SinkStep,
    Source,
    SourceSpec,
    SourceStep,
    Split,
    SplitId,
)
from dataflow.core.checkpoint import Ledger
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Transform, canonical
from dataflow.core.spec import Source as SourceOf
from dataflow.transforms.filter_spec import SPEC as FILTER
from tests.contract.connect.examples.sqlite_table import SqliteTable
from tests.contract.connect.places import ids_of_table
from tests.contract.engine.owner import Broken, Crash, Owner, Points

ROWS = 20
KEPT = [i for i in range(ROWS) if i % 3]
"""What a filter lets through; the sink refuses every fifth of all."""
WRITTEN = [i for i in KEPT if i % 5]
REFUSED = [i for i in KEPT if i % 5 == 0]


class Row(Position):
    """The next row."""

    row: int = Field(ge=0)


class Numbers(Source[Row, Pinned]):
    """The numbers from 0 on, seven a chunk."""

    async def splits(self) -> Sequence[Split]:
        return [Split(SplitId("numbers"))]

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        for first in range(start.row if start else 0, ROWS, 7):
            last = min(first + 7, ROWS)
            ids = pa.array(range(first, last), pa.int64())
            yield Chunk(pa.record_batch({"id": ids}), Row(row=last))


class Choosy(SqliteTable):
    """Refuses every fifth number."""

    async def write(  # type: ignore[override]  # the example refuses nothing
        self, batch: pa.RecordBatch
    ) -> pa.RecordBatch | None:
        ids = batch.column("id")
        fifth = pa.array([i.as_py() % 5 == 0 for i in ids], pa.bool_())
        await super().write(batch.filter(pc.invert(fifth)))
        index = pa.array(range(batch.num_rows), pa.int64()).filter(fifth)
        errors = pa.array(["no fifths"] * len(index), pa.large_string())
        return pa.record_batch([index, errors], names=list(REFUSED_COLUMNS))


def open_numbers(_: SourceStep, __: Options, ___: Context) -> Numbers:
    """Return the source of a step."""
    return Numbers()


def open_choosy(step: SinkStep, _: Options, context: Context) -> Choosy:
    """Return the sink of a step."""
    return Choosy(Path(step.connection_string), "rows", context.probe)


NUMBERS = SourceSpec("numbers", "Numbers.", Options, f"{__name__}:open_numbers", Row)
CHOOSY = SinkSpec(
    "choosy", "No fifths.", Guarantee.EXACTLY_ONCE, Options, f"{__name__}:open_choosy"
)


def owner_of(root: Path, on_error: OnError) -> Owner:
    """Return the owner of numbers -> filter -> choosy."""
    root.mkdir(parents=True, exist_ok=True)
    spec = PipelineSpec(
        source=SourceOf("numbers"),
        transforms=(Transform("some", "filter", options='{"expression": "id % 3 <> 0"}'),),
        sink=Sink("choosy", str(root / "out.db"), batch_size=3),
        options=PipelineOptions(
            checkpoint_rows=5, on_error=on_error, batch_timeout=timedelta(seconds=10)
        ),
    )
    return Owner(Registry([NUMBERS, FILTER, CHOOSY]), canonical(spec), root / "objects")


async def check_dead_lettered(owner: Owner, root: Path) -> None:
    """Assert that every row is written or a letter, once, and that the ledger knows which."""
    assert sorted(ids_of_table(root / "out.db")) == WRITTEN
    letters = await owner.dead_letters()
    assert sorted(letter.ordinal for letter in letters) == REFUSED
    assert {(letter.step, letter.split, letter.error) for letter in letters} == {
        ("sink", "numbers", "no fifths")
    }
    assert sorted(letter.record for letter in letters) == sorted(f'{{"id":{i}}}' for i in REFUSED)
    assert owner.stored is not None
    ledger = owner.stored.ledgers["sink"]
    assert ledger.balances
    assert ledger == Ledger(
        records_read=ROWS,
        records_written=len(WRITTEN),
        records_filtered=ROWS - len(KEPT),
        records_dead_lettered=len(REFUSED),
    )


async def test_refused_rows_become_dead_letters_under_their_ordinals(tmp_path: Path) -> None:
    """An operator has to find them in the source, whatever was filtered before them."""
    owner = owner_of(tmp_path, OnError.DEAD_LETTER)
    await owner.live(Points())
    await check_dead_lettered(owner, tmp_path)


async def test_refused_rows_may_be_skipped_and_are_counted(tmp_path: Path) -> None:
    """The ledger has to balance also when nobody wants to see them."""
    owner = owner_of(tmp_path, OnError.SKIP)
    await owner.live(Points())
    assert sorted(ids_of_table(tmp_path / "out.db")) == WRITTEN
    assert owner.stored is not None
    assert owner.stored.ledgers["sink"].records_skipped == len(REFUSED)
    assert owner.stored.ledgers["sink"].balances
    assert owner.stored.totals.failed == len(REFUSED)


async def test_a_refused_row_fails_the_pipeline_by_default(tmp_path: Path) -> None:
    """Nothing of its checkpoint is seen, and the error names the record and what to set."""
    owner = owner_of(tmp_path, OnError.FAIL)
    with pytest.raises(Broken, match=r"record 5 of 'numbers': no fifths; set onError") as broken:
        await owner.live(Points())
    assert broken.value.error.code == "RECORD_REJECTED"
    assert broken.value.error.step == "sink"
    assert not broken.value.error.retryable


async def test_broken_anywhere_refused_rows_are_lettered_once(tmp_path: Path) -> None:
    """A letter and the position behind its record are decided together."""
    at = 0
    while True:
        root = tmp_path / str(at)
        owner, points = owner_of(root, OnError.DEAD_LETTER), Points(at)
        try:
            await owner.live(points)
        except (Broken, Crash):
            await owner.live(Points())
            await check_dead_lettered(owner, root)
        else:
            break
        at += 1
    assert at > len(WRITTEN)
