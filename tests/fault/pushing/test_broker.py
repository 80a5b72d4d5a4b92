"""The broker of an ingest log is killed while batches are pushed: nothing of them is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from dataflow.app.clock import SystemClock
from dataflow.core.errors import Unavailable
from dataflow.engine.ingest.kafka import Brokers, KafkaLogs
from deploy.stack.kafka import Kafka
from tests.unit.engine.ingest.pushing import NDJSON, PIPELINE, Options, lines, numbers_of

SENDERS = 3
KILLS = 1
SETTLE_S = 120.0

pytestmark = pytest.mark.slow


async def test_no_acknowledged_batch_is_lost_or_twice_when_the_broker_is_killed(
    tmp_path: Path,
) -> None:
    """Between begin, commit and answer, wherever the broker was; a reader goes on beside it."""
    with Kafka(tmp_path) as own:
        brokers = Brokers({"bootstrap.servers": own.address}, "broken", SystemClock(), replicas=1)
        logs = KafkaLogs(brokers)
        acknowledged: list[int] = []
        over = asyncio.Event()

        async def send(sender: int) -> None:
            number = 0
            while not over.is_set():
                value, number = sender * 1_000_000 + number, number + 1
                await pushed(logs, value)
                acknowledged.append(value)

        async with asyncio.TaskGroup() as tasks:
            for sender in range(SENDERS):
                tasks.create_task(send(sender))
            for _ in range(KILLS):
                await until_more(acknowledged)
                await asyncio.to_thread(own.kill)
                await asyncio.to_thread(own.start)
                await until_more(acknowledged)
            over.set()
        found = await read(logs, len(acknowledged))
        assert Counter(found) == Counter(acknowledged)
        for sender in range(SENDERS):
            own_values = [n for n in found if n // 1_000_000 == sender]
            assert own_values == sorted(own_values)
        await logs.close()


async def pushed(logs: KafkaLogs, value: int) -> None:
    """Push a batch until it is acknowledged."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            try:
                await logs.append(
                    PIPELINE, f"b{value}", NDJSON, lines(value), source_options=Options()
                )
            except Unavailable:
                await asyncio.sleep(0.2)
            else:
                return


async def until_more(acknowledged: Sequence[int]) -> None:
    """Return when some more have been acknowledged."""
    wanted = len(acknowledged) + 30
    async with asyncio.timeout(SETTLE_S):
        while len(acknowledged) < wanted:  # noqa: ASYNC110 - the senders bring it about
            await asyncio.sleep(0.05)


async def read(logs: KafkaLogs, count: int) -> list[int]:
    """Return the records of a log from the first to the end."""
    log = logs.log(PIPELINE)
    assert await log.end() == count
    found: list[int] = []
    async with asyncio.timeout(SETTLE_S), aclosing(log.read(0)) as batches:
        while len(found) < count:
            found += numbers_of((await anext(batches)).batch)
    return found
