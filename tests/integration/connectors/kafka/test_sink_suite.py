"""What every sink of its kind promises, of the Kafka sink on the real broker."""

from __future__ import annotations

import pytest

from dataflow.connect.testkit import AtLeastOnceSinkSuite, TransactionalSinkSuite
from tests.integration.connectors.kafka.places import KafkaPlace, RepeatingPlace


class TestKafkaSink(TransactionalSinkSuite):
    """Each test has a topic of its own."""

    second_deaths = 37

    @pytest.fixture(autouse=True)
    def _at(self, kafka: str) -> None:
        self.broker = kafka

    def place(self) -> KafkaPlace:
        """Return a new topic."""
        return KafkaPlace(self.broker)


class TestRepeatingKafkaSink(AtLeastOnceSinkSuite):
    """Without transactions."""

    second_deaths = 37

    @pytest.fixture(autouse=True)
    def _at(self, kafka: str) -> None:
        self.broker = kafka

    def place(self) -> RepeatingPlace:
        """Return a new topic."""
        return RepeatingPlace(self.broker)
