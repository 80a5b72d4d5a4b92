"""Owners who race for a shard, for some seconds; ``race.py`` does it for as long as asked."""

from __future__ import annotations

import pytest

from dataflow.journal.cassandra import Options
from tests.fault.journal.race import APPENDS_MIN, race

SECONDS = 10


@pytest.mark.slow
async def test_owners_who_race_for_a_shard_lose_nothing(keyspace: Options) -> None:
    """Leases are only hints: two nodes that both believe to own a shard leave one good log."""
    report = await race(keyspace, SECONDS)
    assert report.anomalies == []
    assert report.appends >= APPENDS_MIN, str(report)
    assert report.unknown > 0, str(report)
    assert len(report.fences) > 10, str(report)
