"""Makes a row of each item of a record: parents repeated beside their items, column by column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Context, Output, Rejected, Transform, TransformStep
from dataflow.connect.transform import HIDDEN, MAIN
from dataflow.transforms.binding import Array, demand, refused, types_of
from dataflow.transforms.flat_map_spec import FlatMapOptions, item_name, kept, problems

Counts = npt.NDArray[np.int64]

# what a column holds is known when the program runs, not when the stubs' overloads are chosen
_lengths: Callable[..., Array] = pc.list_value_length
_flattened: Callable[..., Array] = pc.list_flatten
_split: Callable[..., Array] = pc.split_pattern
_if_else: Callable[..., Array] = pc.if_else


def open_flat_map(_: TransformStep, options: FlatMapOptions, __: Context) -> FlatMap:
    """Return the flatMap of one step."""
    return FlatMap(options)


class FlatMap(Transform):
    """Checks its options against the columns of the first batch, and again if they change."""

    def __init__(self, options: FlatMapOptions) -> None:
        self._options = options
        self._checked: pa.Schema | None = None

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Pass on a row for each item, with its record's number; refuse records of too many.

        Raises:
            Rejected: the options do not go with these columns, or the rows of this batch
                take more memory than one batch can have.
        """
        if self._checked is None or not self._checked.equals(batch.schema):
            demand(problems(self._options, types_of(batch.schema)))
            self._checked = batch.schema
        lists = self._lists(batch.column(self._options.column))
        counts = _lengths(lists).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        too_many = counts > self._options.items_max
        if not too_many.any():
            return self._flat(batch, lists, counts)
        good = pa.array(~too_many)
        output = self._flat(batch.filter(good), lists.filter(good), counts[~too_many])
        rejected = self._refused(batch, too_many, counts)
        return Output(output.batches, rejected, output.filtered, output.produced)

    def _lists(self, column: Array) -> Array:
        """Return the column as lists: NULL and empty lists where there are no items."""
        if isinstance(column, pa.DictionaryArray):
            column = column.dictionary_decode()
        if isinstance(column, pa.NullArray):
            return column.cast(pa.list_(pa.null()))
        if self._options.delimiter is None:
            return column
        if column.type == pa.string_view():
            column = column.cast(pa.large_string())
        empty = pc.equal(column, pa.scalar("", column.type))
        texts = _if_else(empty, pa.scalar(None, column.type), column)
        return _split(texts, pattern=self._options.delimiter)

    def _flat(self, batch: pa.RecordBatch, lists: Array, counts: Counts) -> Output:
        items, without = _flattened(lists), counts == 0
        empty = int(without.sum())
        if empty and self._options.empty == "null":
            items, counts, empty = _with_nulls(items, counts), np.maximum(counts, 1), 0
        parents = pa.array(np.repeat(np.arange(len(counts)), counts))
        made = self._made(batch, items, parents)
        return Output(
            batches={MAIN: made},
            filtered=empty,
            produced=made.num_rows - (batch.num_rows - empty),
        )

    def _made(self, batch: pa.RecordBatch, items: Array, parents: Array) -> pa.RecordBatch:
        hidden = [name for name in batch.schema.names if name in HIDDEN]
        visible = [name for name in batch.schema.names if name not in HIDDEN]
        column, into = self._options.column, item_name(self._options)
        names = [*kept(self._options, dict.fromkeys(visible)), *hidden]
        try:
            arrays = [
                items if name == column else batch.column(name).take(parents) for name in names
            ]
        except pa.ArrowInvalid as error:
            message = f"{len(parents)} rows of {batch.num_rows} are too large at once ({error})"
            raise Rejected(f"{message}; give the source a smaller batchSize") from error
        fields = [
            pa.field(into, items.type) if name == column else batch.schema.field(name)
            for name in names
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _refused(
        self, batch: pa.RecordBatch, too_many: npt.NDArray[np.bool_], counts: Counts
    ) -> pa.RecordBatch:
        at_most = f"itemsMax is {self._options.items_max}"
        messages = [
            f"{self._options.column} has {count} items; {at_most}" for count in counts[too_many]
        ]
        return refused(batch, pa.array(np.flatnonzero(too_many)), pa.array(messages))


def _with_nulls(items: Array, counts: Counts) -> Array:
    """Put NULL where a record without items would have one."""
    ends = np.cumsum(np.maximum(counts, 1))
    holes = np.zeros(int(ends[-1]), dtype=bool)
    holes[ends[counts == 0] - 1] = True
    places: Any = np.cumsum(~holes) - 1
    return items.take(pa.array(places, mask=holes))
