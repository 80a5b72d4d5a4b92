"""``route`` sends rows where DuckDB's WHERE would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.transforms.route_spec import SPEC
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.rig import opened

ROUTES = {
    "late": "arr_delay > 30 OR dep_delay > 60",
    "far": "distance >= 1000 AND carrier IN ('UA', 'AA', 'DL')",
    "dawn": "sched_dep_time < 600",
}
COLUMNS = ["arr_delay", "dep_delay", "distance", "carrier", "sched_dep_time"]


def expected(sql: Mapping[str, str], mode: str, *, source: str) -> Mapping[str, str]:
    """Return the question for each output, the default's last."""
    asked_so_far: list[str] = []
    questions = {}
    for name, when in sql.items():
        others = asked_so_far if mode == "first" else []
        questions[name] = _select(source, [f"({when}) IS TRUE", *others])
        asked_so_far.append(f"({when}) IS NOT TRUE")
    return {**questions, "rest": _select(source, asked_so_far)}


def _select(source: str, conditions: Sequence[str]) -> str:
    return f"SELECT * FROM {source} WHERE {' AND '.join(conditions)}"  # noqa: S608 - texts of this test


def options(routes: Mapping[str, str], mode: str) -> Mapping[str, object]:
    """Return a step with these routes, and a default."""
    listed = [{"name": name, "when": when} for name, when in routes.items()]
    return {"routes": listed, "default": "rest", "mode": mode}


@pytest.mark.parametrize("mode", ["first", "every"])
def test_the_flights_go_where_where_sends_them(nyc: Flights, mode: str) -> None:
    """With columns that hold NULL, for which no condition is true."""
    step = opened(SPEC, options(ROUTES, mode))
    flights = nyc.flights.select(COLUMNS)
    outputs = [step.apply(batch) for batch in in_batches(flights, 50_000)]
    for name, question in expected(ROUTES, mode, source="flights").items():
        assert_same_rows(rows_of(outputs, name), asked(question, flights=flights))


CONDITIONS = ("a > b", "a < 2", "b IS NULL", "a = b OR a > 3", "NOT (b < 0)", "NULL", "TRUE")
NUMBERS = st.none() | st.integers(-5, 5)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12),
    st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3),
    st.sampled_from(["first", "every"]),
)
def test_any_rows_go_where_where_sends_them(
    rows: list[tuple[int | None, int | None]], conditions: list[str], mode: str
) -> None:
    """Three-valued, in any order, in any mode."""
    of = pa.schema([("a", pa.int64()), ("b", pa.int64())])
    table = pa.Table.from_pylist([{"a": a, "b": b} for a, b in rows], schema=of)
    routes = {f"r{at}": condition for at, condition in enumerate(conditions)}
    step = opened(SPEC, options(routes, mode))
    outputs = [step.apply(batch) for batch in in_batches(table, 5)]
    for name, question in expected(routes, mode, source="given").items():
        assert_same_rows(rows_of(outputs, name), asked(question, given=table))
