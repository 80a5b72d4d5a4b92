"""Records into a producer's queue, in order, as fast as they leave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import KafkaError, KafkaException, Producer

from dataflow.connectors.kafka.errors import Heard
from dataflow.connectors.kafka.records import Records
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.target import Limits

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


BATCH_BYTES = 1_000_000
"""Of a request's records of one partition; no more than a record of the topic may have."""

LINGER_MS = 20
"""A checkpoint comes once a second: records gather in larger requests meanwhile."""

_PARTITIONERS = {
    "murmur2": "murmur2_random",
    "consistent": "consistent_random",
    "random": "random",
}

PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # noqa: SLF001 - the driver's names
"""Given up with the rest, as when a newer producer has come: no reason by itself."""

NOW = 0
"""The moment of a record that has none: when it is queued."""


def producer_settings(options: KafkaSinkOptions, limits: Limits, heard: Heard) -> Mapping[str, Any]:
    """Return how records are sent, by librdkafka's names."""
    return {
        "linger.ms": LINGER_MS,
        "compression.type": options.compression,
        "partitioner": _PARTITIONERS[options.partitioner],
        "message.max.bytes": limits.driver_bytes,
        "batch.size": min(limits.driver_bytes, BATCH_BYTES),
        "error_cb": heard,
    }


class Producing(Protocol):
    """How records reach the driver."""

    producer: Producer

    @property
    def failure(self) -> KafkaError | None:
        """Why the first record was not taken, if one was not: what follows from it says less."""
        ...

    def give(self, records: Records, sizes: pa.Array[Any]) -> None:
        """Queue records of so many bytes each.

        Raises:
            KafkaException: the producer takes none any more.
        """
        ...


class ClientProducing:
    """Gives records of one topic to Python's client: an object a record."""

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        self.producer = Producer({**settings, **LIMITS})
        self._topic = topic
        self._waiting = 0
        self._failure: KafkaError | None = None

    @property
    def failure(self) -> KafkaError | None:
        """See ``Producing``."""
        return self._failure

    def _undelivered(self, error: KafkaError | None, message: object) -> None:  # noqa: ARG002 - the driver's
        if error is not None and error.code() not in PURGED:
            self._failure = self._failure or error

    def give(self, records: Records, sizes: pa.Array[Any]) -> None:
        """See ``Producing``."""
        self._waiting += pc.call_function("sum", [sizes]).as_py() or 0
        self._queue(records)
        if self._waiting >= QUEUE_BYTES:
            while self.producer.flush(DRAIN_S):  # until sent, or given up by the producer
                pass
            self._waiting = 0
        self.producer.poll(0)

    def _queue(self, records: Records) -> None:
        if records.headers is None and records.times_ms is None:
            self._queue_many(records)
        else:
            self._queue_each(records)

    def _queue_many(self, records: Records) -> None:
        messages: list[dict[str, Any]] = [{"value": value} for value in records.value_list()]
        keys = None if records.keys is None else records.keys.to_pylist()
        for message, key in zip(messages, keys or (), strict=keys is not None):
            if key is not None:
                message["key"] = key
        told = self._undelivered
        for first in range(0, len(messages), ROWS):
            given = messages[first : first + ROWS]
            if self.producer.produce_batch(self._topic, given, on_delivery=told) < len(given):
                raise KafkaException(next(one["_error"] for one in given if "_error" in one))

    def _queue_each(self, records: Records) -> None:
        """Give one after the other: the driver takes neither headers nor moments with many."""
        keys = None if records.keys is None else records.keys.to_pylist()
        times = None if records.times_ms is None else records.times_ms.to_pylist()
        for row, value in enumerate(records.value_list()):
            given: dict[str, Any] = {"on_delivery": self._undelivered}
            if records.headers is not None:
                given["headers"] = list(records.headers[row])
            if keys is not None:
                given["key"] = keys[row]
            if times is not None:
                given["timestamp"] = times[row] or NOW
            self.producer.produce(self._topic, value, **given)
