"""The same log kept in files and in Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

import pytest

from dataflow.app.clock import SystemClock
from dataflow.connect import Log
from dataflow.engine.ingest import IngestLogs
from dataflow.engine.ingest.kafka import Brokers, KafkaLogs
from tests.unit.engine.ingest.pushing import PIPELINE, AnyPushing, Pushing


class KafkaPushing(AnyPushing):
    """Logs of a cluster of their own on the machine's Kafka."""

    def __init__(self, broker: str) -> None:
        settings = {"bootstrap.servers": broker}
        self.brokers = Brokers(settings, f"test-{token_hex(6)}", SystemClock(), replicas=1)
        self.logs = self._opened()

    def _opened(self) -> IngestLogs:
        logs = KafkaLogs(self.brokers)
        self._log = logs.log(PIPELINE)
        return logs

    @property
    def log(self) -> Log:
        """Return the one that a run has."""
        return self._log

    @property
    def topic(self) -> str:
        """Return where it is kept."""
        return self.brokers.topic(PIPELINE)

    def remove(self) -> None:
        """Leave nothing behind."""
        self.brokers.remove(self.topic)


@pytest.fixture(params=["files", "followed", "kafka"])
async def pushing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyPushing]:
    """Return a log: in files, read here or as in a worker process, or in Kafka."""
    if request.param != "kafka":
        made: AnyPushing = Pushing(tmp_path / "logs", followed=request.param == "followed")
        yield made
        await made.logs.close()
        return
    in_kafka = KafkaPushing(request.getfixturevalue("kafka"))
    yield in_kafka
    await in_kafka.logs.close()
    in_kafka.remove()


@pytest.fixture
async def in_kafka(kafka: str) -> AsyncIterator[KafkaPushing]:
    """Return a log in Kafka."""
    made = KafkaPushing(kafka)
    yield made
    await made.logs.close()
    made.remove()
