"""Topics of their own, and what independent clients read and write in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from dataflow.connect import AtLeastOnceSink, SinkStep, TransactionalSink
from dataflow.connect.testkit import SinkPlace
from dataflow.connect.testkit.places import context
from dataflow.connectors.kafka.repeating import RepeatingKafkaSink
from dataflow.connectors.kafka.sink import KafkaSink
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions

ANSWER_S, POLL_S = 30.0, 0.1


def new_topic(broker: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
    """Make a topic, and return its name once the broker knows it.

    The controller answers first: one in four was unknown then, for up to 450 ms on a busy machine.
    """
    topic = f"topic-{uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": broker})
    new = NewTopic(topic, partitions, 1, config=dict(config or {}))
    admin.create_topics([new])[topic].result(ANSWER_S)
    ends = time.monotonic() + ANSWER_S
    while admin.list_topics(topic, ANSWER_S).topics[topic].error is not None:
        assert time.monotonic() < ends, f"{topic} is not known yet"
        time.sleep(POLL_S / 10)
    return topic


def messages(broker: str, topic: str, isolation: str = "read_committed") -> list[Message]:
    """Return all that a reader of a topic sees now, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": f"reader-{uuid4().hex[:12]}",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
    )
    try:
        count = len(consumer.list_topics(topic, ANSWER_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(count)])
        found: list[Message] = []
        ended: set[int | None] = set()
        while len(ended) < count:
            for message in consumer.consume(1000, POLL_S):
                error = message.error()
                if error is None:
                    found.append(message)
                    continue
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(message.partition())
        return sorted(found, key=lambda m: (m.partition(), m.offset()))
    finally:
        consumer.close()


def values(broker: str, topic: str) -> list[Any]:
    """Return the JSON values that a reader of committed records sees."""
    return [orjson.loads(message.value() or b"null") for message in messages(broker, topic)]


class KafkaPlace(SinkPlace[TransactionalSink]):
    """A topic, and a prefix of the names that its writers share."""

    def __init__(self, broker: str, **options: object) -> None:
        self.broker = broker
        self.topic = new_topic(broker)
        self.prefix = f"place-{uuid4().hex[:12]}"
        self._options = options

    def sink(self, probe: Callable[[str], None]) -> KafkaSink:
        options = {"topic": self.topic, "idPrefix": self.prefix} | self._options
        step = SinkStep("kafka", self.broker)
        return KafkaSink(step, KafkaSinkOptions.model_validate(options), context(probe))

    def visible(self) -> Sequence[int]:
        return [value["id"] for value in values(self.broker, self.topic)]

    async def kill(self, sink: TransactionalSink) -> None:
        assert isinstance(sink, KafkaSink)
        producer, sink._producer = sink._producer, None
        if producer is not None:
            producer.purge()
        await sink.close()


class RepeatingPlace(SinkPlace[AtLeastOnceSink]):
    """A topic that is written to without transactions."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.topic = new_topic(broker)

    def sink(self, probe: Callable[[str], None]) -> RepeatingKafkaSink:
        options = {"topic": self.topic, "delivery": "at-least-once"}
        step = SinkStep("kafka", self.broker)
        return RepeatingKafkaSink(step, KafkaSinkOptions.model_validate(options), context(probe))

    def visible(self) -> Sequence[int]:
        return [value["id"] for value in values(self.broker, self.topic)]

    async def kill(self, sink: AtLeastOnceSink) -> None:
        await sink.close()  # It gives up what is not acknowledged.


class Sent(NamedTuple):
    """A record as an independent producer sends it."""

    value: bytes | None
    partition: int = 0
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def send(broker: str, topic: str, records: Sequence[Sent]) -> None:
    """Have records in a topic, outside of any transaction."""
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 5, "acks": "all"})
    for record in records:
        producer.produce(
            topic,
            record.value,
            record.key,
            record.partition,
            headers=list(record.headers),
        )
        producer.poll(0)
    assert producer.flush(ANSWER_S) == 0
