"""What happens to a table is read as it happened, each change once, wherever reading breaks off."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from dataflow.connect import Rejected
from tests.databases import Database
from tests.integration.connectors.postgres_source.reading import Reading, errors, told

FLUSHED = """
SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint FROM pg_replication_slots
WHERE database = current_database()"""


@pytest.fixture
async def reading(database: Database) -> Reading:
    """Return what reads an empty table from its beginning."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    made = Reading(database.url)
    await made.begin()
    return made


async def test_each_change_is_a_row_with_its_operation(
    reading: Reading, database: Database
) -> None:
    """Whoever keeps rows by key needs the key of what is deleted, under each name it had."""
    database.execute("INSERT INTO t VALUES (1, 'a'), (2, NULL)")
    database.execute("UPDATE t SET name = 'b' WHERE id = 1")
    database.execute("UPDATE t SET id = 3 WHERE id = 2")
    database.execute("DELETE FROM t WHERE id = 1")
    database.execute("TRUNCATE t")
    rows = await reading.read()
    assert told(rows, "id", "name") == [
        ("c", 1, "a"),
        ("c", 2, None),
        ("u", 1, "b"),
        ("d", 2, None),
        ("c", 3, None),
        ("d", 1, None),
        ("t", None, None),
    ]
    lsns = [row["lsn"] for row in rows]
    assert lsns == sorted(lsns)
    assert len(set(lsns)) == 5
    times = [row["commit_time"] for row in rows]
    (now,) = database.column("SELECT now()")
    assert all(0 <= (now - time).total_seconds() < 60 for time in times)


async def test_a_batch_ends_within_a_transaction_and_the_next_run_goes_on_there(
    reading: Reading, database: Database
) -> None:
    """A transaction may be larger than memory, and than what a run gets done."""
    database.execute("INSERT INTO t SELECT i FROM generate_series(0, 99) i")
    reading.batch_size = 7
    found = []
    while rows := await reading.read(chunks_max=1):
        found += rows
        assert len(rows) <= 7
    assert [row["id"] for row in found] == [*range(100)]


