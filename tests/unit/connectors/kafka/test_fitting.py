"""Columns as another schema has them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflow.connectors.kafka.registry.fitting import fit

PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.int64())]))
MAP = pa.map_(pa.string(), pa.int64())


@pytest.mark.parametrize(
    ("column", "to", "expected"),
    [
        (pa.array([1, None], pa.int8()), pa.int64(), [1, None]),
        (pa.array([1.0, 2.0]), pa.int32(), [1, 2]),
        (pa.array(["a", None]).dictionary_encode(), pa.string(), ["a", None]),
        (pa.array([{"a": 1, "b": 2}, None]), pa.struct([("b", pa.int32())]), [{"b": 2}, None]),
        (pa.array([[1, None], None]), pa.list_(pa.int32()), [[1, None], None]),
        (pa.array([[1], [2]], pa.list_(pa.int8(), 1)), pa.list_(pa.int64()), [[1], [2]]),
        (pa.array([[("k", 1)], None], MAP), PAIRS, [[{"key": "k", "value": 1}], None]),
        (pa.array([[{"key": "k", "value": 1}], None], PAIRS), MAP, [[("k", 1)], []]),
        (pa.nulls(2), pa.string(), [None, None]),
    ],
)
def test_values_are_the_same_in_another_type(
    column: pa.Array[pa.Scalar[pa.DataType]], to: pa.DataType, expected: list[object]
) -> None:
    """A slice of a batch as well as a whole one."""
    batch = pa.record_batch({"c": column})
    schema = pa.schema([("c", to)])
    assert fit(batch, schema).batch.column("c").to_pylist() == expected
    assert fit(batch.slice(1), schema).batch.column("c").to_pylist() == expected[1:]


def test_a_value_within_a_list_is_its_own_rows_fault() -> None:
    """The items of all rows lie behind one another."""
    batch = pa.record_batch({"c": [[1], [1 << 40], [3]]})
    fitted = fit(batch, pa.schema([("c", pa.list_(pa.int32()))]))
    assert fitted.batch.column("c").to_pylist() == [[1], [3]]
    assert list(fitted.wrong) == [1]


def test_a_type_that_holds_other_values_fits_no_row() -> None:
    """A text is no number, even where it looks like one; a local time is no moment."""
    batch = pa.record_batch({"c": ["1", "2"]})
    fitted = fit(batch, pa.schema([("c", pa.int64())]))
    assert fitted.batch.num_rows == 0
    assert fitted.wrong[1] == "field 'c': expected int64, found string"
    local = pa.record_batch({"c": pa.array([0], pa.timestamp("us"))})
    assert fit(local, pa.schema([("c", pa.timestamp("us", "UTC"))])).wrong
