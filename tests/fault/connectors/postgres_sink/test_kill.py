"""The program, the broker and the server are killed; another client finds every row once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.stack.kafka import Kafka
from deploy.stack.postgres import Postgres
from tests.databases import Database, database_of
from tests.fault.connectors.lives import Deaths, live, problems
from tests.fault.connectors.postgres_sink.histories import Senders, Tables

pytestmark = pytest.mark.slow


def test_a_program_that_is_killed_again_and_again_loses_no_row_and_repeats_none(
    database: Database, kafka: str, tmp_path: Path
) -> None:
    """A topic and pushed batches into tables that would take a row twice."""
    with Tables(kafka, database, tmp_path, 3_000, Senders(60), lanes=2) as tables:
        assert not problems(live(tables, Deaths(seed=6, kills=3, workers=2)))


def test_a_broker_and_a_server_that_are_killed_cost_no_row(tmp_path: Path) -> None:
    """The broker while it is read, and the server while it is written to."""
    with (
        Kafka(tmp_path) as broker,
        Postgres(tmp_path / "postgres") as server,
        database_of(server.address) as database,
        Tables(broker.address, database, tmp_path, 3_000, Senders(60)) as tables,
    ):
        assert not problems(live(tables, Deaths(seed=7, kills=2, servers=[broker, server])))
