"""Transforms over real tables give the rows that DuckDB gives."""

from __future__ import annotations

from dataflow.transforms.filter_spec import SPEC as FILTER
from dataflow.transforms.map_spec import SPEC as MAP
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.rig import opened

BATCH_ROWS = 50_000


def test_a_filter_keeps_the_flights_that_where_keeps(nyc: Flights) -> None:
    """With columns that hold NULL, which neither a condition nor its opposite keeps."""
    where = "arr_delay > 30 AND NOT (carrier = 'UA' OR air_time < 60)"
    step = opened(FILTER, {"expression": where})
    found = rows_of(step.apply(batch) for batch in in_batches(nyc.flights, BATCH_ROWS))
    expected = asked(f"SELECT * FROM flights WHERE {where}", flights=nyc.flights)  # noqa: S608 - a text of this test
    assert_same_rows(found, expected)


def test_a_map_computes_what_select_computes(nyc: Flights) -> None:
    """Renamed, computed from two columns, cast, and constant."""
    step = opened(
        MAP,
        {
            "compute": {"speed": "distance / (air_time / 60.0)"},
            "rename": {"arr_delay": "delay"},
            "cast": {"flight": "string"},
            "constants": {"city": "New York"},
            "keep": ["time_hour", "flight", "delay", "speed", "city"],
        },
    )
    found = rows_of(step.apply(batch) for batch in in_batches(nyc.flights, BATCH_ROWS))
    expected = asked(
        "SELECT time_hour, flight::varchar AS flight, arr_delay AS delay,"
        " distance / (air_time / 60.0)::double AS speed, 'New York' AS city FROM flights",
        flights=nyc.flights,
    )
    assert_same_rows(found, expected)
