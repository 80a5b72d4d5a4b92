"""The rows that an expression is computed on, and the rows at fault among them.

A batch is computed *fast* first: every kernel on every row, no thought of errors. If a kernel
raises, the batch is computed again *carefully*: values are computed only for the rows that need
them (a branch of CASE, the right side of AND), and a kernel that raises is asked for which rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import pyarrow as pa

from dataflow.core.errors import Code
from dataflow.expressions import vector
from dataflow.expressions.arrow import normal
from dataflow.expressions.errors import ExpressionError, shown
from dataflow.expressions.types import NESTED, Type
from dataflow.expressions.vector import Array, Datum

# Below this many rows they are tried one by one: halving them further raises more often (4 µs).
SINGLE_ROWS_MAX: Final = 16
MESSAGE_VALUE_MAX: Final = 64  # characters of a value in a message; the record itself is kept apart
_SHOWN: Final = vector.part_of_text(0, MESSAGE_VALUE_MAX)

Run: TypeAlias = "Callable[[Sequence[Datum]], Array]"
Suspect: TypeAlias = "Callable[[Sequence[Datum]], Array]"
Load: TypeAlias = "Callable[[str, Type], Array]"
Noted: TypeAlias = "tuple[Array, Array, Array]"
"""Rows at fault, their messages, and where in the text the fault is."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The rows at fault, ascending, what is wrong with each, and where in the text.

    Attributes:
        rows: their numbers in the batch, from 0.
        messages: one a row, for people, with the place.
        offsets: the place as an offset in the text, one a row.
    """

    rows: pa.Int64Array
    messages: pa.StringArray
    offsets: pa.Int64Array

    def __len__(self) -> int:
        return len(self.rows)


class Frame:
    """Some rows of a batch. ``noted`` is None while computing fast."""

    def __init__(
        self, load: Load, length: int, noted: list[Noted] | None, rows: Array | None
    ) -> None:
        self.length = length
        self.noted = noted
        self._load = load
        self._rows = rows
        self._columns: dict[str, Array] = {}

    @classmethod
    def of(cls, batch: pa.RecordBatch, noted: list[Noted] | None = None) -> Frame:
        """Return all rows of a batch."""

        def load(name: str, of: Type) -> Array:
            column = _column(batch, name)
            # a field is cheaper taken out of its struct first; only careful rows are filtered,
            # which no kernel does with views
            return column if of.kind in NESTED and noted is None else normal(column, of)

        return cls(load, batch.num_rows, noted, None)

    @property
    def careful(self) -> bool:
        """Whether faults are noted row by row."""
        return self.noted is not None

    @property
    def rows(self) -> Array:
        """The numbers of these rows in the whole batch."""
        return vector.arange(self.length) if self._rows is None else self._rows

    def column(self, name: str, of: Type) -> Array:
        """Return a column; one without fields or items in the one form of its type."""
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = self._load(name, of)
        return found

    def where(self, mask: Array) -> Frame:
        """Return the rows where the mask is true."""
        rows = self.rows.filter(mask)

        def load(name: str, of: Type) -> Array:
            return self.column(name, of).filter(mask)

        return Frame(load, len(rows), self.noted, rows)

    def note(self, bad: Array, messages: Array, offset: int) -> None:
        """Note that rows are at fault; there is one message for each true value of the mask."""
        if self.noted is not None and len(messages):
            offsets = vector.repeated(pa.scalar(offset, pa.int64()), len(messages))
            self.noted.append((self.rows.filter(bad), messages, offsets))


def gathered(noted: Sequence[Noted]) -> Faults:
    """Return all faults in the order of the rows, the first one of each row."""
    rows, messages, offsets = (pa.concat_arrays(column) for column in zip(*noted, strict=True))
    order = vector.ascending(rows)  # stable: the first one noted stays first
    rows, messages, offsets = rows.take(order), messages.take(order), offsets.take(order)
    if len(rows) == 1:
        return Faults(rows, messages, offsets)
    fresh = vector.not_equal(rows.slice(1), rows.slice(0, len(rows) - 1))
    first = pa.concat_arrays([pa.array([True]), fresh])
    return Faults(rows.filter(first), messages.filter(first), offsets.filter(first))


def salvage(
    run: Run, values: Sequence[Datum], length: int, suspect: Suspect | None
) -> tuple[Array, Array]:
    """Return what a kernel gives with NULL where it can't, and the mask of those rows.

    Args:
        run: the kernel: row by row, NULL for NULL, raising ``ArrowInvalid`` for bad rows.
        values: its arguments, at least one of them an array.
        length: how many rows.
        suspect: says which rows are bad for sure, for all at once. The others are searched by
            halves, at 4 µs for each try: fine for a few, 1 s for 100,000 of them.
    """
    none = vector.repeated(pa.scalar(False), length)
    bad = none if suspect is None else vector.coalesce(suspect(values), vector.FALSE)
    remaining = blanked(values, bad)
    try:
        return run(remaining), bad
    except pa.ArrowInvalid:
        found = pa.array(_search(run, remaining, length), pa.int64())
    bad = vector.either(bad, vector.is_in(found)(vector.arange(length)))
    return run(blanked(values, bad)), bad


def blanked(values: Sequence[Datum], bad: Array) -> list[Datum]:
    """Return arguments that are NULL where the mask is true: no kernel fails on NULL."""
    first = next(i for i, value in enumerate(values) if isinstance(value, pa.Array))
    null = pa.scalar(None, values[first].type)
    return [vector.if_else(bad, null, v) if i == first else v for i, v in enumerate(values)]


def scattered(value: Datum, mask: Array) -> Datum:
    """Return values that were computed where the mask is true at their rows again, else NULL."""
    if isinstance(value, pa.Scalar):
        return value
    position = vector.subtract(vector.cumulative_sum(vector.cast(mask, pa.int64())), vector.ONE)
    return value.take(vector.if_else(mask, position, vector.NO_INT64))


def spoken(value: Datum, bad: Array) -> Datum:
    """Return the bad rows' values as text for a message."""
    if isinstance(value, pa.Array):
        value = value.filter(bad)
    if pa.types.is_binary(value.type):
        return pa.scalar("bytes")
    text = value if value.type == pa.string() else vector.cast(value, pa.string())
    return vector.coalesce(_SHOWN(text), pa.scalar("NULL"))


