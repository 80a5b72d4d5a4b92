"""The PostgreSQL sink passes the suite on a real server, in each way to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import pytest

from dataflow.connect import TransactionalSink
from dataflow.connect.testkit import SinkPlace, TransactionalSinkSuite
from dataflow.connectors.postgres.sink import PostgresSink
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig

pytestmark = pytest.mark.slow

LEFT = """
SELECT application_name FROM pg_stat_activity
WHERE application_name LIKE 'dataflow %' AND datname = current_database()"""


class SchemaPlace(SinkPlace[TransactionalSink]):
    """A schema with a table that the sink makes."""

    def __init__(self, database: Database, schema: str, options: Mapping[str, Any]) -> None:
        database.execute(f"CREATE SCHEMA {schema}")
        self._database = database
        self._table = f"{schema}.rows"
        self._options = options

    def sink(self, probe: Callable[[str], None]) -> PostgresSink:
        return Rig(self._database.url, {"table": self._table, **self._options}).sink(probe)

    def visible(self) -> Sequence[int]:
        (there,) = self._database.column(f"SELECT to_regclass('{self._table}') IS NOT NULL")
        return self._database.column(f"SELECT id FROM {self._table}") if there else []  # noqa: S608 - a name of this test

    async def kill(self, sink: TransactionalSink) -> None:
        assert isinstance(sink, PostgresSink)
        if sink._connection is not None:
            sink._connection.terminate()


class Inserts(TransactionalSinkSuite):
    """Rows into a table that the first of them make."""

    options: Mapping[str, Any] = {"create": True}

    @pytest.fixture(autouse=True)
    def _database(self, database: Database) -> None:
        self.database = database
        self.number = count()

    def place(self) -> SchemaPlace:
        return SchemaPlace(self.database, f"place_{next(self.number)}", self.options)


class TestInserts(Inserts):
    """COPY."""


class TestUpserts(Inserts):
    """COPY and merge."""

    second_deaths = 7
    options: Mapping[str, Any] = {"create": True, "mode": "upsert", "keys": ["id"]}
