"""``aggregate`` makes the groups that DuckDB's GROUP BY makes, whole and by windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.transforms.aggregate import memory
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches
from tests.unit.transforms.aggregating import Life, times

CALLS = (
    "count()",
    "count(a)",
    "sum(a)",
    "min(a)",
    "max(a)",
    "min(f)",
    "max(f)",
    "min(s)",
    "max(s)",
)
IN_ORDER = ("first(a)", "last(a)")
SQL = {"count()": "count(*)", "first(a)": "first(a ORDER BY i)", "last(a)": "last(a ORDER BY i)"}


def lived(options: Mapping[str, Any], table: pa.Table, rows: int, told: int = 0) -> pa.Table:
    """Return what comes out; the step dies after every so many batches, and goes on."""
    parts: list[bytes] = []
    life = Life(options)
    done: list[pa.RecordBatch] = []
    for number, each in enumerate(in_batches(table, rows), start=1):
        life.take(each)
        if told and number % told == 0:
            change = life.step.changes(whole=number % (2 * told) == 0)
            parts = [] if number % (2 * told) == 0 else parts
            parts += [change] if change is not None else []
            done += life.batches.get("", [])
            life = Life(options, parts=parts)
    life.end()
    return pa.Table.from_batches([*done, *life.batches.get("", [])])


def test_the_flights_of_each_route_and_carrier(nyc: Flights) -> None:
    """Real numbers with NULLs, in batches, with a crash after each third."""
    options = {
        "groupBy": ["origin", "dest", "carrier"],
        "aggregates": {
            "n": "count()",
            "arrived": "count(arr_delay)",
            "total": "sum(arr_delay)",
            "miles": "sum(distance * 2)",
            "mean": "avg(arr_delay)",
            "best": "min(arr_delay)",
            "worst": "max(dep_delay + arr_delay)",
            "plane": "max(tailnum)",
        },
    }
    sql = """SELECT origin, dest, carrier, count(*) AS n, count(arr_delay) AS arrived,
        sum(arr_delay)::BIGINT AS total, sum(distance * 2)::BIGINT AS miles, avg(arr_delay) AS mean,
        min(arr_delay) AS best, max(dep_delay + arr_delay) AS worst, max(tailnum) AS plane
        FROM flights GROUP BY ALL"""
    found = lived(options, nyc.flights, 20_000, told=3)
    assert_same_rows(found, asked(sql, flights=nyc.flights))


@pytest.mark.parametrize("slide", ["1h", "30m"])
def test_the_flights_of_each_hour(nyc: Flights, slide: str) -> None:
    """Windows of event time over rows that are not in its order."""
    options = {
        "groupBy": ["origin"],
        "aggregates": {"n": "count()", "late": "sum(dep_delay > 15)"},
        "window": {
            "type": "sliding",
            "size": "1h",
            "slide": slide,
            "timeColumn": "time_hour",
            "allowedLateness": "400d",
        },
    }
    steps = 60 if slide == "1h" else 30
    sql = f"""WITH panes AS (SELECT *, unnest(range(0, 60, {steps})) AS back FROM flights)
        SELECT origin, w AS "windowStart", w + INTERVAL 1 HOUR AS "windowEnd", count(*) AS n,
            sum((dep_delay > 15)::INT)::BIGINT AS late
        FROM (SELECT *, time_hour - to_minutes(back) AS w FROM panes) GROUP BY ALL"""  # noqa: S608 - a number of this test
    flights = nyc.flights.select(["origin", "dep_delay", "time_hour"]).slice(0, 60_000)
    assert_same_rows(lived(options, flights, 9_000, told=2), asked(sql, flights=flights))


KEYS = st.none() | st.sampled_from(["x", "y", ""])
WHOLE = st.none() | st.integers(-(2**40), 2**40)
FLOATS = st.none() | st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf"), -2.0])
SECONDS = st.integers(0, 90)
ROWS = st.lists(st.tuples(KEYS, WHOLE, FLOATS, SECONDS), min_size=1, max_size=40)


def table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Return rows as a table, with their order."""
    return pa.table(
        {
            "k": pa.array([row[0] for row in rows], pa.string()),
            "a": pa.array([row[1] for row in rows], pa.int64()),
            "f": pa.array([row[2] for row in rows], pa.float64()),
            "s": pa.array([row[0] for row in rows], pa.string()),
            "t": times(*(row[3] for row in rows)),
            "i": list(range(len(rows))),
        }
    )


def columns(calls: Sequence[str]) -> str:
    """Return the calls as DuckDB writes them, by the names that options give them."""
    named = (f'{SQL.get(call, call)} AS "{call}"' for call in calls)
    return ", ".join(named)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, size=st.integers(1, 9), buffer=st.integers(1, 12), told=st.integers(0, 3))
