"""Keeps the rows for which an expression is true: a mask, then one copy of what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa

from dataflow.connect import Context, Output, Rejected, Transform, TransformStep
from dataflow.connect.expressions import (
    BOOL,
    Expression,
    ExpressionError,
    check,
    compile_expression,
    parse,
)
from dataflow.connect.transform import MAIN
from dataflow.transforms.binding import refused, types_of, visible
from dataflow.transforms.filter_spec import FilterOptions

if TYPE_CHECKING:
    from dataflow.connect.expressions import Compiled


def open_filter(_: TransformStep, options: FilterOptions, __: Context) -> Filter:
    """Return the filter of one step; raises ``ExpressionError`` as its spec's check reports it."""
    return Filter(parse(options.expression))


class Filter(Transform):
    """Binds its expression to the columns of the first batch, and again if they change."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        self._bound: tuple[pa.Schema, Compiled] | None = None

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Pass on the rows for which the expression is true.

        Raises:
            Rejected: it cannot be bound to these columns; the message lists them.
        """
        outcome = self._compiled(batch.schema).evaluate_rows(batch)
        # an expression that is always NULL has the type null
        keep = cast("pa.BooleanArray", outcome.values.cast(pa.bool_()))
        kept = keep.true_count
        passed = batch
        if kept < batch.num_rows:
            passed = batch.filter(keep) if kept else batch.slice(0, 0)
        faults = outcome.faults
        bad = len(faults) if faults else 0
        return Output(
            batches={MAIN: passed},
            rejected=refused(batch, faults.rows, faults.messages) if faults else None,
            filtered=batch.num_rows - kept - bad,
        )

    def _compiled(self, schema: pa.Schema) -> Compiled:
        if self._bound is None or not self._bound[0].equals(schema):
            try:
                check(self._expression, types_of(schema), BOOL)
                compiled = compile_expression(self._expression, visible(schema))
            except ExpressionError as error:
                message, code = error.message, error.code
                raise Rejected(message, code=code, field="options.expression") from error
            self._bound = schema, compiled
        return self._bound[1]
