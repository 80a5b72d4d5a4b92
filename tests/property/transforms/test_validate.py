"""``validate`` refuses the rows that DuckDB's conditions refuse, for each of its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.connect import Output
from dataflow.connect.transform import ERROR, ORDINAL
from dataflow.transforms.validate_spec import SPEC
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.rig import opened

NUMBER = {"type": "int16", "min": -40, "max": 32_000, "nullable": False}
TEXT = {"pattern": "^a+b?$", "lengthMax": 3, "enum": ["a", "ab", "aab", "aaaab", "x"]}
SOUND = """
    SELECT s AS n, t FROM (SELECT try_cast(n AS smallint) AS s, n, t FROM given)
    WHERE n IS NOT NULL AND s IS NOT NULL AND s = n AND s BETWEEN -40 AND 32000
      AND (t IS NULL OR (regexp_matches(t, '^a+b?$') AND length(t) <= 3
                         AND t IN ('a', 'ab', 'aab', 'aaaab', 'x')))
"""
NUMBERS = st.none() | st.sampled_from([0.0, -40.0, -41.0, 0.5, 32_000.0, 32_001.0, 1e9, -0.0])
TEXTS = st.none() | st.sampled_from(["", "a", "ab", "aab", "aaaab", "x", "éa"])


def reasons(outputs: Sequence[Output]) -> Mapping[int, str]:
    """Return why rows were refused, by their numbers."""
    refused = [output.rejected for output in outputs if output.rejected is not None]
    return {row[ORDINAL]: row[ERROR] for batch in refused for row in batch.to_pylist()}


@settings(max_examples=25)
@given(st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=12), st.integers(1, 5))
def test_any_rows_pass_or_not_as_conditions_say(records: list[tuple[Any, Any]], rows: int) -> None:
    """Floats that must be whole and small, and texts under three rules at once."""
    table = pa.table(
        {
            "n": pa.array([number for number, _ in records], pa.float64()),
            "t": pa.array([text for _, text in records], pa.string()),
        }
    )
    step = opened(SPEC, {"columns": {"n": NUMBER, "t": TEXT}})
    outputs = [step.apply(batch) for batch in in_batches(table, rows)]
    assert_same_rows(rows_of(outputs), asked(SOUND, given=table))
    for number, reason in reasons(outputs).items():
        value, text = records[number]
        assert ("n is NULL" in reason) == (value is None)
        assert ("is more than 32000" in reason) == (value == 32_001)
        assert ("is longer than 3" in reason) == (len(text or "") > 3)
        assert ("is none of" in reason) == (text in {"", "éa"})


def test_the_flights_that_fit_are_those_that_where_keeps(nyc: Flights) -> None:
    """Real gaps and extremes; the reasons are counted too."""
    columns = {
        "arr_delay": {"type": "int16", "nullable": False, "max": 600},
        "air_time": {"type": "float32", "min": 30},
        "tailnum": {"pattern": "^N[0-9]", "lengthMin": 6},
        "carrier": {"enum": ["UA", "AA", "DL", "B6", "EV"]},
    }
    flights = nyc.flights.select(list(columns))
    step = opened(SPEC, {"columns": columns})
    outputs = [step.apply(batch) for batch in in_batches(flights, 50_000)]
    broken = {
        "arr_delay is NULL": "arr_delay IS NULL",
        "is more than 600": "arr_delay > 600",
        "is less than 30": "air_time < 30",
        "does not match": "NOT regexp_matches(tailnum, '^N[0-9]')",
        "is shorter than 6": "length(tailnum) < 6",
        "is none of": "carrier NOT IN ('UA', 'AA', 'DL', 'B6', 'EV')",
    }
    fits = " AND ".join(f"({condition}) IS NOT TRUE" for condition in broken.values())
    sound = f"SELECT * FROM flights WHERE {fits}"  # noqa: S608 - texts of this test
    assert_same_rows(rows_of(outputs), asked(sound, flights=flights))
    told = pa.table({"reason": list(reasons(outputs).values())})
    for words, condition in broken.items():
        count = f"SELECT count(*) AS n FROM flights WHERE {condition}"  # noqa: S608 - texts of this test
        counted = f"SELECT count(*) AS n FROM told WHERE contains(reason, '{words}')"  # noqa: S608 - texts of this test
        assert asked(counted, told=told) == asked(count, flights=flights)
