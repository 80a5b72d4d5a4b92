"""What transforms with expressions share: columns that users may name, and rows at fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Problem, Rejected
from dataflow.connect.transform import ERROR, HIDDEN
from dataflow.connect.types import Type, from_arrow

Array: TypeAlias = "pa.Array[Any]"

# what a column holds is known when the program runs, not when the stubs' overloads are chosen
_joined: Callable[..., Array] = pc.binary_join_element_wise

_PLACE = r" \(line \d+, column \d+\)$"


def visible(schema: pa.Schema) -> pa.Schema:
    """Return the columns that users may name."""
    return pa.schema([field for field in schema if field.name not in HIDDEN])


def types_of(schema: pa.Schema) -> Mapping[str, Type]:
    """Return the columns that users may name, by their types."""
    return {field.name: from_arrow(field.type) for field in visible(schema)}


def demand(problems: Sequence[Problem]) -> None:
    """Refuse columns that options do not go with."""
    if problems:
        raise Rejected("; ".join(map(str, problems)))


def refused(batch: pa.RecordBatch, rows: Array, errors: Array) -> pa.RecordBatch:
    """Return rows of a batch with what is wrong with each, as ``Output.rejected`` wants them."""
    return batch.take(rows).append_column(ERROR, errors.cast(pa.large_string()))


def without_place(messages: Array) -> Array:
    """Return the messages of an expression without the place in it, which its user never wrote."""
    replaced: Array = pc.replace_substring_regex(messages, _PLACE, "")
    return replaced


@dataclass(frozen=True, slots=True)
class Faults:
    """Rows of a batch, and what is wrong with each."""

    rows: Array
    messages: Array


def said(words: str, messages: Array) -> Array:
    """Return messages with words before each."""
    return _joined(pa.scalar(words), messages, pa.scalar(": "))


def first_of(faults: Sequence[Faults]) -> Faults:
    """Return each row at fault once, in the order of rows, with what was found first."""
    every = pa.concat_arrays([found.rows for found in faults])
    messages = pa.concat_arrays([found.messages for found in faults])
    rows = every.unique()
    rows = rows.take(pc.array_sort_indices(rows))
    return Faults(rows, messages.take(pc.index_in(rows, value_set=every)))


def count_up(rows: int) -> pa.Int64Array:
    """Return the numbers of that many rows, from 0."""
    every: pa.Int64Array = pa.arange(0, rows)  # type: ignore[attr-defined]  # newer than the stubs
    return every
