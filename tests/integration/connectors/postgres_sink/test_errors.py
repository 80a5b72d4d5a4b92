"""Whatever is wrong with server, user or table is told with the field and the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from dataflow.connect import Rejected, Unavailable
from dataflow.connectors.postgres import sink as postgres_sink
from dataflow.connectors.postgres.errors import translated
from dataflow.core.errors import DataFlowError
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of


@pytest.fixture
def table(database: Database) -> Iterator[Database]:
    """Return a database with a table, and a user without rights named as the database."""
    database.execute("CREATE TABLE rows (a integer)")
    database.execute(f"CREATE ROLE {database.name} LOGIN")
    yield database
    database.execute(f"DROP OWNED BY {database.name}")
    database.execute(f"DROP ROLE {database.name}")


async def told(url: str, options: dict[str, Any] | None = None) -> DataFlowError:
    """Return how writing one row fails."""
    with pytest.raises(DataFlowError) as failed:
        await Rig(url, options or {}).write(rows_of(a=[1]))
    return failed.value


async def test_an_unknown_user_is_told(table: Database) -> None:
    """The server trusts all it knows here: of an unknown one it says what of a wrong password."""
    error = await told(table.at(table.address, "nobody:secret"))
    assert isinstance(error, Rejected)
    assert (error.field, error.code) == ("connectionString", "PERMISSION")
    assert "give a user and password that the server knows" in error.message
    assert "secret" not in str(error)


async def test_an_unknown_database_is_told(table: Database) -> None:
    """The URL names it."""
    error = await told(table.url + "_x")
    assert isinstance(error, Rejected)
    assert error.field == "connectionString"
    assert f'"{table.name}_x" does not exist; create the database' in error.message


@pytest.mark.parametrize("name", ["nix", "nix.rows", "nix.nix"])
async def test_an_unknown_table_is_told_before_any_row(name: str, table: Database) -> None:
    """Also where its schema is unknown."""
    with pytest.raises(Rejected, match=f"there is no table {name!r}; create it, or set") as failed:
        await Rig(table.url, {"table": name}).open()
    assert failed.value.field == "options.table"


async def test_an_unknown_schema_cannot_be_made_a_table_in(table: Database) -> None:
    """Schemas have owners and rights; they are made by people."""
    error = await told(table.url, {"table": "nix.rows", "create": True})
    assert isinstance(error, Rejected)
    assert error.field == "options.table"
    assert 'schema "nix" does not exist; create the schema' in error.message


async def test_a_missing_privilege_is_told(table: Database) -> None:
    """First of all on the place of decisions, then on the table itself."""
    url = table.at(table.address, table.name)
    error = await told(url)
    assert isinstance(error, Rejected)
    assert (error.field, error.code) == ("options.table", "PERMISSION")
    assert "permission denied for schema public; grant" in error.message
    table.execute(f"GRANT CREATE ON SCHEMA public TO {table.name}")
    error = await told(url)
    assert "permission denied for table rows; grant" in error.message
    table.execute(f"GRANT INSERT ON rows TO {table.name}")
    assert await Rig(url, {}).write(rows_of(a=[1])) == {}


async def test_decisions_may_be_kept_where_the_user_has_rights(table: Database) -> None:
    """Since PostgreSQL 15 nobody may make tables in public by default."""
    table.execute(f"CREATE SCHEMA own AUTHORIZATION {table.name}; GRANT INSERT ON rows TO public")
    options = {"decisionsSchema": "own"}
    assert await Rig(table.at(table.address, table.name), options).write(rows_of(a=[1])) == {}
    assert table.column("SELECT pipeline FROM own.dataflow_decisions") == ["p"]


async def test_a_user_whose_transactions_are_read_only_is_told(table: Database) -> None:
    """No retry would change a setting."""
    table.execute(f"ALTER DATABASE {table.name} SET default_transaction_read_only = on")
    error = await told(table.url)
    table.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
    assert isinstance(error, Rejected)
    assert error.field == "connectionString"
    assert "read-only transaction; name the primary" in error.message


async def test_a_statement_that_takes_too_long_is_tried_again(table: Database) -> None:
    """The server may be busy now; the setting is named, for it may be too small for ever."""
    table.execute(f"ALTER DATABASE {table.name} SET statement_timeout = '200ms'")
    table.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(9); RETURN NEW; END';"
        "CREATE TRIGGER slow BEFORE INSERT ON rows FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    error = await told(table.url)
    assert isinstance(error, Unavailable)
    assert "raise statement_timeout, or lower the sink's batchSize" in str(error)


async def test_a_lock_of_somebody_else_is_waited_for_as_the_server_says(table: Database) -> None:
    """Whoever holds it may let go."""
    table.execute(f"ALTER DATABASE {table.name} SET lock_timeout = '200ms'")
    table.execute("BEGIN; LOCK TABLE rows")
    error = await told(table.url)
    table.execute("ROLLBACK")
    assert isinstance(error, Unavailable)
    assert "somebody else holds a lock" in str(error)


async def test_a_lock_on_the_decision_is_not_waited_for_without_end(
    table: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that cannot be ended would keep the pipeline waiting and saying nothing."""
    await Rig(table.url, {}).write(rows_of(a=[1]))
    monkeypatch.setattr(postgres_sink, "LOCK_WAIT", "SET LOCAL lock_timeout = '200ms'")
    table.execute("BEGIN; SELECT * FROM dataflow_decisions FOR UPDATE")
    error = await told(table.url)
    table.execute("ROLLBACK")
    assert isinstance(error, Unavailable)
    assert "somebody else holds a lock" in str(error)


