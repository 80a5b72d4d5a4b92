"""``flatMap`` makes the rows that DuckDB's UNNEST makes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.transforms.flat_map_spec import SPEC
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.rig import opened

TEXTS = st.text(st.sampled_from("ab,;é "), max_size=6)
RECORDS = st.lists(
    st.tuples(
        st.none() | st.integers(-9, 9),
        st.none() | st.lists(st.none() | st.floats(width=32), max_size=4),
        st.none() | TEXTS,
    ),
    min_size=1,
    max_size=12,
)
SPLIT = "string_split(nullif(t, ''), '{}')"
OUTER = "CASE WHEN len({0}) > 0 THEN {0} ELSE [NULL] END"


def table(records: list[tuple[Any, Any, Any]]) -> pa.Table:
    """Return records as columns: a number, a list, a text."""
    types = (pa.int64(), pa.list_(pa.float32()), pa.string())
    columns = [
        pa.array(column, of) for column, of in zip(zip(*records, strict=True), types, strict=True)
    ]
    return pa.Table.from_arrays(columns, names=["n", "l", "t"])


@settings(max_examples=25)
@given(
    RECORDS, st.integers(1, 5), st.sampled_from(["drop", "null"]), st.sampled_from(["", ",", ", "])
)
def test_any_lists_and_texts_give_the_rows_of_unnest(
    records: list[tuple[Any, Any, Any]], rows: int, empty: str, delimiter: str
) -> None:
    """In batches of any size, with records that have no items."""
    options: dict[str, Any] = {"column": "l", "into": "item", "keep": ["n"], "empty": empty}
    if delimiter:
        options |= {"column": "t", "delimiter": delimiter}
    step, every = opened(SPEC, options), table(records)
    found = rows_of(step.apply(batch) for batch in in_batches(every, rows))
    items = SPLIT.format(delimiter) if delimiter else "l"
    items = OUTER.format(items) if empty == "null" else items
    expected = asked(f"SELECT n, unnest({items}) AS item FROM given", given=every)  # noqa: S608 - texts of this test
    assert_same_rows(found.select(["n", "item"]), expected)


@pytest.mark.parametrize("rows", [700, 100_000])
def test_the_flights_of_each_plane_come_apart_again(nyc: Flights, rows: int) -> None:
    """336,776 items in the lists of 4,044 planes, one of them NULL."""
    gathered = "SELECT tailnum, list(dest) AS dests FROM flights GROUP BY tailnum"
    planes = asked(gathered, flights=nyc.flights)
    step = opened(SPEC, {"column": "dests", "into": "dest"})
    found = rows_of(step.apply(batch) for batch in in_batches(planes, rows))
    assert_same_rows(found, nyc.flights.select(["tailnum", "dest"]))


def test_the_words_of_the_names_of_airports_are_those_that_duckdb_splits(nyc: Flights) -> None:
    """Real texts, with a column of their own beside them."""
    step = opened(SPEC, {"column": "name", "delimiter": " ", "into": "word", "keep": ["faa"]})
    found = rows_of(step.apply(batch) for batch in in_batches(nyc.airports, 500))
    words = "SELECT faa, unnest(string_split(name, ' ')) AS word FROM airports"
    assert_same_rows(found, asked(words, airports=nyc.airports))
