"""``aggregate`` passes the suite, whole and by every kind of window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from dataflow.connect import Operator
from dataflow.connect.testkit import OperatorSuite
from tests.unit.transforms.aggregating import aggregate, times
from tests.unit.transforms.rig import batch

EVENTS = [
    batch(t=times(1, 12, None), k=["x", "y", "x"], a=["1", "2", "3"]),
    batch(t=times(15, 3, 24, 12), k=["x", None, "y", "y"], a=["4", "5", "z", "6"], first=3),
    batch(t=times(47, 21, 33), k=["y", "y", "x"], a=["7", "8", "9"], first=7),
    batch(t=times(48, 2), k=["x", "x"], a=["1", "2"], first=10),
]
EVERY_FUNCTION = {
    "n": "count()",
    "s": "sum(CAST(a AS int))",
    "m": "avg(CAST(a AS int))",
    "max": "max(a)",
    "f": "first(a)",
    "l": "last(a)",
    "all": "collect(a, 3)",
    "d": "approx_distinct(a)",
    "q": "quantile(CAST(a AS int), 0.5)",
}


class TestAggregateOfAWholeRun(OperatorSuite):
    """Groups that come out at the end."""

    def operator(self) -> Operator:
        return aggregate({"groupBy": ["k"], "aggregates": EVERY_FUNCTION})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return EVENTS


class TestAggregateByTumblingWindows(OperatorSuite):
    """Windows that close on the way, late rows, rows without a time."""

    def operator(self) -> Operator:
        return windowed({"type": "tumbling", "size": "10s"})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return EVENTS


class TestAggregateBySlidingWindows(OperatorSuite):
    """Rows in two windows at a time."""

    def operator(self) -> Operator:
        return windowed({"type": "sliding", "size": "10s", "slide": "5s"})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return EVENTS


class TestAggregateBySessions(OperatorSuite):
    """Sessions that are joined by later rows."""

    def operator(self) -> Operator:
        return windowed({"type": "session", "gap": "10s", "allowedLateness": "5s"})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return EVENTS


def windowed(window: Mapping[str, object]) -> Operator:
    """Return a step of every function, by windows of the events' times."""
    options = {"groupBy": ["k"], "aggregates": EVERY_FUNCTION}
    return aggregate({**options, "window": {**window, "timeColumn": "t"}})