async def test_a_transaction_that_idles_too_long_is_tried_again(table: Database) -> None:
    """Checkpoints further apart than the server lets transactions wait never come about."""
    table.execute(f"ALTER DATABASE {table.name} SET idle_in_transaction_session_timeout = '100ms'")
    rig = Rig(table.url, {})
    sink = await rig.open()
    await sink.write(rows_of(a=[1]))
    assert sink._connection
    ended = asyncio.Event()
    sink._connection.add_termination_listener(lambda _: ended.set())
    await ended.wait()
    with pytest.raises(Unavailable) as failed:
        await rig.commit(sink)
    await sink.close()
    assert failed.value.code == "BUSY"
    assert table.column("SELECT a FROM rows") == []


async def test_too_many_connections_are_tried_again(table: Database) -> None:
    """Others will end theirs."""
    table.execute(f"ALTER ROLE {table.name} CONNECTION LIMIT 0")
    error = await told(table.at(table.address, table.name))
    assert isinstance(error, Unavailable)
    assert "too many connections" in str(error)
    assert "raise max_connections" in str(error)


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    """It may be restarting."""
    error = await told("postgresql://u:secret@127.0.0.1:1/x")
    assert isinstance(error, Unavailable)
    assert "127.0.0.1:1/x" in str(error)
    assert "secret" not in str(error)


async def test_a_url_that_is_none_is_told() -> None:
    """What a reference stands for is seen only where the pipeline runs."""
    error = await told("postgresql://u:secret@h:port/x")
    assert isinstance(error, Rejected)
    assert error.field == "connectionString"
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (asyncpg.DiskFullError("could not extend file"), "STORAGE"),
        (asyncpg.exceptions.PostgresIOError("could not write"), "STORAGE"),
        (asyncpg.OutOfMemoryError("out of memory"), "BUSY"),
        (asyncpg.DeadlockDetectedError("deadlock detected"), "BUSY"),
        (asyncpg.SerializationError("could not serialize"), "BUSY"),
        (asyncpg.AdminShutdownError("terminating connection"), "BUSY"),
        (asyncpg.CannotConnectNowError("starting up"), "BUSY"),
    ],
)
def test_what_the_server_lacks_passes(raised: Exception, code: str) -> None:
    """A person makes room, and the pipeline goes on by itself."""
    error = translated(raised, "server")
    assert isinstance(error, Unavailable)
    assert error.code == code


async def test_a_violation_at_commit_is_told(table: Database) -> None:
    """A deferred constraint is looked at when it is too late to say which row it was."""
    table.execute("ALTER TABLE rows ADD UNIQUE (a) DEFERRABLE INITIALLY DEFERRED")
    rig = Rig(table.url, {})
    with pytest.raises(Rejected, match=r"duplicate key value.*Key \(a\)=\(1\) already") as failed:
        await rig.write(rows_of(a=[1, 1]))
    assert failed.value.code == "RECORD_REJECTED"
    assert table.column("SELECT a FROM rows") == []
