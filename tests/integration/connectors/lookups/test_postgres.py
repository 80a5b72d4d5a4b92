"""The ``postgres`` lookup on a real server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Lookup, Rejected, Unavailable, Wanted
from dataflow.connect.testkit import LookupSuite, context
from dataflow.connect.testkit.lookup import WANTED
from dataflow.connectors.postgres.lookup import open_lookup
from dataflow.connectors.postgres.lookup_spec import SPEC, PostgresLookupOptions
from tests.databases import Database

TABLE = """
CREATE SCHEMA s;
CREATE TABLE s."Named" (number integer PRIMARY KEY, name varchar(20), price numeric(10, 2));
INSERT INTO s."Named" VALUES (1, 'one', 1.5), (2, 'two', NULL), (30, 'drei / ü', -0.25)
"""


def options(url: str, **given: Any) -> PostgresLookupOptions:  # noqa: ANN401 - JSON
    """Return options as people write them."""
    asked = {"type": "postgres", "connectionString": url, "table": "s.Named", "keys": ["number"]}
    return PostgresLookupOptions.model_validate_json(json.dumps({**asked, **given}), strict=True)


def opened(url: str, wanted: Wanted = WANTED, **given: Any) -> Lookup:  # noqa: ANN401 - JSON
    """Return a lookup."""
    return open_lookup(options(url, **given), wanted, context())


KEYS = pa.record_batch({"id": pa.array([30], pa.int64())})


class TestPostgres(LookupSuite):
    """Over a table with a schema and a capital letter."""

    url: str

    @pytest.fixture(autouse=True)
    def _table(self, database: Database) -> None:
        database.execute(TABLE)
        self.url = database.url

    def lookup(self) -> Lookup:
        return opened(self.url)


def test_keys_of_several_columns_are_compared_in_the_tables_types(database: Database) -> None:
    """Moments and texts: both are found by the index, whatever type the rows have."""
    database.execute("CREATE TABLE t (a timestamptz, b text, v bool, PRIMARY KEY (a, b))")
    database.execute("INSERT INTO t VALUES ('2020-01-01 00:00:00+00', 'x''y', true)")
    wanted = Wanted(["when", "who"], {"v": "bool"})
    moments = pa.array([1_577_836_800, 0], pa.timestamp("s", "UTC"))
    keys = pa.record_batch({"when": moments, "who": ["x'y", "x'y"]})
    lookup = opened(database.url, wanted, table="t", keys=["a", "b"])
    answer = lookup.find(keys)
    assert (answer.of.to_pylist(), answer.rows.to_pylist()) == ([0], [{"v": "true"}])
    lookup.close()


def test_a_broken_session_is_made_anew(database: Database) -> None:
    """The first question after it says that nobody answers; the run is tried again."""
    database.execute(TABLE)
    lookup = opened(database.url)
    lookup.find(KEYS)
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'dataflow%' AND pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    with pytest.raises(Unavailable):
        lookup.find(KEYS)
    assert lookup.find(KEYS).of.to_pylist() == [0]
    lookup.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"table": "nope"}, 'relation "nope" does not exist'),
        ({"keys": ["nope"]}, "no column 'nope'; there are number, name, price"),
    ],
)
def test_a_table_that_cannot_serve_is_refused(
    database: Database, given: Mapping[str, Any], said: str
) -> None:
    """With what there is."""
    database.execute(TABLE)
    lookup = opened(database.url, **given)
    with pytest.raises(Rejected, match=said):
        lookup.find(KEYS)
    lookup.close()


def test_a_server_that_is_not_there_is_asked_again_later() -> None:
    """Without its password in the message."""
    lookup = opened("postgresql://me:hidden@127.0.0.1:1/x")
    with pytest.raises(Unavailable) as caught:
        lookup.find(KEYS)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"connectionString": "host=x"}, "connectionString"),
        ({"connectionString": "postgresql://me:clear@h/x"}, "connectionString"),
        ({"keys": ["a", "b"]}, "keys"),
    ],
)
def test_wrong_options_are_reported_by_their_path(given: Mapping[str, Any], field: str) -> None:
    """Below the lookup."""
    (problem,) = SPEC.check(options("postgresql://h/x", **given), WANTED)
    assert problem.field == field