async def test_a_transaction_that_nobody_takes_waits_in_the_server(
    reading: Reading, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be larger than memory; and the server keeps the session meanwhile."""
    monkeypatch.setattr("dataflow.connectors.postgres.source.stream.TELL_S", 0.1)
    monkeypatch.setattr("dataflow.connectors.postgres.source.stream.WAITING_BYTES", 1 << 20)
    monkeypatch.setattr("dataflow.connectors.postgres.source.stream.BLOCK_BYTES", 1 << 18)
    database.execute(
        "ALTER ROLE postgres IN DATABASE current SET wal_sender_timeout = '3s'".replace(
            "current", database.name
        )
    )
    database.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i")
    reading.batch_size = 10_000
    async with reading.opened() as source:
        (split,) = await source.splits()
        async with aclosing(source.read(split, None)) as chunks:
            rows = (await anext(chunks)).batch.num_rows
            await asyncio.sleep(4)
            assert source._stream is not None
            assert source._stream._waiting <= (1 << 20) + (1 << 19)
            while rows < 20_000:
                rows += (await anext(chunks)).batch.num_rows
    assert rows == 20_000


async def test_what_another_transaction_commits_meanwhile_comes_behind(
    reading: Reading, database: Database
) -> None:
    """The order is that of commits; a rolled back one is none."""
    database.execute("BEGIN; INSERT INTO t VALUES (1)")
    other = Database(database.address, database.name)
    other.execute("INSERT INTO t VALUES (2)")
    other.close()
    database.execute("COMMIT; BEGIN; INSERT INTO t VALUES (3); ROLLBACK")
    assert told(await reading.read(), "id") == [("c", 2), ("c", 1)]


async def test_other_tables_of_a_publication_are_passed_over(database: Database) -> None:
    """Positions within a transaction count changes of the table alone."""
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY);"
        "CREATE PUBLICATION everything FOR ALL TABLES"
    )
    reading = Reading(database.url, {"publication": "everything"}, batch_size=2)
    await reading.begin()
    database.execute(
        "BEGIN; INSERT INTO u VALUES (1); INSERT INTO t VALUES (1); INSERT INTO u VALUES (2);"
        "INSERT INTO t VALUES (2), (3); TRUNCATE u; INSERT INTO t VALUES (4); COMMIT"
    )
    found = []
    while rows := await reading.read(chunks_max=1):
        found += rows
    assert told(found, "id") == [("c", number) for number in (1, 2, 3, 4)]


async def test_the_server_forgets_only_what_is_decided(
    reading: Reading, database: Database
) -> None:
    """What was read and not decided has to be there for the next run."""
    async with reading.opened() as source:
        (split,) = await source.splits()
        async with aclosing(source.read(split, None)) as chunks:
            database.execute("INSERT INTO t VALUES (1)")
            first = await anext(chunks)
            database.execute("INSERT INTO t VALUES (2)")
            second = await anext(chunks)
            await asyncio.sleep(0.3)
            (before,) = database.column(FLUSHED)
            assert before <= first.batch.column("lsn")[0].as_py()
            await source.acknowledge(split, first.resume_at)
            held = await _flushed(database, first.resume_at.lsn)
            assert held <= second.batch.column("lsn")[0].as_py()
            await source.acknowledge(split, second.resume_at)
            await _flushed(database, second.resume_at.lsn)


async def _flushed(database: Database, least: int) -> int:
    """Wait until the server has heard of a position; return which one it has heard of."""
    for _ in range(500):
        (lsn,) = database.column(FLUSHED)
        if lsn >= least:
            return int(lsn)
        await asyncio.sleep(0.01)
    raise AssertionError(f"the server has not heard of {least}")


async def test_an_idle_table_lets_the_log_of_others_go(
    reading: Reading, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is the whole server's: one quiet table would fill its disk.

    It goes once that is decided: a slot that is ahead of decisions could not be told from one that
    somebody has moved.
    """
    monkeypatch.setattr("dataflow.connectors.postgres.source.stream.TELL_S", 0.1)
    monkeypatch.setattr("dataflow.connectors.postgres.source.source.MOVE_EVERY_S", 0.2)
    async with reading.opened() as source:
        (split,) = await source.splits()
        async with aclosing(source.read(split, None)) as chunks:
            (begin,) = database.column(FLUSHED)
            database.execute("CREATE TABLE other AS SELECT generate_series(1, 1000)")
            (end,) = database.column("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")
            while (moved := await anext(chunks)).resume_at.lsn < end:
                assert moved.batch.num_rows == 0
            await asyncio.sleep(0.3)
            assert database.column(FLUSHED) == [begin]
            await source.acknowledge(split, moved.resume_at)
            await _flushed(database, end)
            assert (await source.lag())[1] >= 0
            database.execute("INSERT INTO t VALUES (1)")
            while not (found := (await anext(chunks)).batch.to_pylist()):
                pass
            assert told(found, "id") == [("c", 1)]


@pytest.mark.parametrize("unchanged", ["reject", "null"])
async def test_a_large_value_that_is_left_alone_is_not_made_up(
    database: Database, unchanged: str
) -> None:
    """The log has none; null would be a lie that overwrites the value elsewhere."""
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int, big text); ALTER TABLE t ALTER big SET STORAGE"
        " EXTERNAL"
    )
    reading = Reading(database.url, {"unchanged": unchanged})
    await reading.begin()
    database.execute("INSERT INTO t VALUES (1, 1, repeat('x', 10000)), (2, 1, 'small')")
    database.execute("UPDATE t SET n = 2")
    rows = await reading.read()
    assert told(rows, "id", "n")[:2] == [("c", 1, 1), ("c", 2, 1)]
    if unchanged == "null":
        assert [(row["id"], row["big"]) for row in rows[2:]] == [(1, None), (2, "small")]
    else:
        assert told(rows[2:], "id", "n") == [("u", 2, 2)]
        (error,) = errors(reading)
        assert "REPLICA IDENTITY FULL" in error


async def test_with_full_identity_old_rows_fill_what_the_log_leaves_out(
    database: Database,
) -> None:
    """Then a deletion tells the whole row, too."""
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int, big text); ALTER TABLE t ALTER big SET STORAGE"
        " EXTERNAL; ALTER TABLE t REPLICA IDENTITY FULL"
    )
    reading = Reading(database.url)
    await reading.begin()
    big = "x" * 10_000
    database.execute("INSERT INTO t VALUES (1, 1, repeat('x', 10000))")
    database.execute("UPDATE t SET n = 2")
    database.execute("UPDATE t SET id = 2")
    database.execute("DELETE FROM t")
    assert told(await reading.read(), "id", "n", "big") == [
        ("c", 1, 1, big),
        ("u", 1, 2, big),
        ("d", 1, 2, big),
        ("c", 2, 2, big),
        ("d", 2, 2, big),
    ]


