"""A batch that takes too long is given up, and what it was in the middle of is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dataflow.connect import Unavailable
from dataflow.connectors.postgres.sink import PostgresSink
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of

SLOW = """
CREATE TABLE rows (id integer PRIMARY KEY);
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN IF NEW.id = 2 THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON rows FOR EACH ROW EXECUTE FUNCTION slow()"""

LATE = """
CREATE TABLE rows (id integer PRIMARY KEY);
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN IF NEW.id = 2 THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON rows DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION slow()"""


async def writing(rig: Rig, sink: PostgresSink) -> None:  # noqa: ARG001 - called as the other
    """Write a row that takes a minute."""
    await sink.write(rows_of(id=[2]))


async def committing(rig: Rig, sink: PostgresSink) -> None:
    """Commit a row that takes a minute."""
    await sink.write(rows_of(id=[2]))
    await rig.commit(sink)


@pytest.mark.parametrize(("table", "act"), [(SLOW, writing), (LATE, committing)])
async def test_a_call_that_is_cancelled_leaves_nothing_and_nobody_waiting(
    table: str, act: Callable[[Rig, PostgresSink], Awaitable[None]], database: Database
) -> None:
    """The engine gives up a batch after ``batchTimeout``; the server may still be at it."""
    database.execute(table)
    rig = Rig(database.url, {})
    sink = await rig.open()
    await sink.write(rows_of(id=[1]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await act(rig, sink)
    with pytest.raises(Unavailable, match="nothing can follow"):
        await rig.commit(sink)
    async with asyncio.timeout(10):
        await sink.close()
        await rig.write(rows_of(id=[1, 3]))
    assert database.column("SELECT id FROM rows ORDER BY id") == [1, 3]
