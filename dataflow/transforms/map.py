"""Changes columns: compute, rename, cast, constants, drop, keep, in this order.

A column that no option changes goes out as the one that came in, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Context, Output, Rejected, Transform, TransformStep
from dataflow.connect.expressions import ExpressionError, compile_expression
from dataflow.connect.transform import HIDDEN, MAIN
from dataflow.connect.types import Type, to_arrow
from dataflow.transforms.binding import (
    Array,
    Faults,
    count_up,
    demand,
    first_of,
    refused,
    said,
    types_of,
    visible,
    without_place,
)
from dataflow.transforms.map_columns import CONSTANT_KINDS, Columns, Computed
from dataflow.transforms.map_options import MapOptions

if TYPE_CHECKING:
    from dataflow.connect.expressions import Compiled

# what a column holds is known when the program runs, not when the stubs' overloads are chosen
_repeated: Callable[..., Array] = pa.repeat


def open_map(_: TransformStep, options: MapOptions, __: Context) -> Map:
    """Return the map of one step."""
    return Map(options)


class Map(Transform):
    """Binds its options to the columns of the first batch, and again if they change."""

    def __init__(self, options: MapOptions) -> None:
        self._options = options
        self._bound: tuple[pa.Schema, _Bound] | None = None

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Pass on every row with its new columns; refuse those that cannot be computed or cast.

        Raises:
            Rejected: the options do not go with these columns; the message lists them.
        """
        if self._bound is None or not self._bound[0].equals(batch.schema):
            self._bound = batch.schema, _Bound(self._options, batch.schema)
        return self._bound[1].apply(batch)


class _Value:
    """A column that is computed: an expression bound to the columns before it."""

    def __init__(self, made: Computed, fields: Sequence[pa.Field[Any]], *, place: bool) -> None:
        self.name = made.name
        self._compiled: Compiled = compile_expression(made.expression, pa.schema(fields))
        self._reads = sorted(self._compiled.columns)
        self._place = place
        empty = {field.name: pa.nulls(0, field.type) for field in fields}
        self.field: pa.Field[Any] = pa.field(self.name, self.of(empty, 0, []).type)

    def of(self, columns: dict[str, Array], rows: int, faults: list[Faults]) -> Array:
        """Return the column; notes rows at fault, where it is NULL."""
        reads = {name: columns[name] for name in self._reads} or {"": pa.nulls(rows)}
        outcome = self._compiled.evaluate_rows(pa.RecordBatch.from_pydict(reads))
        if outcome.faults is not None:
            faults.append(Faults(outcome.faults.rows, self._said(outcome.faults.messages)))
        return outcome.values

    def _said(self, messages: pa.StringArray) -> Array:
        told = messages if self._place else without_place(messages)
        return said(self.name, told)


class _Constant:
    """A column of one value, as long as the longest batch so far."""

    def __init__(self, name: str, value: object) -> None:
        of = to_arrow(Type(CONSTANT_KINDS[type(value)]))
        self.field: pa.Field[Any] = pa.field(name, of)
        self._value = pa.scalar(value, of)
        self._array: Array = _repeated(self._value, 0)

    def of(self, rows: int) -> Array:
        """Return the column."""
        if rows > len(self._array):
            self._array = _repeated(self._value, rows)
        return self._array.slice(0, rows)


class _Bound:
    """The options bound to a schema: expressions compiled, and the outgoing schema known."""

    def __init__(self, options: MapOptions, schema: pa.Schema) -> None:
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise Rejected(f"two columns are named {twice[0]!r}; give one another name")
        columns = Columns(options, types_of(schema))
        demand(columns.problems)
        self._renamed = columns.renamed
        fields = {field.name: field for field in visible(schema)}
        try:
            self._computed = [*self._values(columns.computed, fields)]
            taken = {name: fields[name] for name in fields}
            self._extracted = [*self._values(columns.extracted, taken)]
            fields = {
                self._renamed.get(name, name): field.with_name(self._renamed.get(name, name))
                for name, field in fields.items()
            }
            fields |= {value.name: value.field for value in self._extracted}
            self._cast = [*self._values(columns.cast, fields, place=False)]
        except ExpressionError as error:
            raise Rejected(error.message, code=error.code, field="options") from error
        self._constants = [_Constant(name, value) for name, value in options.constants.items()]
        fields |= {constant.field.name: constant.field for constant in self._constants}
        hidden = [field for field in schema if field.name in HIDDEN]
        self._schema = pa.schema([*(fields[name] for name in columns.types), *hidden])

    @staticmethod
    def _values(
        made: Sequence[Computed], fields: dict[str, pa.Field[Any]], *, place: bool = True
    ) -> Iterator[_Value]:
        """Compile one expression after the other, each seeing the columns of those before it."""
        for computed in made:
            value = _Value(computed, list(fields.values()), place=place)
            fields[value.name] = value.field
            yield value

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Compute the outgoing columns; take out the rows that have no value for one."""
        rows = batch.num_rows
        faults: list[Faults] = []
        columns: dict[str, Array] = dict(zip(batch.schema.names, batch.columns, strict=True))
        for value in self._computed:
            columns[value.name] = value.of(columns, rows, faults)
        extracted = {value.name: value.of(columns, rows, faults) for value in self._extracted}
        columns = {self._renamed.get(name, name): column for name, column in columns.items()}
        columns |= extracted
        for value in self._cast:
            columns[value.name] = value.of(columns, rows, faults)
        for constant in self._constants:
            columns[constant.field.name] = constant.of(rows)
        arrays = [columns[name] for name in self._schema.names]
        made = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return _without(made, batch, faults) if faults else Output(batches={MAIN: made})


def _without(made: pa.RecordBatch, batch: pa.RecordBatch, faults: Sequence[Faults]) -> Output:
    """Take out the rows at fault."""
    found = first_of(faults)
    bad = pc.is_in(count_up(batch.num_rows), value_set=found.rows)
    return Output(
        batches={MAIN: made.filter(pc.invert(bad))},
        rejected=refused(batch, found.rows, found.messages),
    )
