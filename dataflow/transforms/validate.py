"""Holds rows to what is asked of their columns: a mask a rule, and words for broken ones alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Context, Output, Rejected, Transform, TransformStep
from dataflow.connect.expressions import (
    ExpressionError,
    compile_expression,
    parse,
    quoted,
)
from dataflow.connect.transform import HIDDEN, MAIN
from dataflow.connect.types import Kind, to_arrow
from dataflow.transforms.binding import (
    Array,
    demand,
    refused,
    types_of,
    visible,
    without_place,
)
from dataflow.transforms.validate_columns import Columns, Rule, told
from dataflow.transforms.validate_options import ValidateOptions

if TYPE_CHECKING:
    from dataflow.connect.expressions import Compiled

SHOWN_MAX = 64
"""Characters of a bad value that a reason repeats; the dead letter has all of it."""

# what a column holds is known when the program runs, not when the stubs' overloads are chosen
_joined: Callable[..., Array] = pc.binary_join_element_wise
_all_joined: Any = pc.binary_join
_cut: Callable[..., Array] = pc.utf8_slice_codeunits
_nulls: Callable[..., Array] = pa.nulls
_repeated: Callable[..., Array] = pa.repeat


def open_validate(_: TransformStep, options: ValidateOptions, __: Context) -> Validator:
    """Return the validator of one step."""
    return Validator(options)


class Validator(Transform):
    """Binds its rules to the columns of the first batch, and again if they change."""

    def __init__(self, options: ValidateOptions) -> None:
        self._options = options
        self._bound: tuple[pa.Schema, _Bound] | None = None

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Pass on the rows that fit, in the types asked for; refuse the others with all reasons.

        Raises:
            Rejected: a column is missing, unknown or of a type that cannot become the one asked
                for, and the options do not allow for that.
        """
        if self._bound is None or not self._bound[0].equals(batch.schema):
            self._bound = batch.schema, _Bound(self._options, batch.schema)
        return self._bound[1].apply(batch)


@dataclass(frozen=True, slots=True)
class _Broken:
    """Rows of a batch, and one thing that is wrong with each."""

    rows: Array
    reasons: Array


class _Test:
    """A rule bound to the columns that it is asked of."""

    def __init__(self, rule: Rule, schema: pa.Schema) -> None:
        self._rule = rule
        try:
            self._compiled: Compiled = compile_expression(rule.holds, schema)
        except ExpressionError as error:
            field = f"options.columns.{rule.column}.{rule.option}"
            raise Rejected(told(error), code=error.code, field=field) from error
        self._shown = None if rule.option == "nullable" else _shown(rule.column, schema)

    def of(self, batch: pa.RecordBatch) -> _Broken | None:
        """Return the rows for which the rule is false; where it is NULL nobody knows."""
        holds = self._compiled.evaluate_rows(batch).values.cast(pa.bool_()).fill_null(True)
        broken = ~holds.to_numpy(zero_copy_only=False)
        if not broken.any():
            return None
        at = pa.array(np.flatnonzero(broken))
        return _Broken(at, self._reasons(batch, at))

    def _reasons(self, batch: pa.RecordBatch, at: Array) -> Array:
        name, said = self._rule.column, self._rule.said
        if self._shown is None:
            return _repeated(pa.scalar(f"{name} {said}"), len(at))
        values = self._shown.evaluate(batch.select([name]).take(at))
        quote = "'" if types_of(batch.schema)[name].kind is Kind.STRING else ""
        cut = _cut(values, 0, SHOWN_MAX)
        return _joined(pa.scalar(f"{name}: {quote}"), cut, pa.scalar(f"{quote} {said}"), "")


def _shown(column: str, schema: pa.Schema) -> Compiled | None:
    """Return what writes a value as a text, or None where there is no such, as for a list."""
    try:
        return compile_expression(parse(f"CAST({quoted(column)} AS string)"), schema)
    except ExpressionError:
        return None


class _Bound:
    """The options bound to a schema: expressions compiled, and the outgoing schema known."""

    def __init__(self, options: ValidateOptions, schema: pa.Schema) -> None:
        before = visible(schema)
        columns = Columns(options, types_of(schema))
        demand(columns.problems)
        self._casts = {
            name: compile_expression(cast, before) for name, cast in columns.casts.items()
        }
        fields = {field.name: field for field in before if field.name in columns.types}
        for name in columns.casts:
            fields[name] = pa.field(name, to_arrow(columns.types[name]))
        self._after = pa.schema([*fields.values()])
        self._tests = [
            (rule.before, _Test(rule, before if rule.before else self._after))
            for rule in columns.rules
        ]
        self._added = {name: to_arrow(of) for name, of in columns.added.items()}
        self._hidden = [field for field in schema if field.name in HIDDEN]
        fields |= {name: pa.field(name, of) for name, of in self._added.items()}
        self._schema = pa.schema([*(fields[name] for name in columns.types), *self._hidden])

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Convert columns, ask the rules, and part the rows."""
        found: list[_Broken] = []
        arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name, cast in self._casts.items():
            outcome = cast.evaluate_rows(batch)
            arrays[name] = outcome.values
            if outcome.faults is not None:
                said = _joined(pa.scalar(name), without_place(outcome.faults.messages), ": ")
                found.append(_Broken(outcome.faults.rows, said))
        after = pa.RecordBatch.from_arrays(
            [arrays[name] for name in self._after.names], schema=self._after
        )
        tested = (test.of(batch if before else after) for before, test in self._tests)
        found += [broken for broken in tested if broken is not None]
        arrays |= {name: _nulls(batch.num_rows, of) for name, of in self._added.items()}
        made = pa.RecordBatch.from_arrays(
            [arrays[name] for name in self._schema.names], schema=self._schema
        )
        return _parted(made, batch, found) if found else Output(batches={MAIN: made})


def _parted(made: pa.RecordBatch, batch: pa.RecordBatch, found: Sequence[_Broken]) -> Output:
    """Take out the rows that broke a rule, each with its reasons in one text."""
    reasons = pa.table(
        {
            "row": pa.concat_arrays([broken.rows.cast(pa.int64()) for broken in found]),
            "reason": pa.concat_arrays([broken.reasons.cast(pa.string()) for broken in found]),
        }
    )
    # in one thread a group keeps the order of its rows
    gathered = reasons.group_by("row", use_threads=False).aggregate([("reason", "list")])
    (grouped,) = gathered.sort_by("row").combine_chunks().to_batches()
    rows, said = grouped.column("row"), _all_joined(grouped.column("reason_list"), "; ")
    good = np.ones(batch.num_rows, dtype=bool)
    good[rows.to_numpy()] = False
    return Output(batches={MAIN: made.filter(pa.array(good))}, rejected=refused(batch, rows, said))
