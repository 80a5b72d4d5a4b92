"""JSON lines: however many rows are written at once, a row is written the same."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dataflow.connectors.formats.encode import FEW_ROWS, Json
from dataflow.connectors.formats.values import frame_of, json_values

NUMBERS = st.floats(allow_subnormal=True)
TYPES: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]] = st.sampled_from(
    [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float64(), NUMBERS),
        (pa.float32(), st.floats(width=32)),
        (pa.bool_(), st.booleans()),
        (pa.string(), st.text(st.characters(exclude_categories=["Cs"]))),
        (pa.date32(), st.dates()),
        (pa.time64("us"), st.times()),
        (pa.timestamp("us", "UTC"), st.integers(-(6 * 10**16), 10**17) | st.just(10**18)),
        (pa.timestamp("us"), st.integers(-(6 * 10**16), 10**17) | st.sampled_from([0, -1, 10**6])),
        (pa.large_string(), st.text('a"\\\x00☃', max_size=3)),
        (pa.timestamp("ns", "Europe/Berlin"), st.integers(-(10**18), 10**18)),
        (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4)),
        (pa.list_(pa.float64()), st.lists(NUMBERS, max_size=3)),
        (
            pa.struct([("x", pa.string()), ("y", pa.list_(pa.int8()))]),
            st.fixed_dictionaries({"x": st.text('a"\\\n☃', max_size=3), "y": st.just([1, None])}),
        ),
    ]
)


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Return a batch of a few rows and columns, with nulls."""
    rows = draw(st.integers(1, 4))
    columns = {}
    for number in range(draw(st.integers(1, 4))):
        kind, values = draw(TYPES)
        cells = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        name = draw(st.sampled_from([f"c{number}"] * 9 + [""]))
        columns[name] = pa.array(cells, kind)
    return pa.record_batch(columns)


@given(batches())
def test_a_few_rows_are_written_as_many_are(batch: pa.RecordBatch) -> None:
    """Two ways through polars: the one is quick for a row, the other for a hundred thousand."""
    out = io.BytesIO()
    json_values(frame_of(batch, "json")).write_ndjson(out)
    encoder = Json()
    first, second = (bytes(encoder.rows(batch)) for _ in range(2))
    assert (first, second) == (out.getvalue(), out.getvalue())
    assert batch.num_rows <= FEW_ROWS
