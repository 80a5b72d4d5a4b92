"""Rows of two sides put beside one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Rejected
from dataflow.connect.batches import empty
from dataflow.connect.types import from_arrow
from dataflow.transforms.binding import visible
from dataflow.transforms.join_shape import Shape
from dataflow.transforms.join_spec import JoinOptions
from dataflow.transforms.keys import Slots
from dataflow.transforms.slices import SLICE_ROWS

Numbers = npt.NDArray[np.int64]


class Joined:
    """Makes the rows that go out; knows the columns of a side when its first batch has come."""

    def __init__(self, options: JoinOptions) -> None:
        self._options = options
        self._left: pa.Schema | None = None
        self._right: pa.Schema | None = None
        self._shape: Shape | None = None
        self._untold = False

    def changes(self, *, whole: bool) -> dict[str, pa.RecordBatch]:
        """Return the columns of both sides, as far as they are known and not told."""
        sides = {"left": self._left, "right": self._right}
        told = {f"columns {name}": empty(of) for name, of in sides.items() if of is not None}
        is_due = self._untold or whole
        self._untold = False
        return told if is_due else {}

    def restore(self, batches: Mapping[str, pa.RecordBatch]) -> None:
        """Take up the columns that were told."""
        left, right = (batches.get(f"columns {name}") for name in ("left", "right"))
        self.saw(
            left=left.schema if left is not None else None,
            right=right.schema if right is not None else None,
        )
        self._untold = False

    def saw(self, *, left: pa.Schema | None = None, right: pa.Schema | None = None) -> None:
        """Take note of the columns of a side.

        Raises:
            Rejected: keys of the two sides are not of the same types, or names are taken.
        """
        same = (left is None or left == self._left) and (right is None or right == self._right)
        if same:
            return
        self._untold = True
        self._left = left if left is not None else self._left
        self._right = right if right is not None else self._right
        if self._left is None or self._right is None:
            return
        for one, other in zip(self._options.left_keys, self._options.right_keys, strict=True):
            _must_agree(self._left, one, self._right, other)
        shape = Shape(self._options, self._left.names, self._right.names)
        if shape.taken:
            message = f"{shape.taken[0]!r} would be there twice; give another suffix"
            raise Rejected(message, field="options.suffix")
        self._shape = shape

    def rows(self, left: pa.RecordBatch | None, right: pa.RecordBatch | None) -> pa.RecordBatch:
        """Return rows side by side; a side that is not given is NULL."""
        if self._options.type in {"semi", "anti"}:
            assert left is not None  # noqa: S101 - nothing else goes out
            return left
        if self._left is None or self._right is None or self._shape is None:
            side = "left" if self._left is None else "right"
            raise Rejected(
                f"the {side} has ended without a row, so its columns are not known, which rows"
                " without a partner have as NULL; join inner, or give it a row",
                field="options.type",
            )
        given = left if left is not None else right
        count = given.num_rows if given is not None else 0
        fields: list[pa.Field[Any]] = []
        arrays: list[pa.Array[Any]] = []
        for field in self._left:
            array = pa.nulls(count, field.type) if left is None else left.column(field.name)
            if array.null_count and right is not None and field.name in self._shape.shared:
                array = pc.coalesce(array, right.column(field.name).cast(field.type))
            fields.append(field.with_nullable(nullable=True))
            arrays.append(array)
        for name, out in self._shape.right:
            of = self._right.field(name)
            fields.append(pa.field(out, of.type, metadata=of.metadata))
            arrays.append(pa.nulls(count, of.type) if right is None else right.column(name))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch without the engine's own columns."""
    names = visible(batch.schema).names
    return batch if len(names) == batch.num_columns else batch.select(names)


def pairs(begins: Numbers, counts: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield pairs in bounded slices: which of the ranges each is of, and its place.

    Args:
        begins: the first place of each range.
        counts: how many places each range has.
    """
    if not counts.max(initial=0) > 1:
        for of in in_slices(np.flatnonzero(counts)):
            yield of, begins[of]
        return
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    for first in range(0, total, SLICE_ROWS):
        every = np.arange(first, min(first + SLICE_ROWS, total))
        of = np.searchsorted(ends, every, side="right")
        yield of, begins[of] + every - (ends[of] - counts[of])


def in_slices(numbers: Numbers | Slots) -> Iterator[Numbers]:
    """Yield numbers, so many at a time."""
    for first in range(0, len(numbers), SLICE_ROWS):
        yield numbers[first : first + SLICE_ROWS]


def taken(batch: pa.RecordBatch, rows: Numbers) -> pa.RecordBatch:
    """Return rows of a batch, without a copy if they are all in their order."""
    if len(rows) == batch.num_rows and (rows == np.arange(len(rows))).all():
        return batch
    return batch.take(pa.array(rows, pa.int64()))


def _must_agree(left: pa.Schema, one: str, right: pa.Schema, other: str) -> None:
    for schema, name, option in ((left, one, "leftKeys"), (right, other, "rightKeys")):
        if name not in schema.names:
            message = f"column {name!r} is missing; there are {', '.join(schema.names)}"
            raise Rejected(message, field=f"options.{option}")
    types = [from_arrow(schema.field(name).type) for schema, name in ((left, one), (right, other))]
    if types[0] != types[1]:
        message = (
            f"{other!r} is {types[1]}, and {one!r} of the left is {types[0]}; cast one in a map"
        )
        raise Rejected(message, field="options.rightKeys")