async def test_a_table_that_changes_its_columns_keeps_those_of_the_lineage(
    database: Database,
) -> None:
    """Expressions behind are bound to them; what no longer fits is a bad record."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a smallint, b text)")
    reading = Reading(database.url, {"newColumns": "drop"})
    await reading.begin()
    database.execute("INSERT INTO t VALUES (1, 1, 'x')")
    database.execute("ALTER TABLE t DROP COLUMN b, ADD COLUMN c text, ALTER COLUMN a TYPE bigint")
    database.execute("INSERT INTO t VALUES (2, 2, 'new'), (3, 3000000000, 'new'), (4, 4, 'new')")
    rows = await reading.read()
    assert told(rows, "id", "a", "b") == [("c", 1, 1, "x"), ("c", 2, 2, None), ("c", 4, 4, None)]
    assert errors(reading) == ["column 'a': '3000000000' is no int16"]


async def test_a_new_column_stops_a_pipeline_that_has_not_said_otherwise(
    reading: Reading, database: Database
) -> None:
    """To read on without it would lose data that nobody has decided to lose."""
    database.execute("INSERT INTO t VALUES (1, 'a')")
    database.execute("ALTER TABLE t ADD COLUMN more text; INSERT INTO t VALUES (2, 'b', 'c')")
    assert told(await reading.read(chunks_max=1), "id") == [("c", 1)]
    with pytest.raises(Rejected, match="newColumns") as refused:
        await reading.read()
    assert refused.value.code == "SOURCE_CHANGED"
    reading.options = {"newColumns": "drop"}
    assert told(await reading.read(), "id") == [("c", 2)]


@pytest.mark.parametrize(("choice", "expected"), [("skip", [("c", 1), ("c", 2)]), ("fail", None)])
async def test_truncates_may_be_passed_over_or_refused(
    reading: Reading, database: Database, choice: str, expected: list[Any] | None
) -> None:
    """A log of what was inserted has no use for them."""
    reading.options = {"truncates": choice}
    database.execute("INSERT INTO t VALUES (1)")
    database.execute("TRUNCATE t")
    database.execute("INSERT INTO t VALUES (2)")
    if expected is None:
        with pytest.raises(Rejected, match="truncates"):
            await reading.read()
    else:
        assert told(await reading.read(), "id") == expected


VALUES = {
    "bool": ("true", True),
    "int2": ("-32768", -32768),
    "int8": ("9223372036854775807", 2**63 - 1),
    "float4": ("1.5", 1.5),
    "float8": ("'-Infinity'", float("-inf")),
    "numeric(38, 10)": ("12.5", Decimal("12.5000000000")),
    "numeric": ("1e30", "1" + "0" * 30),
    "text": ("E'a\\nb\\\\ü'", "a\nb\\ü"),
    "varchar(3)": ("''", ""),
    "bytea": ("'\\x00ff'", b"\x00\xff"),
    "uuid": ("'00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
    "jsonb": ("""'{"a": [1, null]}'""", '{"a": [1, null]}'),
    "int[]": ("'{1,NULL,3}'", "{1,NULL,3}"),
    "interval": ("'1 day 02:00'", "1 day 02:00:00"),
}


async def test_values_have_the_types_of_their_columns(database: Database) -> None:
    """The manual's table of types."""
    columns = ", ".join(f"c{at} {of}" for at, of in enumerate(VALUES))
    database.execute(
        f"CREATE TABLE t (id int PRIMARY KEY, {columns}, d date, t time, z timestamptz)"
    )
    reading = Reading(database.url)
    await reading.begin()
    values = ", ".join(value for value, _ in VALUES.values())
    moments = "'2026-02-28', '23:59:59.999999', '2026-01-01 12:00:00.25+02'"
    database.execute(f"INSERT INTO t VALUES (1, {values}, {moments})")  # noqa: S608 - this test's own
    database.execute("INSERT INTO t (id) VALUES (2); INSERT INTO t (id, d) VALUES (3, 'infinity')")
    first, second = await reading.read()
    assert [first[f"c{at}"] for at in range(len(VALUES))] == [value for _, value in VALUES.values()]
    assert str(first["d"]) == "2026-02-28"
    assert str(first["t"]) == "23:59:59.999999"
    assert first["z"].isoformat() == "2026-01-01T10:00:00.250000+00:00"
    assert {name for name, value in second.items() if value is not None} == {
        *("id", "op", "lsn", "commit_time")
    }
    assert errors(reading) == ["column 'd': 'infinity' is no date32[day]"]
