"""Records into a producer's queue, in order, as fast as they leave it."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException, Producer

from dataflow.connectors.kafka.records import Records

QUEUE_BYTES = 64 << 20
"""Of records that wait to be sent; then all of them are waited for.

The driver's own limits are never reached: of several records given at once it would refuse some and
take later ones, which then overtake them.
"""

ROWS = 10_000
"""Handed over at once."""

DRAIN_S = 0.1

LIMITS = {
    "queue.buffering.max.kbytes": (QUEUE_BYTES >> 10) * 8,
    "queue.buffering.max.messages": 10_000_000,
}
"""Beyond ``QUEUE_BYTES`` together with one batch, however large or small its rows."""


class Producing:
    """Gives records of one topic to one producer."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._waiting = 0

    def give(self, records: Records, size: int) -> None:
        """Queue records of so many bytes.

        Raises:
            KafkaException: the producer takes none any more.
        """
        self._waiting += size
        if records.headers is None:
            self._give_many(records)
        else:
            self._give_each(records)
        if self._waiting >= QUEUE_BYTES:
            while self._producer.flush(DRAIN_S):  # until sent, or given up by the producer
                pass
            self._waiting = 0
        self._producer.poll(0)

    def _give_many(self, records: Records) -> None:
        messages: list[dict[str, Any]] = [{"value": value} for value in records.values]
        for name, column in (("key", records.keys), ("timestamp", records.times_ms)):
            for message, value in zip(messages, column or (), strict=column is not None):
                if value is not None:
                    message[name] = value
        for first in range(0, len(messages), ROWS):
            given = messages[first : first + ROWS]
            if self._producer.produce_batch(self._topic, given) < len(given):
                raise KafkaException(next(one["_error"] for one in given if "_error" in one))

    def _give_each(self, records: Records) -> None:
        """Give one after the other: the driver takes no headers with many."""
        for row, value in enumerate(records.values):
            given: dict[str, Any] = {"headers": list((records.headers or ())[row])}
            if records.keys is not None:
                given["key"] = records.keys[row]
            if records.times_ms is not None and (moment := records.times_ms[row]) is not None:
                given["timestamp"] = moment
            self._producer.produce(self._topic, value, **given)
