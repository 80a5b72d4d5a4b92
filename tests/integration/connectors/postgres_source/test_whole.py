"""What could come between a table and its copy unnoticed: told twice, told wrong, or never."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from asyncpg.exceptions import LockNotAvailableError

from dataflow.connect import Rejected, Unavailable
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.source.snapshot import Snapshots
from deploy.stack import postgres as stack
from deploy.stack.postgres import Postgres
from tests.databases import Database, database_of
from tests.integration.connectors.postgres_source.reading import Reading, Row, told

ALL = {"snapshot": True}


async def test_a_commit_that_waits_for_no_disk_is_not_told_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot shows it before the log is written, and so before it can be read there."""
    monkeypatch.setitem(stack.SETTINGS, "wal_writer_delay", "10s")
    with Postgres(tmp_path) as own, database_of(own.address) as database:
        database.execute("CREATE TABLE t (id int PRIMARY KEY)")
        reading = Reading(database.url, ALL)
        await reading.begin()
        database.execute("SET synchronous_commit = off; INSERT INTO t VALUES (1)")
        rows = await reading.read()
        database.execute("SET synchronous_commit = on; INSERT INTO t VALUES (2)")
        rows += await reading.read()
        assert told(rows, "id") == [("r", 1), ("c", 2)]


async def test_what_comes_into_an_empty_range_is_told(database: Database) -> None:
    """Its snapshot has shown nothing, which has to be remembered as of all others."""
    database.execute("CREATE TABLE t (id int, id2 int, PRIMARY KEY (id, id2))")
    database.execute("INSERT INTO t SELECT 1, i FROM generate_series(1, 10) i")
    reading = Reading(database.url, {**ALL, "snapshotRanges": 2}, batch_size=4)
    found = await _some(reading, {1: 1_000, 0: 1})
    database.execute("INSERT INTO t VALUES (2, 1)")
    found += await reading.read()
    assert told(found, "id", "id2") == [*(("r", 1, i) for i in range(1, 11)), ("c", 2, 1)]


async def _some(reading: Reading, chunks: Mapping[int, int]) -> list[Row]:
    """Read so many chunks of ranges, in one run that is broken off then."""
    found: list[Any] = []
    async with reading.opened() as source:
        splits = await source.splits()
        for part, most in chunks.items():
            await reading._split(source, splits[part], found, len(found) + most)
    return [row for chunk in found for row in chunk.batch.to_pylist()]


@pytest.mark.parametrize("change", ["ALTER TABLE t ALTER n TYPE bigint", "TRUNCATE t"])
async def test_a_table_is_not_rewritten_while_its_ranges_are_read(
    database: Database, change: str
) -> None:
    """It would be empty in a snapshot from before, and all ranges behind lost."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    database.execute("INSERT INTO t SELECT i FROM generate_series(1, 10) i")
    reading = Reading(database.url, {"mode": "snapshot", "snapshotRanges": 2})
    found: list[Any] = []
    async with reading.opened() as source:
        first, second = await source.splits()
        await reading._split(source, first, found, 1_000)
        with pytest.raises(LockNotAvailableError):
            database.execute(f"SET lock_timeout = '50ms'; {change}")
        await reading._split(source, second, found, 1_000)
    assert sum(chunk.batch.num_rows for chunk in found) == 10


async def test_a_lineage_that_keeps_its_positions_keeps_its_slot(database: Database) -> None:
    """Each change of options begins a lineage; what came meanwhile is in the slot alone."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    reading = Reading(database.url, ALL)
    found = await reading.read()
    database.execute("INSERT INTO t VALUES (2)")
    found += await reading.read()
    database.execute("INSERT INTO t VALUES (3)")
    reading.pinned = None
    found += await reading.read()
    assert told(found, "id") == [("r", 1), ("c", 2), ("c", 3)]


async def test_ranges_that_end_elsewhere_than_those_read_are_refused(database: Database) -> None:
    """Rows between the one end and the other would be read twice or never; a restart helps not."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("INSERT INTO t SELECT generate_series(1, 20)")
    reading = Reading(database.url, {**ALL, "snapshotRanges": 2}, batch_size=4)
    await reading.read(chunks_max=1)
    reading.pinned = None
    for _ in range(2):
        with pytest.raises(Rejected, match="replay it") as refused:
            await reading.read()
        assert refused.value.field == "options.snapshotRanges"


@pytest.mark.parametrize("is_told", [True, False])
async def test_ranges_that_were_read_may_be_fewer_once_a_change_is_told(
    database: Database, *, is_told: bool
) -> None:
    """Then what their snapshots have shown is known without them."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("INSERT INTO t SELECT generate_series(1, 20)")
    reading = Reading(database.url, {**ALL, "snapshotRanges": 2}, batch_size=1_000)
    found = await _some(reading, {0: 1_000})
    database.execute("INSERT INTO t VALUES (0); INSERT INTO t VALUES (21)")
    found += await _some(reading, {1: 1_000})
    if is_told:
        reading.batch_size = 1
        found += await reading.read(chunks_max=1)
    reading.pinned, reading.options = None, ALL
    if is_told:
        database.execute("INSERT INTO t VALUES (22)")
        found += await reading.read()
        assert sorted(row["id"] for row in found) == [*range(23)]
    else:
        with pytest.raises(Rejected, match="replay it"):
            await reading.read()


