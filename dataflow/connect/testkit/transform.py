"""What a transform without a memory promises: ``TransformSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from dataflow.connect.transform import ERROR, ORDINAL, Transform


class TransformSuite(ABC):
    """For a transform: give it batches that make it pass, drop and refuse rows."""

    @abstractmethod
    def transform(self) -> Transform:
        """Return a new instance."""

    @abstractmethod
    def batches(self) -> Sequence[pa.RecordBatch]:
        """Return at least two batches of one schema, with ``ORDINAL`` as the last column."""

    def test_every_row_is_accounted_for(self) -> None:
        """Rows in + produced = rows out + filtered + absorbed + rejected, batch by batch."""
        transform = self.transform()
        for batch in self.batches():
            output = transform.apply(batch)
            out = sum(made.num_rows for made in output.batches.values())
            rejected = output.rejected.num_rows if output.rejected is not None else 0
            left = out + output.filtered + output.absorbed + rejected
            assert batch.num_rows + output.produced == left

    def test_rows_keep_their_ordinals(self) -> None:
        """An ordinal names its record in dead letters and keys; nothing else may."""
        transform = self.transform()
        seen: set[int] = set()
        for batch in self.batches():
            seen |= set(_ordinals(batch))
            output = transform.apply(batch)
            for made in output.batches.values():
                assert made.schema.field(ORDINAL).type == pa.int64()
                assert set(_ordinals(made)) <= seen

    def test_refused_rows_come_with_their_columns_and_a_reason(self) -> None:
        """A dead letter is the record as it came in, and why it was refused."""
        transform = self.transform()
        for batch in self.batches():
            rejected = transform.apply(batch).rejected
            if rejected is None:
                continue
            assert rejected.schema.names == [*batch.schema.names, ERROR]
            assert rejected.schema.field(ERROR).type == pa.large_string()
            assert rejected.column(ERROR).null_count == 0
            given = {row[ORDINAL]: row for row in batch.to_pylist()}
            for row in rejected.to_pylist():
                assert row.pop(ERROR)
                assert row == given[row[ORDINAL]]

    def test_an_empty_batch_keeps_the_schema(self) -> None:
        """Whether it is the first or a later one; the next step sees the same columns."""
        full = self.transform()
        schemas = {
            name: made.schema for name, made in full.apply(self.batches()[0]).batches.items()
        }
        for transform in (full, self.transform()):
            output = transform.apply(self.batches()[0].slice(0, 0))
            assert {name: made.schema for name, made in output.batches.items()} == schemas
            assert [made.num_rows for made in output.batches.values()] == [0] * len(schemas)


def _ordinals(batch: pa.RecordBatch) -> list[int]:
    found: list[Any] = batch.column(ORDINAL).to_pylist()
    return found
