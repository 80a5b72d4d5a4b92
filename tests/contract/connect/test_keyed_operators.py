"""The operators that remember keys pass the suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa

from dataflow.connect import Operator, Via
from dataflow.connect.testkit import OperatorSuite
from dataflow.connect.transform import ORDINAL
from dataflow.transforms.deduplicate_spec import SPEC as DEDUPLICATE
from dataflow.transforms.join_spec import SPEC as JOIN
from tests.unit.transforms.operators import operator


def batch(first: int, keys: Sequence[str | None], seconds: Sequence[int | None]) -> pa.RecordBatch:
    """Return keys and times."""
    return pa.record_batch(
        {
            "k": pa.array(keys, pa.string()),
            "t": pa.array(seconds, pa.timestamp("s")),
            ORDINAL: pa.array(range(first, first + len(keys)), pa.int64()),
        }
    )


BATCHES = [
    batch(0, ["a", "b", "a", None], [0, 1, 9, 2]),
    batch(4, ["a", "c", None, "a"], [12, 3, None, 14]),
    batch(8, ["b", "c"], [40, 41]),
    batch(10, ["a", "b"], [42, 39]),
]


class DeduplicateSuite(OperatorSuite):
    """Over rows that pass, repeat, come back later, and are refused."""

    options: ClassVar[dict[str, Any]]

    def operator(self) -> Operator:
        return operator(DEDUPLICATE, {"keys": ["k"], **self.options})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return BATCHES


class TestFirstForEver(DeduplicateSuite):
    """Keys alone."""

    options: ClassVar = {}


class TestFirstWithin(DeduplicateSuite):
    """Event time is kept too."""

    options: ClassVar = {"within": "10s", "timeColumn": "t"}


class TestFirstOfSome(DeduplicateSuite):
    """The count of those that passed is kept too."""

    options: ClassVar = {"count": 2}


class TestLastForEver(DeduplicateSuite):
    """Rows are kept."""

    options: ClassVar = {"keep": "last"}


class TestLastWithin(DeduplicateSuite):
    """Rows are kept until event time says so."""

    options: ClassVar = {"keep": "last", "within": "10s", "timeColumn": "t"}


class TestLastOfSome(DeduplicateSuite):
    """Rows are kept until others have come."""

    options: ClassVar = {"keep": "last", "count": 2}


LEFT, RIGHT = Via("left", "l"), Via("right", "r")


class JoinSuite(OperatorSuite):
    """Over rows that meet one, several or no partner, and some that can have none."""

    options: ClassVar[dict[str, Any]]

    def operator(self) -> Operator:
        keys = {"leftKeys": ["k"], "rightKeys": ["k"]}
        return operator(JOIN, {**keys, **self.options}, [LEFT.input, RIGHT.input])

    def batches(self) -> Sequence[pa.RecordBatch]:
        return BATCHES

    def arrivals(self) -> Sequence[tuple[Via, pa.RecordBatch]]:
        table = [(RIGHT, batch(0, ["a", "b"], [0, 1])), (RIGHT, batch(2, ["a", None], [2, 3]))]
        return [*table, *((LEFT, rows) for rows in BATCHES)]


class TestInnerWithTable(JoinSuite):
    """Rows of the table alone are kept."""

    options: ClassVar = {"type": "inner"}


class TestFullWithTable(JoinSuite):
    """Which rows of the table have met is kept too."""

    options: ClassVar = {"type": "full"}


class TestAntiWithTable(JoinSuite):
    """Keys alone are kept."""

    options: ClassVar = {"type": "anti"}


class StreamsSuite(JoinSuite):
    """Two streams in turn."""

    def arrivals(self) -> Sequence[tuple[Via, pa.RecordBatch]]:
        others = [
            batch(0, ["a", "b"], [3, 1]),
            batch(2, ["a", None], [15, 11]),
            batch(4, ["c", "a"], [44, None]),
            batch(6, ["a"], [60]),
        ]
        return [
            arrival
            for rows, other in zip(BATCHES, others, strict=True)
            for arrival in ((LEFT, rows), (RIGHT, other))
        ]


class TestFullOfStreams(StreamsSuite):
    """Rows of both are kept, and which have met."""

    options: ClassVar = {"type": "full", "within": "5s", "leftTime": "t", "rightTime": "t"}


class TestSemiOfStreams(StreamsSuite):
    """A row that has gone out is not kept as one that has not."""

    options: ClassVar = {"type": "semi", "within": "5s", "leftTime": "t", "rightTime": "t"}


class TestAntiOfStreams(StreamsSuite):
    """A row that has met is kept from going out."""

    options: ClassVar = {"type": "anti", "within": "5s", "leftTime": "t", "rightTime": "t"}
