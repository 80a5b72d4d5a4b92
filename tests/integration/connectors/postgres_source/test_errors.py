"""What cannot be read is said at once, with the field and the remedy, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from dataflow.connect import Rejected, SourceStep, Unavailable
from dataflow.connect.spec import parse
from dataflow.connect.testkit import context
from dataflow.connectors.postgres.source.cleaning import clean
from dataflow.connectors.postgres.source.spec import PostgresPosition, PostgresSourceOptions
from deploy.stack import postgres as stack
from deploy.stack.postgres import Postgres
from tests.databases import Database, database_of
from tests.e2e.programs import until
from tests.integration.connectors.postgres_source.reading import Reading, told

LEFT = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
ACTIVE = """
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
WHERE database = current_database() AND active_pid IS NOT NULL"""


async def refused(reading: Reading) -> Rejected:
    """Return why a pipeline cannot begin."""
    with pytest.raises(Rejected) as caught:
        await reading.begin()
    return caught.value


@pytest.mark.parametrize(
    ("made", "options", "expected"),
    [
        ("SELECT", {}, ("options.table", "there is no table 't'; create it, or name another")),
        ("CREATE VIEW t AS SELECT 1 AS id", {}, ("options.table", "is no table")),
        ("CREATE TABLE t (id int)", {}, ("options.table", "has no primary key")),
        (
            "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING",
            {},
            ("options.table", "REPLICA IDENTITY USING INDEX"),
        ),
        ("CREATE TABLE t (id int PRIMARY KEY, op text)", {}, ("options", "a column 'op', too")),
        (
            "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION other",
            {"publication": "other"},
            ("options.publication", 'ALTER PUBLICATION "other" ADD TABLE "public"."t"'),
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY)",
            {"slot": "nobodys", "createSlot": False},
            ("options.slot", "replication slot 'nobodys' is gone"),
        ),
    ],
)
async def test_a_table_that_cannot_be_followed_is_refused(
    database: Database, made: str, options: Mapping[str, Any], expected: tuple[str, str]
) -> None:
    """A slot that nobody reads would fill the server's disk, so none is left."""
    database.execute(made)
    error = await refused(Reading(database.url, options))
    assert error.field == expected[0]
    assert expected[1] in error.message
    assert database.column(LEFT) == []


async def test_a_user_without_the_right_to_replicate_is_told_which(database: Database) -> None:
    """Superusers set pipelines up, and others run them."""
    user = f"reader_{database.name}"
    database.execute(f"CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE {user} LOGIN")
    try:
        reading = Reading(database.at(database.address, user), {"publication": "made"})
        assert "CREATE on the database" in (await refused(reading)).message
        database.execute("CREATE PUBLICATION made FOR TABLE t")
        error = await refused(reading)
        assert (error.field, error.code) == ("connectionString", "PERMISSION")
        assert "ALTER ROLE … REPLICATION" in error.message
        database.execute(f"ALTER ROLE {user} REPLICATION")
        await reading.begin()
        database.execute("INSERT INTO t VALUES (1)")
        assert told(await reading.read(), "id") == [("c", 1)]
    finally:
        database.execute(f"DROP OWNED BY {user}; DROP ROLE {user}")


async def test_a_slot_that_is_dropped_says_what_is_lost_and_how_to_go_on(
    database: Database,
) -> None:
    """To make it again and read on would skip what happened meanwhile."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    reading = Reading(database.url)
    await reading.begin()
    database.fetch(f"SELECT pg_drop_replication_slot(slot_name) FROM ({LEFT}) s")  # noqa: S608 - this module's own
    with pytest.raises(Rejected, match="is gone, and with it changes that were not read") as lost:
        await reading.read()
    assert (lost.value.code, lost.value.field) == ("SOURCE_CHANGED", "options.slot")


def left(database: Database) -> str:
    """Return the slot, once the server has heard that its reader is gone."""
    until(lambda: database.column(f"{LEFT} AND NOT active"), "a slot that nobody reads")
    slot: str = database.column(LEFT)[0]
    return slot


def advanced(database: Database) -> None:
    """Move the slot on, as whoever wants its log gone."""
    slot = left(database)
    database.fetch(f"SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")


def remade(database: Database) -> None:
    """Make the slot anew, as after a restore."""
    slot = left(database)
    database.fetch(f"SELECT pg_drop_replication_slot('{slot}')")
    database.fetch(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")


@pytest.mark.parametrize("moved", [advanced, remade])
@pytest.mark.parametrize("has_read", [True, False])
async def test_a_slot_that_is_ahead_of_the_pipeline_says_what_is_lost(
    database: Database, moved: Callable[[Database], None], *, has_read: bool
) -> None:
    """The server would go on from the slot, and nobody would miss what is between."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    reading = Reading(database.url)
    await reading.begin()
    if has_read:
        database.execute("INSERT INTO t VALUES (1)")
        assert told(await reading.read(), "id") == [("c", 1)]
    database.execute("INSERT INTO t VALUES (2)")
    moved(database)
    with pytest.raises(Rejected, match="and changes between are lost; replay") as ahead:
        await reading.read()
    assert (ahead.value.code, ahead.value.field) == ("SOURCE_CHANGED", "options.slot")


