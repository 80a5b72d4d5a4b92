"""What every source promises, of the PostgreSQL source on the real server."""

from __future__ import annotations

import pytest

from dataflow.connect.testkit import SourceSuite
from dataflow.connectors.postgres.source.source import PostgresSource
from dataflow.connectors.postgres.source.spec import PostgresPinned, PostgresPosition
from tests.databases import Database
from tests.integration.connectors.postgres_source.reading import Reading

CHANGES = """
INSERT INTO t SELECT i, 'row "' || i || '", ü' FROM generate_series(1, 9) i;
UPDATE t SET id = id + 100, name = NULL WHERE id IN (2, 3);
DELETE FROM t WHERE id > 100;
TRUNCATE t;
"""

CHANGED_TABLE = """
CREATE TABLE t (id int PRIMARY KEY, name text);
INSERT INTO t SELECT i FROM generate_series(1, 20) i
"""


class TestChanges(SourceSuite[PostgresPosition, PostgresPinned]):
    """Of a slot that somebody has made, so that each new instance begins where all others do."""

    position = PostgresPosition
    pinned = PostgresPinned

    @pytest.fixture(autouse=True)
    def _written(self, database: Database) -> None:
        self.url = database.url
        self.slot = f"by_hand_{database.name}"
        database.execute(
            "CREATE TABLE t (id int PRIMARY KEY, name text);"
            f"CREATE PUBLICATION {self.slot} FOR TABLE t"
        )
        database.fetch(f"SELECT pg_create_logical_replication_slot('{self.slot}', 'pgoutput')")
        database.execute(CHANGES)
        database.execute(CHANGES)

    def source(self) -> PostgresSource:
        options = {"slot": self.slot, "createSlot": False, "snapshot": False, "stopAtEnd": True}
        return Reading(self.url, options, batch_size=4).source()


class TestSnapshot(SourceSuite[PostgresPosition, PostgresPinned]):
    """Of a table in three parts."""

    position = PostgresPosition
    pinned = PostgresPinned

    @pytest.fixture(autouse=True)
    def _written(self, database: Database) -> None:
        self.url = database.url
        database.execute(
            "CREATE TABLE t (id int, part text, name text, PRIMARY KEY (part, id));"
            "INSERT INTO t SELECT i, i % 5, CASE WHEN i % 2 = 0 THEN 'row \"\n' END"
            " FROM generate_series(1, 30) i"
        )

    def source(self) -> PostgresSource:
        return Reading(self.url, {"mode": "snapshot", "snapshotRanges": 3}, batch_size=4).source()


class TestSnapshotThenChanges(SourceSuite[PostgresPosition, PostgresPinned]):
    """Of one lineage, and a table at rest: each new instance takes a snapshot of its own."""

    position = PostgresPosition
    pinned = PostgresPinned

    @pytest.fixture(autouse=True)
    async def _written(self, database: Database) -> None:
        options = {"snapshot": True, "snapshotRanges": 2, "stopAtEnd": True}
        self.reading = Reading(database.url, options, batch_size=4)
        database.execute(CHANGED_TABLE)
        await self.reading.begin()
        database.execute("UPDATE t SET name = 'before any snapshot'")

    def source(self) -> PostgresSource:
        return self.reading.source()

    async def opened(self) -> PostgresSource:
        source = self.source()
        await source.open(self.reading.pinned)
        return source


class TestIncremental(SourceSuite[PostgresPosition, PostgresPinned]):
    """Of a table with rows of one value."""

    position = PostgresPosition
    pinned = PostgresPinned

    @pytest.fixture(autouse=True)
    def _written(self, database: Database) -> None:
        self.url = database.url
        database.execute(
            "CREATE TABLE t (id int PRIMARY KEY, n bigint, name text);"
            "INSERT INTO t SELECT i, i / 5, 'row ' || i FROM generate_series(1, 30) i"
        )

    def source(self) -> PostgresSource:
        options = {"mode": "incremental", "cursorColumn": "n", "stopAtEnd": True}
        return Reading(self.url, options, batch_size=4).source()
