"""The server goes away in the middle of a pipeline, and the pipeline goes on when it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from deploy.stack.postgres import Postgres
from tests.contract.engine.owner import Broken, Points
from tests.databases import Database, database_of
from tests.integration.connectors.postgres_sink.test_engine import check, owner_of

pytestmark = pytest.mark.slow

ENDINGS: dict[str, Callable[[Postgres], None]] = {"kill": Postgres.kill, "stop": Postgres.stop}
WHERE = {"postgres.recovered": 1, "task.opened": 1, "postgres.written": 2, "postgres.decided": 2}
"""Point -> the how-manieth time that a run passes it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Return a server of these tests' own."""
    postgres = Postgres(tmp_path_factory.mktemp("postgres"))
    postgres.start()
    yield postgres
    postgres.close()


@pytest.fixture
def database(server: Postgres) -> Iterator[Database]:
    """Return an empty database of that server."""
    with database_of(server.address) as made:
        yield made


@pytest.mark.parametrize("fault", [*product(ENDINGS, WHERE)], ids="-".join)
async def test_a_server_that_ends_and_is_back_costs_attempts_and_no_row(
    fault: tuple[str, str], server: Postgres, database: Database, tmp_path: Path
) -> None:
    """The failure is one that is tried again; the run after it finds out what holds."""
    ending, where = fault
    owner = owner_of(database, tmp_path / "in", "restarted", "insert")
    passed: list[str] = []

    def end(point: str) -> None:
        passed.append(point)
        if point == where and passed.count(where) == WHERE[where]:
            database.forget()
            ENDINGS[ending](server)

    with pytest.raises(Broken) as while_it_ends:
        await owner.live(end)
    with pytest.raises(Broken) as while_it_is_away:
        await owner.live(Points())
    server.start()
    await owner.live(Points())
    await check(owner, database, "restarted")
    assert while_it_ends.value.error.retryable
    assert while_it_is_away.value.error.retryable
