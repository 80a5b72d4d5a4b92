"""The broker of an event bus is killed while events are published: none is missing afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dataflow.views.bus import EventBus, bus
from deploy.stack.kafka import Kafka
from tests.contract.views.bus.conftest import SHARD, Author, InKafka
from tests.contract.views.bus.test_bus import judged, note

KILLS = 1
SETTLE_S = 120.0

pytestmark = pytest.mark.slow


async def test_a_broker_that_is_killed_costs_no_event_and_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever commits hears nothing of it; a transaction that was under way is published or not."""
    monkeypatch.setattr(bus, "BACKOFF_MAX_S", 1.0)
    with Kafka(tmp_path) as own:
        read, author = InKafka(own.address), Author()
        over = asyncio.Event()

        async def commit(running: EventBus) -> None:
            while not over.is_set():
                note(running, SHARD, await author.write(3))
                await asyncio.sleep(0.01)

        async with EventBus.open(author.journal, read.topic(), lambda: (SHARD,)) as running:
            running.take_up(SHARD)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(commit(running))
                for _ in range(KILLS):
                    await until_more(running)
                    await asyncio.to_thread(own.kill)
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(own.start)
                    await until_more(running)
                over.set()
            async with asyncio.timeout(SETTLE_S):
                while running.lag:  # noqa: ASYNC110 - the bus brings it about
                    await asyncio.sleep(0.05)
        assert judged(read.shown(), author) == []


async def until_more(running: EventBus) -> None:
    """Return when some more events have been published."""
    wanted = running.published + 50
    async with asyncio.timeout(SETTLE_S):
        while running.published < wanted:  # noqa: ASYNC110 - the bus brings it about
            await asyncio.sleep(0.05)
