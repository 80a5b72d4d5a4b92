"""A table as it is, then what happens to it: nothing twice, nothing left out."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.databases import Database
from tests.integration.connectors.postgres_source.reading import Reading, Row, told

ALL = {"snapshot": True}


def applied(rows: Sequence[Row]) -> Mapping[Any, Row]:
    """Return the table that rows describe; each must follow from those before it."""
    table: dict[Any, Row] = {}
    for row in rows:
        key = tuple(value for name, value in row.items() if name.startswith("id"))
        values = {n: v for n, v in row.items() if n not in {"op", "lsn", "commit_time"}}
        if row["op"] in {"r", "c"}:
            assert key not in table, f"{key} came twice"
        else:
            assert key in table, f"{key} is not there"
        if row["op"] == "d":
            del table[key]
        else:
            table[key] = values
    return table


async def test_a_table_is_read_first_and_its_changes_behind_it(database: Database) -> None:
    """What came between the slot and the snapshot is in both, and told once."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    database.execute("INSERT INTO t VALUES (1, ''), (2, NULL), (3, E'a,\"b\"\\nc')")
    reading = Reading(database.url, ALL)
    await reading.begin()
    database.execute("INSERT INTO t VALUES (4, 'between')")
    database.execute("DELETE FROM t WHERE id = 1")
    rows = await reading.read()
    assert told(rows, "id", "name") == [("r", 2, None), ("r", 3, 'a,"b"\nc'), ("r", 4, "between")]
    assert all(row["lsn"] is row["commit_time"] is None for row in rows)
    database.execute("UPDATE t SET name = 'x' WHERE id = 2")
    assert told(await reading.read(), "id", "name") == [("u", 2, "x")]


async def test_a_transaction_that_is_open_when_the_table_is_read_comes_behind(
    database: Database,
) -> None:
    """Its number is smaller than the snapshot's end, and the snapshot does not show it."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    reading = Reading(database.url, ALL)
    await reading.begin()
    database.execute("BEGIN; INSERT INTO t VALUES (2)")
    other = Database(database.address, database.name)
    other.execute("INSERT INTO t VALUES (3)")
    other.close()
    assert told(await reading.read(chunks_max=1), "id") == [("r", 1), ("r", 3)]
    database.execute("COMMIT")
    assert told(await reading.read(), "id") == [("c", 2)]


@pytest.mark.parametrize(
    "key",
    [
        "id int PRIMARY KEY",
        "id bigint, id2 int DEFAULT 7, PRIMARY KEY (id, id2)",
        'id text COLLATE "C" PRIMARY KEY',
        "id numeric(20, 3) PRIMARY KEY",
    ],
)
@pytest.mark.parametrize("ranges", [1, 3])
async def test_broken_off_anywhere_the_copy_is_the_table(
    database: Database, key: str, ranges: int
) -> None:
    """Each run reads on in a snapshot of its own, while the table changes."""
    database.execute(f"CREATE TABLE t ({key}, version int)")
    database.execute("INSERT INTO t SELECT i FROM generate_series(0, 58, 2) i")
    reading = Reading(database.url, {**ALL, "snapshotRanges": ranges}, batch_size=4)
    await reading.begin()
    drawn = random.Random(ranges)
    found: list[Row] = []
    for version in range(40):
        found += await reading.read(chunks_max=1)
        keys = [drawn.randrange(60) for _ in range(4)]
        database.execute(
            f"UPDATE t SET version = {version} WHERE id::text::numeric IN ({keys[0]}, {keys[1]});"  # noqa: S608 - this test's own
            f"DELETE FROM t WHERE id::text::numeric = {keys[2]};"
            f"INSERT INTO t VALUES ({keys[3]}) ON CONFLICT DO NOTHING"
        )
    found += await reading.read()
    copy = [tuple(row.values()) for row in applied(found).values()]
    assert sorted(copy, key=str) == sorted(database.fetch("SELECT * FROM t"), key=str)
    assert {row["op"] for row in found} == {"r", "c", "u", "d"}


async def test_a_table_alone_is_read_and_no_slot_is_made(database: Database) -> None:
    """Any user who may SELECT can read it, of a replica too."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.execute("INSERT INTO t SELECT * FROM generate_series(1, 2500)")
    reading = Reading(database.url, {"mode": "snapshot"}, batch_size=10_000)
    found = await reading.read(chunks_max=2)
    found += await reading.read()
    assert found == [{"id": number} for number in range(1, 2501)]
    assert await reading.read() == []
    left = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    assert database.column(left) == []
