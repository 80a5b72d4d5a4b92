"""Rows by a cursor: each once, whatever ties, comes late, or has none."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from dataflow.connect import Rejected
from tests.databases import Database
from tests.integration.connectors.postgres_source.reading import Reading, Row

BY_CURSOR = {"mode": "incremental", "cursorColumn": "at"}


def made(database: Database, options: dict[str, object] | None = None, batch: int = 4) -> Reading:
    """Return what reads an empty table."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, name text)")
    return Reading(database.url, {**BY_CURSOR, **(options or {})}, batch_size=batch)


async def one_by_one(reading: Reading) -> list[Row]:
    """Return what runs read of which each is broken off behind its first batch."""
    found = []
    while rows := await reading.read(chunks_max=1):
        found += rows
    return found


async def test_rows_of_one_value_are_told_apart_by_their_key(database: Database) -> None:
    """A batch, and a run, may end between them."""
    reading = made(database)
    database.execute(
        "INSERT INTO t SELECT i, '2026-01-01'::date + i / 7 FROM generate_series(0, 20) i"
    )
    assert [row["id"] for row in await one_by_one(reading)] == [*range(21)]
    database.execute("INSERT INTO t VALUES (30, '2026-01-03'), (31, '2026-01-04')")
    assert [row["id"] for row in await one_by_one(reading)] == [30, 31]


async def test_a_row_that_changes_comes_again(database: Database) -> None:
    """Whoever keeps rows by key has the last one then."""
    reading = made(database)
    database.execute("INSERT INTO t VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', 'b')")
    await reading.read()
    database.execute("UPDATE t SET at = '2026-01-03', name = 'c' WHERE id = 1")
    assert [(row["id"], row["name"]) for row in await reading.read()] == [(1, "c")]


async def test_what_is_committed_late_is_waited_for(database: Database) -> None:
    """Its value was taken before that of others who were quicker."""
    reading = made(database, {"cursorLag": "400ms"})
    database.execute("BEGIN; INSERT INTO t VALUES (1, '2026-01-01')")
    other = Database(database.address, database.name)
    other.execute("INSERT INTO t VALUES (2, '2026-01-02')")
    other.close()
    async with asyncio.TaskGroup() as tasks:
        coming = tasks.create_task(reading.read())
        await asyncio.sleep(0.1)
        database.execute("COMMIT")
    assert [row["id"] for row in coming.result()] == [1, 2]


async def test_an_endless_run_reads_what_comes(database: Database) -> None:
    """It asks again every poll interval."""
    reading = made(database, {"cursorLag": "1s"})
    async with reading.opened() as source:
        (split,) = await source.splits()
        assert source._cursor is not None
        source._cursor._poll_s = 0.01
        async with aclosing(source.read(split, None)) as chunks:
            for number in (1, 2):
                database.execute(f"INSERT INTO t VALUES ({number}, now())")  # noqa: S608 - a number
                assert [row["id"] for row in (await anext(chunks)).batch.to_pylist()] == [number]


async def test_rows_without_a_value_stop_a_run_that_has_not_said_otherwise(
    database: Database,
) -> None:
    """No cursor would ever come to them."""
    reading = made(database)
    database.execute("INSERT INTO t VALUES (1, NULL), (2, '2026-01-02')")
    with pytest.raises(Rejected, match="set cursorNulls to skip") as refused:
        await reading.read()
    assert refused.value.field == "options.cursorColumn"
    reading.options = {**reading.options, "cursorNulls": "skip"}
    assert [row["id"] for row in await reading.read()] == [2]


async def test_a_column_that_is_not_there_is_told_with_those_that_are(database: Database) -> None:
    """A misspelt one, mostly."""
    reading = made(database, {"cursorColumn": "att"})
    with pytest.raises(Rejected, match="has no column 'att', only id, at, name"):
        await reading.begin()


async def test_a_lineage_that_begins_at_the_latest_row_reads_those_behind_it(
    database: Database,
) -> None:
    """What was there is passed over."""
    reading = made(database)
    database.execute("INSERT INTO t VALUES (1, '2026-01-01'), (2, '2026-01-02')")
    async with reading.opened() as source:
        (split,) = await source.splits()
        reading.positions[split.id] = await source.latest(split)
    database.execute("INSERT INTO t VALUES (3, '2026-01-02'), (4, '2026-01-03')")
    assert [row["id"] for row in await reading.read()] == [3, 4]
