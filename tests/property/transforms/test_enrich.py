"""``enrich`` beside DuckDB: what a left join gives with a table in which keys are unique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.app.builtin import registry
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.rig import opened

COLUMNS = {"manufacturer": "string", "seats": "int32", "speed": "float64"}


def test_flights_are_enriched_as_sql_joins_their_planes(nyc: Flights, tmp_path: Path) -> None:
    """Some flights have no plane, and some planes are not there; half of them lack a speed."""
    path = tmp_path / "planes.csv"
    pl.DataFrame(nyc.planes).write_csv(path)
    flights = nyc.flights.slice(0, 60_000)
    options: dict[str, Any] = {
        "keys": ["tailnum"],
        "columns": COLUMNS,
        "lookup": {"type": "file", "path": str(path)},
    }
    step = opened(registry().transform("enrich"), options)
    found = rows_of(step.apply(batch) for batch in in_batches(flights, 25_000))
    expected = asked(
        "SELECT f.*, p.manufacturer, p.seats, p.speed FROM flights f LEFT JOIN planes p"
        " USING (tailnum)",
        flights=flights,
        planes=nyc.planes,
    )
    assert_same_rows(found, expected)


KEYS = st.one_of(st.none(), st.integers(-3, 6))
WORTH = st.one_of(st.none(), st.sampled_from([0.0, -1.5, 2.5]))


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(KEYS, min_size=1, max_size=40),
    table=st.dictionaries(st.integers(-3, 6), WORTH, min_size=1),
    missing=st.sampled_from(["null", "drop"]),
    size=st.integers(1, 40),
)
def test_random_keys_are_looked_up_as_sql_joins_them(
    keys: Sequence[int | None], table: Mapping[int, float | None], missing: str, size: int
) -> None:
    """Keys that are NULL, that come again and that nobody knows; values that are NULL."""
    rows = pa.table({"k": pa.array(keys, pa.int64()), "n": range(len(keys))})
    known = pl.DataFrame(
        {"k": list(table), "worth": list(table.values())}, {"k": pl.Int64, "worth": pl.Float64}
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "known.csv"
        known.write_csv(path)
        options: dict[str, Any] = {
            "keys": ["k"],
            "columns": {"worth": "float64"},
            "missing": missing,
            "lookup": {"type": "file", "path": str(path)},
        }
        step = opened(registry().transform("enrich"), options)
        found = rows_of(step.apply(batch) for batch in in_batches(rows, size))
    kind = "LEFT" if missing == "null" else "INNER"
    sql = f"SELECT r.*, t.worth FROM rows r {kind} JOIN known t USING (k)"  # noqa: S608 - a text of this test
    assert_same_rows(found, asked(sql, rows=rows, known=known.to_arrow()))
