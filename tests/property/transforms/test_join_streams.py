"""Two streams joined, beside DuckDB."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.connect import Operator, Output, Via
from dataflow.transforms.join_spec import SPEC
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, rows_of
from tests.unit.transforms.operators import multiset, operator, with_more

TYPES = ["inner", "left", "right", "full", "semi", "anti"]
NAMES = ("left", "right")


class History(NamedTuple):
    """Options, and batches of keys and seconds by the side on which each comes."""

    options: dict[str, Any]
    arrivals: list[tuple[str, list[tuple[str | None, int]]]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw rows of which none is late: in order of time, or with event time far behind."""
    rows = st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 40))
    drawn = draw(
        st.lists(st.tuples(st.sampled_from(NAMES), st.lists(rows, max_size=10)), max_size=6)
    )
    options = {
        "type": draw(st.sampled_from(TYPES)),
        "within": f"{draw(st.integers(0, 8))}s",
        "leftKeys": ["k"],
        "rightKeys": ["k"],
        "leftTime": "t",
        "rightTime": "u",
    }
    arrivals = [("left", []), ("right", []), *drawn]
    if draw(st.booleans()):
        return History({**options, "outOfOrder": "100s"}, arrivals)
    in_order = {
        name: iter(sorted(second for side, some in drawn for _, second in some if side == name))
        for name in NAMES
    }
    arrivals = [(side, [(key, next(in_order[side])) for key, _ in some]) for side, some in arrivals]
    return History(options, arrivals)


@settings(max_examples=80, deadline=None)
@given(histories(), st.integers(0, 7))
def test_any_two_streams_join_as_sql_joins_them(history: History, restored_at: int) -> None:
    """Each kind, rows in any order, interrupted once between two batches."""
    options, arrivals = history
    batches = list(_batches(arrivals))
    step, parts, found = operator(SPEC, options, NAMES), list[bytes](), list[Output]()
    _begin(step)
    for at, (name, batch) in enumerate(batches):
        found.append(with_more(step, step.apply(batch, Via(name, f"{name} split"))))
        told = step.changes(whole=not parts)
        parts += [told] if told is not None else []
        if at == restored_at:
            step = operator(SPEC, options, NAMES)
            if parts:
                step.restore(parts)
            _begin(step)
    found += [with_more(step, step.input_ended(name)) for name in NAMES]
    within = options["within"][:-1]
    kind = options["type"]
    shown = "l.*" if kind in {"semi", "anti"} else "coalesce(l.k, r.k) AS k, l.t, l.n, r.u, r.m"
    sql = (
        f"SELECT {shown} FROM l {kind} JOIN r ON l.k = r.k AND r.u"  # noqa: S608 - a text of this test
        f" BETWEEN l.t - INTERVAL {within} SECOND AND l.t + INTERVAL {within} SECOND"
    )
    sides = {
        name: pa.Table.from_batches([batch for side, batch in batches if side == name])
        for name in NAMES
    }
    expected = asked(sql, l=sides["left"], r=sides["right"])
    rows = rows_of(found) if any(output.batches for output in found) else pa.table({})
    assert multiset(rows) == multiset(expected)
    assert step.state_bytes < 1 << 20


def _begin(step: Operator) -> None:
    for name in NAMES:
        step.splits(name, [f"{name} split"], idles=False)


def _batches(
    arrivals: list[tuple[str, list[tuple[str | None, int]]]],
) -> list[tuple[str, pa.RecordBatch]]:
    made = []
    for at, (name, rows) in enumerate(arrivals):
        time, number = ("t", "n") if name == "left" else ("u", "m")
        columns = {
            "k": pa.array([key for key, _ in rows], pa.string()),
            time: pa.array([second for _, second in rows], pa.timestamp("s")).cast(
                pa.timestamp("us")
            ),
            number: pa.array([100 * at + offset for offset in range(len(rows))], pa.int64()),
        }
        made.append((name, pa.record_batch(columns)))
    return made


def test_flights_join_the_weather_of_the_hours_around_them(nyc: Flights) -> None:
    """Two streams in order of time; what was met is forgotten as time goes on."""
    columns = ["origin", "time_hour", "flight", "dep_time"]
    flights = nyc.flights.select(columns).sort_by("time_hour").slice(0, 20_000)
    weather = nyc.weather.select(["origin", "time_hour", "temp"]).sort_by("time_hour")
    weather = weather.slice(0, 2_000).rename_columns(["origin", "hour", "temp"])
    options = {
        "type": "left",
        "within": "2h",
        "leftKeys": ["origin"],
        "rightKeys": ["origin"],
        "leftTime": "time_hour",
        "rightTime": "hour",
    }
    step = operator(SPEC, options, NAMES)
    _begin(step)
    found: list[Output] = []
    most = 0
    for left, right in zip(
        flights.combine_chunks().to_batches(5_000),
        weather.combine_chunks().to_batches(500),
        strict=True,
    ):
        for name, batch in (("left", left), ("right", right)):
            found.append(with_more(step, step.apply(batch, Via(name, f"{name} split"))))
            most = max(most, step.state_bytes)
    found += [with_more(step, step.input_ended(name)) for name in NAMES]
    sql = (
        "SELECT l.*, r.hour, r.temp FROM l LEFT JOIN r ON l.origin = r.origin"
        " AND r.hour BETWEEN l.time_hour - INTERVAL 2 HOUR AND l.time_hour + INTERVAL 2 HOUR"
    )
    expected = asked(sql, l=flights, r=weather)
    assert_same_rows(rows_of(found), expected)
    assert most < 8 << 20
