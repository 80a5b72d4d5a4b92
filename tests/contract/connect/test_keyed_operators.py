"""The operators that remember keys pass the suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa

from dataflow.connect import Operator
from dataflow.connect.testkit import OperatorSuite
from dataflow.connect.transform import ORDINAL
from dataflow.transforms.deduplicate_spec import SPEC as DEDUPLICATE
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
