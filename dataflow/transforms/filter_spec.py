"""The ``filter`` transform as people configure it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from dataflow.connect import Options, Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import BOOL, ExpressionError, check, parse, typed


class FilterOptions(Options):
    """Which rows pass."""

    expression: str = Field(
        min_length=1,
        description="A row passes where this is true; one where it is false or NULL is filtered."
        " As in: amount > 100 AND country = 'DE'.",
    )


def _check(
    _: TransformStep, options: FilterOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    types = typed(columns)
    try:
        expression = parse(options.expression)
        if types is not None:
            check(expression, types, BOOL)
    except ExpressionError as error:
        return [Problem("options.expression", error.message)]
    return []


def _schema(_: FilterOptions, columns: Mapping[str, str]) -> Mapping[str, str]:
    return columns


SPEC = TransformSpec(
    name="filter",
    summary="Rows for which an expression is true.",
    options=FilterOptions,
    open="dataflow.transforms.filter:open_filter",
    check=_check,
    schema=_schema,
    lanes=True,
)
