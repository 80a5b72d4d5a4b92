"""What every transactional sink promises, of the Kafka sink on the real broker."""

from __future__ import annotations

import pytest

from dataflow.connect.testkit import TransactionalSinkSuite
from tests.integration.connectors.kafka.places import KafkaPlace


class TestKafkaSink(TransactionalSinkSuite):
    """Each test has a topic of its own."""

    second_deaths = 37

    @pytest.fixture(autouse=True)
    def _at(self, kafka: str) -> None:
        self.broker = kafka

    def place(self) -> KafkaPlace:
        """Return a new topic."""
        return KafkaPlace(self.broker)
