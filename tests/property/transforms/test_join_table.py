"""A stream joined with a table, beside DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.connect import Operator, Output, Via
from dataflow.transforms import slices
from dataflow.transforms.join_spec import SPEC
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.operators import multiset, operator, with_more

TYPES = ["inner", "left", "right", "full", "semi", "anti"]
KEYS = st.tuples(st.sampled_from(["a", "b", "", None]), st.sampled_from([0.0, -0.0, 1.5, None]))


def joined(
    step: Operator, left: Sequence[pa.RecordBatch], right: Sequence[pa.RecordBatch]
) -> pa.Table:
    """Return all that comes out, the table read first."""
    sides = {"left": left, "right": right}
    (table,) = step.first
    found: list[Output] = []
    for name in (table, "left" if table == "right" else "right"):
        step.splits(name, ["s"], idles=False)
        found += [with_more(step, step.apply(each, Via(name, "s"))) for each in sides[name]]
        found += [with_more(step, step.split_ended(Via(name, "s")))]
        found += [with_more(step, step.input_ended(name))]
    return rows_of(found) if any(output.batches for output in found) else pa.table({})


@pytest.mark.parametrize("kind", TYPES)
def test_flights_join_planes_as_sql_joins_them(nyc: Flights, kind: str) -> None:
    """By a key that is NULL in some flights and unknown in others; both sides have a year."""
    flights = nyc.flights.slice(0, 60_000)
    step = operator(
        SPEC, {"type": kind, "leftKeys": ["tailnum"], "rightKeys": ["tailnum"]}, ["left", "right"]
    )
    found = joined(step, in_batches(flights, 25_000), in_batches(nyc.planes, 1_000))
    if kind in {"semi", "anti"}:
        sql = f"SELECT * FROM flights f {kind} JOIN planes USING (tailnum)"  # noqa: S608 - a text of this test
    else:
        sql = (
            "SELECT f.* REPLACE (coalesce(f.tailnum, p.tailnum) AS tailnum),"  # noqa: S608 - as above
            " p.year AS year_right, p.* EXCLUDE (tailnum, year)"
            f" FROM flights f {kind} JOIN planes p USING (tailnum)"
        )
    assert_same_rows(found, asked(sql, flights=flights, planes=nyc.planes))


def test_flights_join_the_weather_of_their_hour(nyc: Flights) -> None:
    """By two keys, of which one is a timestamp, and which some rows of the table share."""
    keys = ["origin", "time_hour"]
    step = operator(SPEC, {"leftKeys": keys, "rightKeys": keys}, ["left", "right"])
    flights = nyc.flights.slice(0, 40_000)
    found = joined(step, in_batches(flights, 15_000), in_batches(nyc.weather, 10_000))
    times = "year", "month", "day", "hour"
    shown = ", ".join(f"w.{name} AS {name}_right" for name in times)
    sql = (
        f"SELECT f.*, {shown}, w.* EXCLUDE (origin, time_hour, {', '.join(times)})"  # noqa: S608 - a text of this test
        " FROM flights f JOIN weather w USING (origin, time_hour)"
    )
    expected = asked(sql, flights=flights, weather=nyc.weather)
    names = expected.schema.names
    assert sorted(found.schema.names) == sorted(names)
    assert_same_rows(found.select(names), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TYPES),
    st.sampled_from(["left", "right"]),
    st.lists(st.lists(KEYS, max_size=8), min_size=1, max_size=3),
    st.lists(st.lists(KEYS, max_size=8), min_size=1, max_size=3),
)
def test_any_two_inputs_join_as_sql_joins_them(
    kind: str, table: str, left: list[list[Any]], right: list[list[Any]]
) -> None:
    """Each kind, either side the table; NULL equals nothing, and pairs multiply."""
    if kind in {"semi", "anti"}:
        table = "right"
    options = {"type": kind, "table": table, "leftKeys": ["k", "f"], "rightKeys": ["k", "g"]}
    step = operator(SPEC, options, ["left", "right"])
    lefts, rights = _batches(left, "f", "n"), _batches(right, "g", "m")
    found = joined(step, lefts, rights)
    on = "ON l.k = r.k AND l.f = r.g"
    shown = "l.*" if kind in {"semi", "anti"} else "coalesce(l.k, r.k) AS k, l.f, l.n, r.g, r.m"
    sql = f"SELECT {shown} FROM l {kind} JOIN r {on}"  # noqa: S608 - a text of this test
    expected = asked(sql, l=pa.Table.from_batches(lefts), r=pa.Table.from_batches(rights))
    assert multiset(found) == multiset(expected)


def _batches(given: list[list[Any]], second: str, number: str) -> list[pa.RecordBatch]:
    made, first = [], 0
    for keys in given:
        numbers = range(first, first + len(keys))
        first += len(keys)
        columns = {
            "k": pa.array([key for key, _ in keys], pa.string()),
            second: pa.array([key for _, key in keys], pa.float64()),
            number: pa.array(numbers, pa.int64()),
        }
        made.append(pa.record_batch(columns))
    return made


def test_one_batch_with_very_many_partners_comes_out_in_slices() -> None:
    """A million pairs are never there at once."""
    step = operator(SPEC, {"leftKeys": ["k"], "rightKeys": ["k"]}, ["left", "right"])
    step.apply(pa.record_batch({"k": [1] * 1000, "m": range(1000)}), Via("right", "s"))
    step.input_ended("right")
    output = step.apply(pa.record_batch({"k": [1] * 1000, "n": range(1000)}), Via("left", "s"))
    sizes = [output.batches[""].num_rows]
    while (more := step.rest()) is not None:
        sizes.append(more.batches[""].num_rows)
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 2 * slices.SLICE_ROWS
