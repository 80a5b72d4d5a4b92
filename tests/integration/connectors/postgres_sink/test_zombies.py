"""Two runs of one pipeline over one table: the older commits nothing once the newer has begun.

``test_mutations`` breaks the claim, the compare-and-set and the ending of sessions, and these fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dataflow.connect import Fenced, Unavailable
from dataflow.connect.testkit import task
from dataflow.connectors.postgres.sink import PostgresSink
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import SEED, Rig, rows_of

ROWS = "SELECT id FROM rows ORDER BY id"


@asynccontextmanager
async def rig_of(database: Database) -> AsyncIterator[Rig]:
    """Have a pipeline over a table whose rows have keys, so that two writers may collide."""
    database.execute("CREATE TABLE rows (id integer PRIMARY KEY)")
    database.execute(f"ALTER DATABASE {database.name} SET lock_timeout = '2s'")
    made = Rig(database.url, {})
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def rig(database: Database) -> AsyncIterator[Rig]:
    """Have such a pipeline in a new database."""
    async with rig_of(database) as made:
        yield made


async def anonymous(sink: PostgresSink) -> None:
    """Let the session go by a name that no successor looks for, as if it could not be ended."""
    assert sink._connection
    await sink._connection.execute("SET application_name = 'anonymous'")


async def test_a_successor_does_not_wait_for_what_a_frozen_run_has_locked(
    rig: Rig, database: Database
) -> None:
    """Its session is ended: else rows of the same keys would wait for it for ever."""
    zombie = await rig.open()
    await zombie.write(rows_of(id=[1, 2]))
    await rig.write(rows_of(id=[1, 2, 3]))
    with pytest.raises(Fenced):
        await zombie.commit(rig.next())
    await zombie.close()
    assert database.column(ROWS) == [1, 2, 3]


async def test_a_run_whose_session_lives_on_is_refused_by_the_claim(
    rig: Rig, database: Database
) -> None:
    """Its successor has decided nothing yet: there is only the claim to tell them apart."""
    zombie = await rig.open()
    await zombie.write(rows_of(id=[1, 2]))
    await anonymous(zombie)
    of_zombie = rig.next()
    successor = await rig.open()
    with pytest.raises(Fenced, match="another run of 'p' has taken over"):
        await zombie.commit(of_zombie)
    await zombie.close()
    await successor.write(rows_of(id=[1, 3]))
    await rig.commit(successor)
    await successor.close()
    assert database.column(ROWS) == [1, 3]


async def test_a_run_that_begins_a_transaction_too_late_is_told_before_it_writes(
    rig: Rig, database: Database
) -> None:
    """It might go on writing for an hour what can never be committed."""
    zombie = await rig.open()
    await anonymous(zombie)
    successor = await rig.open()
    with pytest.raises(Fenced, match="run 2 of 'p' has taken over"):
        await zombie.write(rows_of(id=[1]))
    await zombie.close()
    await successor.close()
    assert database.column(ROWS) == []


async def test_an_older_run_cannot_claim(rig: Rig) -> None:
    """A process that was slow to start begins after its successor."""
    await rig.write(rows_of(id=[1]))
    await rig.write(rows_of(id=[2]))
    late = rig.sink()
    with pytest.raises(Fenced, match="run 2"):
        await late.recover(task(1), SEED)
    await late.close()


async def test_of_two_writers_of_one_run_only_the_first_decides(
    rig: Rig, database: Database
) -> None:
    """The decision must be the one before: a claim alone would let both of them commit."""
    first, second = rig.sink(), rig.sink()
    for sink in (first, second):
        await sink.recover(task(1), SEED)
    rig.run = 1
    await first.write(rows_of(id=[1]))
    await second.write(rows_of(id=[2]))
    await first.commit(rig.next())
    with pytest.raises(Fenced):
        await second.commit(rig.next())
    for sink in (first, second):
        await sink.close()
    assert database.column(ROWS) == [1]


async def test_what_a_rival_is_just_committing_is_waited_for_and_found(
    rig: Rig, database: Database
) -> None:
    """It holds the lock on the decision: whether it commits decides where the successor begins."""
    zombie = await rig.open()
    await zombie.write(rows_of(id=[1]))
    await anonymous(zombie)
    decision = rig.next()
    assert zombie._decisions
    assert zombie._connection
    await zombie._decisions.decide(rig.held.stamp, decision)
    rig.run += 1
    successor = rig.sink()
    async with asyncio.TaskGroup() as tasks:
        recovering = tasks.create_task(successor.recover(task(rig.run), SEED))
        done, _ = await asyncio.wait({recovering}, timeout=0.2)
        assert done == set()
        await zombie._connection.execute("COMMIT")
    assert recovering.result() == decision
    await successor.close()
    await zombie.close()
    assert database.column(ROWS) == [1]


async def test_sessions_of_others_are_left_alone(rig: Rig, database: Database) -> None:
    """Other pipelines, other tasks, newer runs, and whoever is called alike."""
    await rig.write(rows_of(id=[0]))
    others = [replace(rig, pipeline="p-2", held=SEED), replace(rig, pipeline="q", held=SEED)]
    sinks = [await other.open() for other in others]
    named = Database(database.address, database.name)
    named.execute("SET application_name = 'dataflow p 0123456789abcdef 1'")
    session = named.column("SELECT pg_backend_pid()")
    rig.run = 8
    await rig.write(rows_of(id=[1]))
    for number, (other, sink) in enumerate(zip(others, sinks, strict=True)):
        await sink.write(rows_of(id=[10 + number]))
        await other.commit(sink)
        await sink.close()
    assert named.column("SELECT pg_backend_pid()") == session
    named.close()
    assert database.column(ROWS) == [0, 1, 10, 11]


async def test_a_zombie_does_not_end_its_successor(rig: Rig, database: Database) -> None:
    """Only smaller runs are ended."""
    old = Rig(rig.url, {}, run=rig.run)
    rig.run = 1
    successor = await rig.open()
    late = old.sink()
    with pytest.raises(Fenced):
        await late.recover(task(1), SEED)
    await late.close()
    await successor.write(rows_of(id=[1]))
    await rig.commit(successor)
    await successor.close()
    assert database.column(ROWS) == [1]


async def test_nothing_follows_a_failure(rig: Rig, database: Database) -> None:
    """Rows that came behind a lost batch would be committed without it."""
    sink = await rig.open()
    await sink.write(rows_of(id=[1]))
    assert sink._connection
    sink._connection.terminate()
    with pytest.raises(Unavailable):
        await sink.write(rows_of(id=[2]))
    with pytest.raises(Unavailable, match="nothing can follow what failed before"):
        await rig.commit(sink)
    await sink.close()
    assert database.column(ROWS) == []
