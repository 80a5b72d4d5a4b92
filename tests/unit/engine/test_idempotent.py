"""Keys made of split and ordinal: one row a record, or a refusal before any is overwritten."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflow.connect import IdempotentSink, Rejected, Task
from dataflow.connect.transform import ORDINAL
from dataflow.core.ids import SplitId
from dataflow.engine.outputs import Idempotent

A, B = SplitId("a"), SplitId("b")


class Noting(IdempotentSink):
    """Notes the ordinals that it is given."""

    def __init__(self) -> None:
        self.written: list[tuple[str, list[int | None]]] = []

    async def open(self, task: Task) -> None:
        """Nothing is opened."""

    async def write(self, batch: pa.RecordBatch, split: str) -> None:
        """Note."""
        self.written.append((split, batch.column(ORDINAL).to_pylist()))

    async def flush(self) -> None:
        """Nothing waits."""


def numbered(*ordinals: int) -> pa.RecordBatch:
    """Return rows of these records."""
    return pa.RecordBatch.from_pydict({ORDINAL: pa.array(ordinals, pa.int64())})


async def test_rows_of_different_records_are_written_in_any_order_within_a_batch() -> None:
    """A filter leaves gaps and a step may sort; splits count by themselves."""
    sink = Noting()
    output = Idempotent(sink)
    for split, ordinals in [(A, (3, 0, 7)), (B, (0,)), (A, ()), (A, (8,))]:
        await output.write(numbered(*ordinals), split)
    assert sink.written == [("a", [3, 0, 7]), ("b", [0]), ("a", []), ("a", [8])]


@pytest.mark.parametrize(
    "batches", [[(1, 1)], [(0, 1), (1, 2)]], ids=["in one batch", "two ways of a graph"]
)
async def test_several_rows_of_one_record_are_refused(batches: list[tuple[int, ...]]) -> None:
    """Else the last would silently take the place of the others."""
    sink = Noting()
    output = Idempotent(sink)
    *before, last = batches
    for ordinals in before:
        await output.write(numbered(*ordinals), A)
    with pytest.raises(Rejected, match="several rows come of one record"):
        await output.write(numbered(*last), A)
    assert len(sink.written) == len(before)
