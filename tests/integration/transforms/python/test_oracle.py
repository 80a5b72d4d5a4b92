"""A function of a user's beside DuckDB: the same rows, whichever library it uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.transforms.python.step import Python
from tests.flights import Flights
from tests.integration.transforms.python.rig import step
from tests.oracle import asked, assert_same_rows, in_batches, rows_of

FUNCTIONS = """
import polars as pl
import pyarrow.compute as pc

def in_arrow(batch):
    gain = pc.subtract(batch["dep_delay"], batch["arr_delay"])
    return batch.append_column("gain", gain).filter(pc.greater(gain, 0))

def in_polars(frame):
    gain = pl.col("dep_delay") - pl.col("arr_delay")
    return frame.with_columns(gain=gain).filter(gain > 0)
"""
SQL = "SELECT *, dep_delay - arr_delay AS gain FROM flights WHERE dep_delay - arr_delay > 0"

DELAYS = st.one_of(st.none(), st.integers(-(2**40), 2**40))


@pytest.fixture(scope="module", params=["arrow", "polars"])
def gaining(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Python]:
    """Return a step that keeps the rows which have made up for time, and says how much."""
    folder: Path = tmp_path_factory.mktemp("brought")
    (folder / "gaining.py").write_text(FUNCTIONS)
    with step(
        f"gaining:in_{request.param}", frame=request.param, pythonPath=[str(folder)]
    ) as python:
        yield python


def made(python: Python, flights: pa.Table, rows: int) -> pa.Table:
    """Return what the function makes of a table in batches."""
    return rows_of(python.apply(batch) for batch in in_batches(flights, rows))


def test_flights_that_made_up_for_time(nyc: Flights, gaining: Python) -> None:
    """Of those that have both delays, which not all have."""
    flights = nyc.flights.select(["dep_delay", "arr_delay"])
    assert_same_rows(made(gaining, flights, 50_000), asked(SQL, flights=flights))


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(DELAYS, DELAYS), min_size=1, max_size=30), size=st.integers(1, 30))
def test_random_rows(
    gaining: Python, rows: Sequence[tuple[int | None, int | None]], size: int
) -> None:
    """However they are cut into batches."""
    columns = [pa.array(side, pa.int64()) for side in zip(*rows, strict=True)]
    flights = pa.table(columns, names=["dep_delay", "arr_delay"])
    assert_same_rows(made(gaining, flights, size), asked(SQL, flights=flights))
