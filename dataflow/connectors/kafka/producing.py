"""Records into a producer's queue, in order, as fast as they leave it."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

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
    "delivery.report.only.error": True,
}
"""Beyond ``QUEUE_BYTES`` together with one batch, however large or small its rows."""


class Producing:
    """Gives records of one topic to one producer."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._waiting = 0
        self.failure: KafkaError | None = None
        """Why the first record was not taken, if one was not: what follows from it says less."""

    def _undelivered(self, error: KafkaError | None, message: object) -> None:  # noqa: ARG002 - the driver's
        self.failure = self.failure or error

    def give(self, records: Records, size: int) -> None:
        """Queue records of so many bytes.

        Raises:
            KafkaException: the producer takes none any more.
        """
        self._waiting += size
        if records.headers is None and records.times_ms is None:
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
        for message, key in zip(messages, records.keys or (), strict=records.keys is not None):
            if key is not None:
                message["key"] = key
        told = self._undelivered
        for first in range(0, len(messages), ROWS):
            given = messages[first : first + ROWS]
            if self._producer.produce_batch(self._topic, given, on_delivery=told) < len(given):
                raise KafkaException(next(one["_error"] for one in given if "_error" in one))

    def _give_each(self, records: Records) -> None:
        """Give one after the other: the driver takes neither headers nor moments with many."""
        for row, value in enumerate(records.values):
            given: dict[str, Any] = {"on_delivery": self._undelivered}
            if records.headers is not None:
                given["headers"] = list(records.headers[row])
            if records.keys is not None:
                given["key"] = records.keys[row]
            if records.times_ms is not None and (moment := records.times_ms[row]) is not None:
                given["timestamp"] = moment
            self._producer.produce(self._topic, value, **given)