def said(parts: Sequence[str | Datum], count: int) -> Array:
    """Return texts joined from constant parts and columns of parts."""
    texts: list[Datum] = [pa.scalar(part) if isinstance(part, str) else part for part in parts]
    return vector.joined(vector.repeated(pa.scalar(""), count), *texts, pa.scalar(""))


def array_of(value: Datum, length: int) -> Array:
    """Return a value as an array of that many rows."""
    return vector.repeated(value, length) if isinstance(value, pa.Scalar) else value


def _column(batch: pa.RecordBatch, name: str) -> Array:
    try:
        return batch.column(name)
    except KeyError as error:
        problem = f"the batch has no column {shown(name)}, or two of them"
        raise ExpressionError(problem, text="", at=0, code=Code.SOURCE_CHANGED) from error


def _search(run: Run, values: Sequence[Datum], length: int) -> list[int]:
    """Return the rows for which the kernel raises, by halves."""
    found: list[int] = []
    waiting = [(0, length)]
    while waiting:
        start, count = waiting.pop()
        try:
            run([v.slice(start, count) if isinstance(v, pa.Array) else v for v in values])
        except pa.ArrowInvalid:
            if count == 1:
                found.append(start)
            elif count <= SINGLE_ROWS_MAX:
                waiting.extend((row, 1) for row in range(start, start + count))
            else:
                half = count // 2
                waiting += [(start, half), (start + half, count - half)]
    return found
