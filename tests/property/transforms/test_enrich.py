"""``enrich`` beside DuckDB: what a left join gives with a table in which keys are unique."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

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