def test_random_groups_are_those_of_group_by(
    rows: list[tuple[Any, ...]], size: int, buffer: int, told: int
) -> None:
    """Whatever the batches, the merges and the crashes between them."""
    given = table(rows)
    calls = CALLS + IN_ORDER
    options = {"groupBy": ["k", "f"], "aggregates": {call: call for call in calls}}
    sql = f"SELECT k, f, {columns(calls)} FROM given GROUP BY k, f"  # noqa: S608 - texts of this test
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "BUFFER_ROWS", buffer)
        found = lived(options, given, size, told)
    assert_same_rows(found, _plain(asked(sql, given=given)))


SLIDING = "SELECT *, unnest([0, 5]) AS back FROM given"


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, size=st.integers(1, 9), told=st.integers(0, 3))
def test_random_sliding_windows_are_those_of_group_by(
    rows: list[tuple[Any, ...]], size: int, told: int
) -> None:
    """A row is once in each window that spans it; nothing is late, for it may be by all of it."""
    given = table(rows)
    calls = CALLS + IN_ORDER
    window = {"type": "sliding", "size": "10s", "slide": "5s", "timeColumn": "t"}
    options = {
        "groupBy": ["k"],
        "aggregates": {call: call for call in calls},
        "window": window | {"outOfOrder": "90s"},
    }
    pane = "t - to_microseconds(epoch_us(t) % 5000000) - to_seconds(back)"
    sql = f"""SELECT k, {pane} AS "windowStart", {pane} + to_seconds(10) AS "windowEnd",
        {columns(calls)} FROM ({SLIDING}) GROUP BY ALL"""  # noqa: S608 - texts of this test
    assert_same_rows(lived(options, given, size, told), _plain(asked(sql, given=given)))


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, size=st.integers(1, 9), buffer=st.integers(1, 12), told=st.integers(0, 3))
def test_random_sessions_are_those_of_a_window_function(
    rows: list[tuple[Any, ...]], size: int, buffer: int, told: int
) -> None:
    """Which DuckDB needs two of: where a session begins, and how many began before."""
    given = table(rows)
    calls = CALLS + IN_ORDER
    window = {"type": "session", "gap": "5s", "timeColumn": "t", "outOfOrder": "90s"}
    options = {"groupBy": ["k"], "aggregates": {call: call for call in calls}, "window": window}
    sql = f"""
        WITH begun AS (SELECT *, t - lag(t) OVER (PARTITION BY k ORDER BY t) < to_seconds(5) AS on_
            FROM given),
        numbered AS (SELECT *, count(*) FILTER (on_ IS NOT TRUE)
            OVER (PARTITION BY k ORDER BY t) AS session FROM begun)
        SELECT k, min(t) AS "windowStart", max(t) + to_seconds(5) AS "windowEnd", {columns(calls)}
        FROM numbered GROUP BY k, session"""  # noqa: S608 - texts of this test
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "BUFFER_ROWS", buffer)
        found = lived(options, given, size, told)
    assert_same_rows(found, _plain(asked(sql, given=given)))


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, size=st.integers(1, 9), told=st.integers(0, 3), lateness=st.integers(0, 30))
def test_every_row_is_in_its_window_or_late(
    rows: list[tuple[Any, ...]], size: int, told: int, lateness: int
) -> None:
    """Whatever closes when: each window comes out once, and nothing is lost or counted twice."""
    given = table(rows)
    window = {"type": "tumbling", "size": "10s", "timeColumn": "t"}
    options = {
        "aggregates": {"n": "count()"},
        "window": window | {"allowedLateness": f"{lateness}s"},
    }
    life = Life(options)
    parts: list[bytes] = []
    results: list[Any] = []
    late = 0
    for number, each in enumerate(in_batches(given, size), start=1):
        results += life.take(each)
        if told and number % told == 0:
            change = life.step.changes(whole=False)
            parts += [change] if change is not None else []
            late += len(life.rows("late"))
            life = Life(options, parts=parts)
    results += life.end()
    late += len(life.rows("late"))
    starts = [row["windowStart"] for row in results]
    assert len(starts) == len(set(starts))
    assert sum(row["n"] for row in results) + late == len(rows)


def _plain(answer: pa.Table) -> pa.Table:
    """Return sums as int64, where DuckDB has 128 bits."""
    fields = [
        field.with_type(pa.int64()) if pa.types.is_decimal(field.type) else field
        for field in answer.schema
    ]
    return answer.cast(pa.schema(fields))