async def test_a_database_that_was_set_back_is_not_taken_for_the_one_that_was_read(
    database: Database,
) -> None:
    """Its new changes stand where the pipeline has been, and would never be read."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    reading = Reading(database.url)
    await reading.begin()
    reading.position = PostgresPosition(lsn=1 << 60)
    with pytest.raises(Rejected, match="the database is an older one") as older:
        await reading.read()
    assert (older.value.code, older.value.field) == ("SOURCE_CHANGED", "connectionString")


async def test_a_slot_that_held_too_much_log_says_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """max_slot_wal_keep_size lets the server live, and the slot die."""
    monkeypatch.setitem(stack.SETTINGS, "max_slot_wal_keep_size", "1MB")
    with Postgres(tmp_path) as own, database_of(own.address) as database:
        database.execute("CREATE TABLE t (id int PRIMARY KEY)")
        reading = Reading(database.url)
        await reading.begin()
        for _ in range(3):
            database.execute("INSERT INTO t VALUES (1); DELETE FROM t")
            database.fetch("SELECT pg_switch_wal()")
        database.execute("CHECKPOINT")
        with pytest.raises(Rejected, match="has been invalidated, and with it changes") as lost:
            await reading.read()
        assert (lost.value.code, lost.value.field) == ("SOURCE_CHANGED", "options.slot")


async def test_a_session_that_is_cut_is_tried_again_from_the_position(database: Database) -> None:
    """A restart, an operator, a network: the next run reads what this one had not decided."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    reading = Reading(database.url)
    await reading.begin()
    database.execute("INSERT INTO t VALUES (1)")
    async with reading.opened() as source:
        (split,) = await source.splits()
        async with aclosing(source.read(split, None)) as chunks:
            first = await anext(chunks)
            database.fetch(ACTIVE)
            with pytest.raises(Unavailable):
                await anext(chunks)
    database.execute("INSERT INTO t VALUES (2)")
    reading.position = first.resume_at
    assert told(await reading.read(), "id") == [("c", 2)]


async def test_a_newer_run_ends_the_reader_of_an_older_one(database: Database) -> None:
    """A frozen process holds the slot until the server gives it up, which may take a minute."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    reading = Reading(database.url)
    async with reading.opened() as source:
        (split,) = await source.splits()
        async with aclosing(source.read(split, None)) as chunks:
            database.execute("INSERT INTO t VALUES (1)")
            await anext(chunks)
            assert told(await reading.read(), "id") == [("c", 1)]
            with pytest.raises(Unavailable):
                await anext(chunks)


async def test_a_server_whose_log_tells_no_changes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most servers are set up so."""
    monkeypatch.setitem(stack.SETTINGS, "wal_level", "replica")
    with Postgres(tmp_path) as own, database_of(own.address) as database:
        database.execute("CREATE TABLE t (id int PRIMARY KEY)")
        error = await refused(Reading(database.url))
        assert error.field == "connectionString"
        assert "set wal_level to logical, and restart the server" in error.message


@pytest.mark.parametrize(("user", "name"), [("postgres", "nowhere"), ("nobody", "postgres")])
async def test_a_wrong_address_is_told_without_the_password(
    database: Database, user: str, name: str
) -> None:
    """The server says of a user whom it does not know here what it says of a wrong password."""
    error = await refused(Reading(f"postgresql://{user}:hush@{database.address}/{name}"))
    assert error.field == "connectionString"
    assert "hush" not in str(error)


async def test_a_replica_is_read_as_it_is_and_not_followed(tmp_path: Path) -> None:
    """A slot is made on a primary; whoever only reads may well spare it."""
    with Postgres(tmp_path) as own:
        database = Database(own.address, "postgres")
        database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        database.close()
        own.stop()
        (tmp_path / "data" / "standby.signal").touch()
        own.start()
        assert await Reading(database.url, {"mode": "snapshot"}).read() == [{"id": 1}]
        with pytest.raises(Unavailable, match="is a replica"):
            await Reading(database.url).begin()


async def cleaned(url: str, **options: object) -> None:
    """Do what is done when a pipeline is deleted."""
    given = parse(PostgresSourceOptions, json.dumps({"table": "t", **options}))
    await clean(SourceStep("postgres", url), given, context())


async def test_what_a_deleted_pipeline_has_not_made_stays(database: Database) -> None:
    """A slot that somebody has named may be read by others, and so may a publication."""
    slot = f"named_{database.name}"
    database.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION theirs FOR TABLE t")
    await Reading(database.url, {"publication": "theirs"}).begin()
    await Reading(database.url, {"slot": slot}).begin()
    await cleaned(database.url, publication="theirs")
    assert database.column(LEFT) == [slot]
    await cleaned(database.url, slot=slot)
    assert database.column(LEFT) == [slot]
    assert database.column("SELECT pubname FROM pg_publication") == ["theirs"]


async def test_what_cannot_be_cleaned_up_is_told_with_the_statements(database: Database) -> None:
    """A slot that nobody reads fills the server's disk."""
    with pytest.raises(Unavailable, match="SELECT pg_drop_replication_slot") as left:
        await cleaned("postgresql://postgres@127.0.0.1:1/nowhere")
    assert "DROP PUBLICATION" in left.value.message
    await cleaned(database.url)
