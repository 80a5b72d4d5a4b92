"""The built-in transforms pass the suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pyarrow as pa
import pytest

from dataflow.connect import Transform
from dataflow.connect.testkit import TransformSuite
from dataflow.connect.transform import ORDINAL
from dataflow.transforms.filter_spec import SPEC as FILTER
from dataflow.transforms.flat_map_spec import SPEC as FLAT_MAP
from dataflow.transforms.map_spec import SPEC as MAP
from dataflow.transforms.route_spec import SPEC as ROUTE
from dataflow.transforms.validate_spec import SPEC as VALIDATE
from tests.integration.transforms.python.rig import step as python_step
from tests.unit.transforms.rig import opened

BATCHES = [
    pa.record_batch({"a": ["1", "x", None, "-4"], "b": [1, 2, 3, None], ORDINAL: [0, 1, 2, 3]}),
    pa.record_batch({"a": ["y", "5"], "b": [4, 5], ORDINAL: [4, 5]}),
    pa.record_batch({"a": ["7"], "b": [6], ORDINAL: [6]}),
]


class TestFilter(TransformSuite):
    """Rows pass, are filtered, are NULL, and have no value."""

    def transform(self) -> Transform:
        return opened(FILTER, {"expression": "CAST(a AS int) > 0"})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return BATCHES


class TestMap(TransformSuite):
    """Columns of every origin, and rows that cannot be cast."""

    def transform(self) -> Transform:
        options = {
            "compute": {"c": "b * 2"},
            "rename": {"a": "n"},
            "cast": {"n": "int"},
            "constants": {"k": "x"},
            "keep": ["k", "c", "n"],
        }
        return opened(MAP, options)

    def batches(self) -> Sequence[pa.RecordBatch]:
        return BATCHES


class TestFlatMap(TransformSuite):
    """Records of one item, of several, of none, and of too many."""

    def transform(self) -> Transform:
        return opened(FLAT_MAP, {"column": "a", "delimiter": ",", "itemsMax": 2})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return [
            pa.record_batch({"a": ["1", "2,3", None, "4,5,6"], ORDINAL: [0, 1, 2, 3]}),
            pa.record_batch({"a": ["", "7,8"], ORDINAL: [4, 5]}),
        ]


class TestRoute(TransformSuite):
    """Rows for several outputs, for none, and without a value."""

    def transform(self) -> Transform:
        big = {"name": "big", "when": "CAST(a AS int) > 2"}
        routes = [big, {"name": "odd", "when": "b % 2 = 1"}]
        return opened(ROUTE, {"routes": routes, "mode": "every", "default": "rest"})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return BATCHES


class TestValidate(TransformSuite):
    """Rows that fit, that cannot be converted, and that break two rules; a column that is added."""

    def transform(self) -> Transform:
        asked = {
            "a": {"type": "int64", "min": 2},
            "b": {"required": True, "nullable": False},
            "c": {"type": "date"},
        }
        return opened(VALIDATE, {"columns": asked, "missing": "null"})

    def batches(self) -> Sequence[pa.RecordBatch]:
        return BATCHES


class TestPython(TransformSuite):
    """A function that drops rows, makes others, and raises for a whole batch."""

    @pytest.fixture(autouse=True)
    def processes(self) -> Iterator[None]:
        """End what a test has begun."""
        with ExitStack() as self.steps:
            yield

    def transform(self) -> Transform:
        return self.steps.enter_context(python_step("suited", rowNumber="row"))

    def batches(self) -> Sequence[pa.RecordBatch]:
        return BATCHES
