"""The answer to a COMMIT is lost, both ways: the next run finds out which it was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dataflow.connect import Unavailable
from dataflow.connectors.postgres.sink import PostgresSink
from deploy.stack.postgres import Postgres
from tests.databases import Database, database_of
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of
from tests.network.proxy import Proxy, proxy_to

pytestmark = pytest.mark.slow

ROWS = "SELECT id FROM rows ORDER BY id"
HELD = "SELECT run, number FROM dataflow_decisions"
KILLS = 12
DELAYS_S = [0.0, 0.0003, 0.0006, 0.001, 0.002, 0.02]
"""From before the decision is written to after the answer has come."""


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[Proxy]:
    """Return a network between sink and server."""
    host, _, port = database.address.partition(":")
    async with proxy_to(host, int(port)) as between:
        yield between


async def lose_the_answer(
    database: Database, proxy: Proxy, hold: Callable[[], None], lost: Callable[[], bool]
) -> Rig:
    """Return a pipeline that was cut off in its second COMMIT; the first left row 1."""
    database.execute("CREATE TABLE rows (id integer)")
    rig = Rig(database.at(str(proxy)), {})
    await rig.write(rows_of(id=[1]))

    def in_commit(point: str) -> None:
        if point == "postgres.decided":
            hold()

    sink = await rig.open(in_commit)
    await sink.write(rows_of(id=[2]))
    async with asyncio.TaskGroup() as tasks:
        committing = tasks.create_task(told(rig, sink))
        async with asyncio.timeout(20):
            while not lost():  # noqa: ASYNC110 - the decision is what is waited for
                await asyncio.sleep(0.01)
        proxy.cut()
        proxy.resume()
    assert committing.result() == "OUTCOME_UNKNOWN"
    await sink.close()
    return rig


async def told(rig: Rig, sink: PostgresSink) -> str:
    """Return the code with which a commit fails."""
    with pytest.raises(Unavailable) as failed:
        await sink.commit(rig.next())
    return failed.value.code


async def go_on(rig: Rig, decided: int) -> None:
    """Write what is not decided, as the engine would, from where the next run finds itself."""
    sink = await rig.open()
    assert rig.held.stamp.number == decided
    if decided == 1:
        await sink.write(rows_of(id=[2]))
    await sink.write(rows_of(id=[3]))
    await rig.commit(sink)
    await sink.close()


async def test_a_commit_that_happened_is_found_by_the_next_run(
    database: Database, proxy: Proxy
) -> None:
    """Written again, its rows would be there twice."""
    rig = await lose_the_answer(
        database, proxy, proxy.hold_answers, lambda: database.fetch(HELD) == [(2, 2)]
    )
    await go_on(rig, 2)
    assert database.column(ROWS) == [1, 2, 3]


async def test_a_commit_that_did_not_happen_is_found_by_the_next_run(
    database: Database, proxy: Proxy
) -> None:
    """Taken for done, its rows would never be there."""
    waited = iter([False] * 10)
    rig = await lose_the_answer(database, proxy, proxy.hold, lambda: next(waited, True))
    assert database.fetch(HELD) == [(1, 1)]
    await go_on(rig, 1)
    assert database.column(ROWS) == [1, 2, 3]


async def test_a_server_killed_in_commit_has_rows_and_decision_or_neither(tmp_path: Path) -> None:
    """Whatever it has when it is back is whole, and what is missing is written once."""
    chance = random.Random(7)
    postgres = Postgres(tmp_path)
    postgres.start()
    try:
        with database_of(postgres.address) as database:
            database.execute("CREATE TABLE rows (id integer)")
            rig, outcomes = Rig(database.url, {"mode": "insert"}), set()
            for delay_s in (0.0, 0.5, *(chance.choice(DELAYS_S) for _ in range(KILLS))):
                outcomes.add(await killed_in_commit(postgres, database, rig, delay_s))
            await write_from(rig, KILLS + 3)
            assert sorted(database.column(ROWS)) == [*range(KILLS + 3)]
            assert len(outcomes) == 2
    finally:
        postgres.close()


async def killed_in_commit(
    postgres: Postgres, database: Database, rig: Rig, delay_s: float
) -> bool:
    """Write the next row, kill the server meanwhile; tells whether the row was decided."""
    sink = await rig.open()
    number = rig.held.stamp.number
    await sink.write(rows_of(id=[number]))
    database.forget()
    async with asyncio.TaskGroup() as tasks:
        committing = tasks.create_task(lost(rig, sink))
        await asyncio.sleep(delay_s)
        postgres.kill()
    await sink.close()
    await asyncio.to_thread(postgres.start)
    probe = await rig.open()
    await probe.close()
    decided = rig.held.stamp.number == number + 1
    assert committing.result() or decided
    assert sorted(database.column(ROWS)) == [*range(rig.held.stamp.number)]
    return decided


async def lost(rig: Rig, sink: PostgresSink) -> bool:
    """Commit; tells whether the answer never came."""
    try:
        await sink.commit(rig.next())
    except Unavailable:
        return True
    return False


async def write_from(rig: Rig, rows: int) -> None:
    """Write what is missing, a row a checkpoint."""
    sink = await rig.open()
    while rig.held.stamp.number < rows:
        await sink.write(rows_of(id=[rig.held.stamp.number]))
        await rig.commit(sink)
    await sink.close()