async def test_another_replica_identity_is_no_key_of_nulls(database: Database) -> None:
    """The log tells old rows by its columns alone, and the others as null."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL UNIQUE)")
    reading = Reading(database.url)
    await reading.begin()
    database.execute("INSERT INTO t VALUES (1, 1)")
    database.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX t_u_key; DELETE FROM t")
    assert told(await reading.read(chunks_max=1), "id") == [("c", 1)]
    with pytest.raises(Rejected, match="another replica identity") as refused:
        await reading.read()
    assert refused.value.code == "SOURCE_CHANGED"


async def test_a_table_that_gets_another_name_is_not_followed_under_the_old_one(
    database: Database,
) -> None:
    """The next run would not know it, and pass over all that came."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    reading = Reading(database.url, {"stopAtEnd": False}, batch_size=1)
    await reading.begin()
    database.execute("BEGIN; INSERT INTO t VALUES (1); ALTER TABLE t RENAME TO former")
    database.execute("INSERT INTO former VALUES (2); CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("COMMIT; ALTER PUBLICATION " + reading.source()._publication + " ADD TABLE t")
    assert told(await reading.read(chunks_max=1), "id") == [("c", 1)]
    with pytest.raises(Rejected, match=r"is called public\.former now"):
        await reading.read()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            (
                "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
                "CREATE TABLE p PARTITION OF t DEFAULT; CREATE PUBLICATION mine FOR ALL TABLES"
            ),
            "publish_via_partition_root",
        ),
        (
            "CREATE UNLOGGED TABLE t (id int PRIMARY KEY); CREATE PUBLICATION mine FOR ALL TABLES",
            "does not hold",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE PUBLICATION mine FOR TABLE t (id)",
            "leaves out columns of 'public.t': n",
        ),
        (
            (
                "CREATE TABLE t (id int PRIMARY KEY);"
                "CREATE PUBLICATION mine FOR TABLE t WHERE (id > 10)"
            ),
            "leaves out rows",
        ),
        (
            (
                "CREATE TABLE t (id int PRIMARY KEY);"
                "CREATE PUBLICATION mine FOR TABLE t WITH (publish = 'insert, truncate')"
            ),
            "leaves out some of what happens to 'public.t': delete, update; ALTER PUBLICATION",
        ),
        (
            (
                "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE c () INHERITS (t);"
                "CREATE PUBLICATION mine FOR TABLE t"
            ),
            "is inherited from",
        ),
        (
            (
                "CREATE TABLE t (a int, id int GENERATED ALWAYS AS (a) STORED PRIMARY KEY);"
                "CREATE PUBLICATION mine FOR TABLE t"
            ),
            "generated",
        ),
    ],
)
async def test_a_table_of_which_the_log_would_tell_too_little_is_refused(
    database: Database, made: str, expected: str
) -> None:
    """Whatever is not told looks as if nothing had happened."""
    database.execute(made)
    with pytest.raises(Rejected, match=expected):
        await Reading(database.url, {**ALL, "publication": "mine"}).begin()


async def test_rows_that_a_policy_hides_are_not_left_out_of_a_copy(database: Database) -> None:
    """The log knows no policies: deletions would come of rows that nobody was told of."""
    user = f"hidden_{database.name}"
    database.execute(
        f"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);"  # noqa: S608 - this test's own
        f"CREATE ROLE {user} LOGIN REPLICATION; GRANT SELECT ON t TO {user};"
        f"ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON t USING (id = 1);"
        f"CREATE PUBLICATION mine FOR TABLE t"
    )
    try:
        url = database.at(database.address, user)
        with pytest.raises(Rejected, match="row-level security policy"):
            await Reading(url, {**ALL, "publication": "mine"}).read()
        assert await Reading(url, {"mode": "snapshot"}).read() == [{"id": 1}]
    finally:
        database.execute(f"DROP OWNED BY {user}; DROP ROLE {user}")


async def test_a_table_that_is_made_anew_is_not_taken_for_the_one_before(
    database: Database,
) -> None:
    """Publications are of tables, not of their names."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    reading = Reading(database.url)
    await reading.begin()
    database.execute("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    with pytest.raises(Rejected, match="does not hold table"):
        await reading.read()


async def test_a_table_that_is_followed_is_not_read_of_a_replica(tmp_path: Path) -> None:
    """It may not have what was there when the slot was made, and names no open transactions."""
    with Postgres(tmp_path) as own:
        own.stop()
        (tmp_path / "data" / "standby.signal").touch()
        own.start()
        url = f"postgresql://{stack.USER}@{own.address}/postgres"
        snapshots = Snapshots(url, "test", "here", primary=True)
        with pytest.raises(Unavailable, match="is a replica"):
            await snapshots.taken(TableName("public", "t"))
