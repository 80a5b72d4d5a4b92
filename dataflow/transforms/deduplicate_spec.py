"""The ``deduplicate`` step as people configure it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataflow.connect import Duration, OperatorOptions, Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import typed
from dataflow.connect.transform import MAIN
from dataflow.transforms.key_columns import key_problems, time_problems
from dataflow.transforms.naming import Name

DUPLICATES = "duplicates"
"""The output of the rows that do not pass."""

COUNT_MAX = 100_000_000
"""Keys; they take 5 GB."""

LONGEST = timedelta(days=3_660)
"""Ten years: a bound beyond is none."""


class DeduplicateOptions(OperatorOptions):
    """Which rows are the same, how long that is remembered, and which of them passes."""

    keys: tuple[Name, ...] = Field(
        min_length=1,
        description="Rows with the same values here are duplicates; NULL is the same as NULL.",
    )
    within: Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)] | None = Field(
        None,
        description="How long a key is remembered after the row that passed: in the time of"
        " timeColumn, or else of arrival. Without it and count: for ever.",
    )
    time_column: Name | None = Field(
        None, description="When a row happened; a row without is refused. Needs within."
    )
    out_of_order: Annotated[Duration, Field(ge=timedelta(0), le=LONGEST)] = Field(
        timedelta(0),
        description="How far event time stays behind the latest row of each split.",
    )
    idle_timeout: Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)] | None = Field(
        timedelta(minutes=1),
        description="A split that may idle and brings nothing for this long does not hold event"
        " time up; null: it does for ever.",
    )
    count: int | None = Field(
        None, ge=1, le=COUNT_MAX, description="Remember only so many keys: those that passed last."
    )
    keep: Literal["first", "last"] = Field(
        "first",
        description="first: the first row passes at once. last: rows are held, and the last one"
        " passes when its key is forgotten or the input has ended.",
    )


def _check(
    _: TransformStep, options: DeduplicateOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    types = typed(columns)
    found = [*_bound_problems(options), *key_problems("keys", options.keys, types)]
    if options.time_column is not None:
        found += time_problems("timeColumn", options.time_column, types)
    return found


def _bound_problems(options: DeduplicateOptions) -> Iterator[Problem]:
    if options.within is not None and options.count is not None:
        yield Problem("options.count", "give either within or count, not both")
    if options.time_column is not None and options.within is None:
        yield Problem("options.timeColumn", "needs within: how long a key is remembered")


def _schema(_: DeduplicateOptions, columns: Mapping[str, str]) -> Mapping[str, str]:
    return columns


SPEC = TransformSpec(
    name="deduplicate",
    summary="One row for each key, within a time, a number of keys or for ever.",
    options=DeduplicateOptions,
    open="dataflow.transforms.deduplicate:open_deduplicate",
    check=_check,
    schema=_schema,
    outputs=lambda _: (MAIN, DUPLICATES),
)
