"""What is kept of a group while rows still come: columns that add up, and what results they give.

Every part can be made of rows and of the same part of other rows of the group, in any grouping:
``sum`` of sums, ``max`` of maxima. Averages keep a sum and a count; both are shared with whatever
other call needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from dataflow.connect import Rejected

ROW = "row"
"""The column of a row's number, in the order in which rows came."""

_INT64_MAX = 2**63 - 1
_DECIMAL_MAX = 10**38 - 1

INT128 = pl.Int128()
"""Of sums that need it: more than 2^64 rows of int64 fit."""


@dataclass(frozen=True, slots=True)
class Part:
    """One column of partial aggregates: ``kind`` of the column ``of``."""

    kind: str
    of: str = ""
    most: int = 0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.kind} {self.of} {self.most or ''}".strip())


ROWS = Part("rows")
FIRST_ROW, LAST_ROW = Part("min", ROW), Part("max", ROW)
_ORDERED = frozenset({"first", "last", "collect"})


def with_order(parts: Sequence[Part]) -> Sequence[Part]:
    """Return parts and, where the order of rows matters to some, what tells it."""
    told = (FIRST_ROW, LAST_ROW) if any(part.kind in _ORDERED for part in parts) else ()
    return (*parts, *told)


def of_rows(part: Part, rows: pl.DataFrame) -> pl.Expr:
    """Return how to make a part of rows that are being grouped."""
    column = pl.col(part.of)
    match part.kind:
        case "rows":
            made = pl.len().cast(pl.Int64)
        case "count":
            has_nulls = rows[part.of].null_count() > 0
            made = (column.count() if has_nulls else pl.len()).cast(pl.Int64)
        case "collect":
            made = column.head(part.most)
        case _:
            made = _reduced(part.kind, part.of, rows, rows.height)
    return made.alias(part.name)


def of_parts(part: Part, frame: pl.DataFrame, *, times: int, by_row: bool) -> pl.Expr:
    """Return how to make a part of the same part of fewer rows.

    Args:
        part: which.
        frame: what is being grouped.
        times: how often a group is in it, at most.
        by_row: whether its rows are in no order, so that their numbers tell it.
    """
    column = pl.col(part.name)
    match part.kind:
        case "rows" | "count":
            made = column.sum()
        case "first" if by_row:
            made = column.sort_by(FIRST_ROW.name).first()
        case "last" if by_row:
            made = column.sort_by(LAST_ROW.name).last()
        case "collect":
            lists = column.sort_by(FIRST_ROW.name) if by_row else column
            made = lists.explode().head(part.most)
        case _:
            made = _reduced(part.kind, part.name, frame, times)
    return made.alias(part.name)


def _reduced(kind: str, name: str, frame: pl.DataFrame, times: int) -> pl.Expr:
    column, values = pl.col(name), frame[name]
    match kind:
        case "sum":
            total = _addable(column, values, times).sum()
            # the sum of NULLs alone is NULL in SQL, and 0 in Polars
            return pl.when(column.count() > 0).then(total) if values.null_count() else total
        case "max" if values.dtype.is_float() and values.is_nan().any():
            return column.nan_max()  # SQL orders NaN above all numbers; Polars' max leaves it out
        case _:
            made: pl.Expr = getattr(column, kind)()
            return made


def _addable(column: pl.Expr, values: pl.Series, times: int) -> pl.Expr:
    """Return a column in a type in which so many of its values can be added without a wrap."""
    if values.dtype.is_float():
        return column.cast(pl.Float64)
    if values.dtype == pl.Boolean:
        return column.cast(pl.Int64)
    greatest = _magnitude(values) * times
    if isinstance(values.dtype, pl.Decimal):
        if greatest > _DECIMAL_MAX:
            raise Rejected(
                "a sum of decimals may leave 38 digits, and would be wrong without a word; use"
                " fewer digits, or sum(CAST(… AS double))"
            )
        return column.cast(pl.Decimal(38, values.dtype.scale))
    return column.cast(pl.Int64) if greatest <= _INT64_MAX else column.cast(INT128)


def _magnitude(values: pl.Series) -> int:
    """Return the greatest distance from 0, in units of the last digit."""
    if isinstance(values.dtype, pl.Decimal):
        values = values.to_physical()
    bounds = [bound for bound in (values.min(), values.max()) if isinstance(bound, int)]
    return max((abs(bound) for bound in bounds), default=0)


def whole(total: pl.Series, name: str) -> pl.Series:
    """Return a sum of whole numbers as int64.

    Raises:
        Rejected: one does not fit.
    """
    if total.dtype == INT128 and _magnitude(total) > _INT64_MAX:
        raise Rejected(
            f"aggregates.{name}: a sum of {_magnitude(total)} does not fit an int64, which"
            " ends at 9223372036854775807; sum(CAST(… AS decimal(38, 0))) has 38 digits"
        )
    return total.cast(pl.Int64)
