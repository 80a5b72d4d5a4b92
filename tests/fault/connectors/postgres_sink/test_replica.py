"""The server has become a replica, as after a failover: it may be promoted, or another is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.connect import Unavailable
from deploy.stack.postgres import Postgres
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of

pytestmark = pytest.mark.slow


async def test_a_replica_is_told_and_tried_again(tmp_path: Path) -> None:
    """It cannot be written to now; the remedy is said in case it never can."""
    postgres = Postgres(tmp_path)
    postgres.start()
    try:
        database = Database(postgres.address, "postgres")
        database.execute("CREATE TABLE rows (id integer)")
        database.close()
        postgres.stop()
        signal = tmp_path / "data" / "standby.signal"
        signal.touch()
        postgres.start()
        with pytest.raises(Unavailable, match=r"is a replica, .* target_session_attrs=read-write"):
            await Rig(database.url, {}).write(rows_of(id=[1]))
        signal.unlink()
        postgres.stop()
        postgres.start()
        await Rig(database.url, {}).write(rows_of(id=[1]))
    finally:
        postgres.close()
