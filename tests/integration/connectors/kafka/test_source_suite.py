"""What every source promises, of the Kafka source on the real broker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from dataflow.connect import SourceStep
from dataflow.connect.spec import parse
from dataflow.connect.testkit import SourceSuite, context
from dataflow.connectors.kafka.source import KafkaSource
from dataflow.connectors.kafka.source_spec import KafkaPinned, KafkaPosition, KafkaSourceOptions
from tests.integration.connectors.kafka.places import Sent, new_topic, send

RECORDS = 40


class KafkaSuite(SourceSuite[KafkaPosition, KafkaPinned]):
    """A topic of three partitions; the last one is empty where a run ends by itself."""

    position = KafkaPosition
    pinned = KafkaPinned
    options: ClassVar[Mapping[str, Any]] = {}
    partitions = 3

    @pytest.fixture(autouse=True)
    def _written(self, kafka: str) -> None:
        self.broker = kafka
        self.topic = new_topic(kafka, self.partitions)
        send(kafka, self.topic, [self.record(number) for number in range(RECORDS)])

    def record(self, number: int) -> Sent:
        """Return what is sent as the record of a number."""
        value = json.dumps({"id": number, "name": f'row {number}, "ü"\n'}).encode()
        return Sent(value if number != 13 else b"\xff no JSON", number % 2, f"k{number}".encode())

    def source(self) -> KafkaSource:
        step = SourceStep("kafka", self.broker, batch_size=7)
        options = {"topics": [self.topic], "stopAtEnd": True} | dict(self.options)
        return KafkaSource(step, parse(KafkaSourceOptions, json.dumps(options)), context())


class TestJson(KafkaSuite):
    """Types are inferred; everything that goes with a record is a column."""

    options: ClassVar[Mapping[str, Any]] = {
        "keyColumn": "key",
        "headersColumn": "headers",
        "topicColumn": "topic",
        "partitionColumn": "partition",
        "offsetColumn": "offset",
        "timestampColumn": "time",
    }


@pytest.mark.usefixtures("by_client")
class TestByClient(TestJson):
    """The same without native.c."""


class TestDeclared(KafkaSuite):
    """Types are declared, other fields dropped."""

    options: ClassVar[Mapping[str, Any]] = {"schema": {"id": "int32"}, "otherColumns": "drop"}


class TestString(KafkaSuite):
    """Values as text; one is none."""

    options: ClassVar[Mapping[str, Any]] = {"format": "string", "valueColumn": "text"}


class TestBytes(KafkaSuite):
    """Values as they are."""

    options: ClassVar[Mapping[str, Any]] = {"format": "bytes", "keyColumn": "key"}


class TestEndless(KafkaSuite):
    """Without an end, until as many records have come as there are."""

    records_max = RECORDS // 2
    partitions = 2
    options: ClassVar[Mapping[str, Any]] = {"stopAtEnd": False}
