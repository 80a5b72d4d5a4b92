"""The program and the server are killed; independent readers find every change once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.stack.postgres import Postgres
from tests.databases import Database, database_of
from tests.fault.connectors.lives import Deaths, live, problems
from tests.fault.connectors.postgres_source.histories import Mirror

pytestmark = pytest.mark.slow


def test_a_program_that_is_killed_again_and_again_loses_no_change_and_repeats_none(
    database: Database, kafka: str, tmp_path: Path
) -> None:
    """A table to tables, a file and a topic, while it is read and while its log is."""
    mirror = Mirror(database, tmp_path, 3, transactions=5, before=20_000, broker=kafka)
    assert not problems(live(mirror, Deaths(seed=3, kills=3)))


def test_a_server_that_is_killed_under_the_stream_costs_no_change(tmp_path: Path) -> None:
    """It comes back with the slot as it was last told to keep it."""
    with Postgres(tmp_path / "postgres") as own, database_of(own.address) as database:
        mirror = Mirror(database, tmp_path, 4, transactions=5, before=20_000)
        assert not problems(live(mirror, Deaths(seed=4, kills=2, servers=[own])))
