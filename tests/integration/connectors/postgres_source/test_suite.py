"""What every source promises, of the PostgreSQL source on the real server."""

from __future__ import annotations

import pytest

from dataflow.connect.testkit import SourceSuite
from dataflow.connectors.postgres.source.source import ChangesSource
from dataflow.connectors.postgres.source.spec import PostgresPinned, PostgresPosition
from tests.databases import Database
from tests.integration.connectors.postgres_source.reading import Reading

CHANGES = """
INSERT INTO t SELECT i, 'row "' || i || '", ü' FROM generate_series(1, 9) i;
UPDATE t SET id = id + 100, name = NULL WHERE id IN (2, 3);
DELETE FROM t WHERE id > 100;
TRUNCATE t;
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

    def source(self) -> ChangesSource:
        options = {"slot": self.slot, "createSlot": False, "stopAtEnd": True}
        return Reading(self.url, options, batch_size=4).source()
