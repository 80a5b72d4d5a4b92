"""The options of ``aggregate``. Imports no Arrow."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataflow.connect import Duration, Model, OperatorOptions
from dataflow.transforms.map_options import InOrder
from dataflow.transforms.naming import Name

LATE = "late"
"""The output of rows that came when all their windows had closed."""

SHORTEST = timedelta(milliseconds=1)
LONGEST = timedelta(days=3_660)
"""Ten years: a window beyond is a whole run."""

Length = Annotated[Duration, Field(ge=SHORTEST, le=LONGEST)]
Wait = Annotated[Duration, Field(ge=timedelta(0), le=LONGEST)]


class WindowOptions(Model):
    """How rows are put together by their time, and when that is over."""

    type: Literal["tumbling", "sliding", "session"] = Field(
        description="tumbling: one after the other; sliding: a new one each slide; session: rows"
        " of one group that are less than a gap apart.",
    )
    time_column: Name = Field(
        description="When a row happened: a timestamp or date; without a zone it counts as UTC."
        " A row without is refused.",
    )
    size: Length | None = Field(
        None, description="Of a tumbling or sliding window. They begin at multiples since 1970."
    )
    slide: Length | None = Field(
        None, description="Between the beginnings of sliding windows; size is a multiple of it."
    )
    gap: Length | None = Field(
        None, description="A row this long after the one before begins another session."
    )
    out_of_order: Wait = Field(
        timedelta(0), description="How far event time stays behind the latest row of each split."
    )
    allowed_lateness: Wait = Field(
        timedelta(0), description="How long a window stays open when event time has passed its end."
    )
    idle_timeout: Length | None = Field(
        timedelta(minutes=1),
        description="A split that may idle and brings nothing for this long does not hold event"
        " time up; null: it does for ever.",
    )
    max_future: Wait = Field(
        timedelta(days=1),
        description="A row further ahead of the time of day is refused: it would close every"
        " window of the others.",
    )
    max_jump: Length | None = Field(
        None, description="A row further ahead of the rows of its split before it is refused, too."
    )
    start_column: Name = Field("windowStart", description="What goes out as the window's begin.")
    end_column: Name = Field("windowEnd", description="As its end, which is not part of it.")


class AggregateOptions(OperatorOptions):
    """Which rows make a group, and what is computed from each group."""

    group_by: tuple[Name, ...] = Field(
        (),
        max_length=1_000,
        description="Columns; rows with equal values, NULL equal to NULL, are a group. Without"
        " any, all rows are.",
    )
    aggregates: InOrder = Field(
        min_length=1,
        max_length=1_000,
        description="New columns, each one function over the rows of a group: count(), count(x),"
        " sum(x), avg(x), min(x), max(x), first(x), last(x), collect(x, most),"
        " approx_distinct(x), quantile(x, q); x is an expression.",
    )
    window: WindowOptions | None = Field(
        None, description="Without one, results come when the inputs end."
    )
    emit: Literal["close", "early"] = Field(
        "close",
        description="When results go out: once, when their window has closed; or as they stand"
        " at every earlyInterval, too, where they have changed.",
    )
    early_interval: Length | None = Field(None, description="Of early results, by the clock.")
    final_column: Name = Field(
        "windowFinal", description="Of early results: whether a row is the last of its window."
    )
