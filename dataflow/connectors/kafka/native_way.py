"""Records between the driver and columns in C, without Python's lock; see native.c."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, KafkaError, KafkaException

from dataflow.connectors.kafka import native
from dataflow.connectors.kafka.fetched import Fetched, Partition, Told, Wanted, nothing
from dataflow.connectors.kafka.fetching import apart
from dataflow.connectors.kafka.producing import NOW, ClientProducing
from dataflow.connectors.kafka.records import Records

PLUGIN = {"plugin.library.paths": native.__file__}
"""Has librdkafka show native.c the clients that are made with it."""

BESIDE = 1_000
"""Errors at once that came to no partition's queue."""

KEYS, TIMES, HEADERS, LINES = 1, 2, 4, 8
"""What is wanted, as native.c numbers it."""


class NativeFetching:
    """Partitions' queues lead to one of our own, into which nothing else is put.

    The consumer's own queue holds what calls Python: the client alone may serve that.

    librdkafka ends the leading of a partition's queue some time after it was unassigned, which may
    be AFTER it was assigned again: so it is led again until something has come. What came in
    between waits in it, and comes along in its order.
    """

    def __init__(self, settings: Mapping[str, Any], wanted: Wanted) -> None:
        self.consumer = Consumer({**settings, **PLUGIN})
        self._client = native.newest()
        self._queue = native.queue(self._client, self.consumer)
        self._unheard: set[Partition] = set()
        """Those that nothing has come of since they were assigned."""
        self._wanted = (
            KEYS * wanted.keys
            + TIMES * wanted.times
            + HEADERS * wanted.headers
            + LINES * wanted.lines
        )

    def expect(self, partition: Partition) -> None:
        """See ``Fetching``."""
        self._unheard.add(partition)
        self._lead()

    def _lead(self) -> None:
        for partition in self._unheard:
            native.forward(self._client, self._queue, *partition)

    def fetch(self, most: int, wait_s: float) -> Sequence[Fetched]:
        """See ``Fetching``."""
        self._lead()
        groups, errors = native.drain(self._queue, most, round(wait_s * 1000), self._wanted)
        found = {one.partition: one for one in map(_fetched, groups)}
        told: dict[Partition, list[Told]] = defaultdict(list)
        for topic, number, offset, code, text in errors:
            if topic is None:
                raise KafkaException(KafkaError(code, text))
            told[Partition(topic, number)].append(Told(offset, KafkaError(code, text)))
        for partition, messages in apart(self.consumer.consume(BESIDE, 0)).items():
            for message in messages:
                error = message.error()
                if error is None:
                    raise RuntimeError(f"a record of {partition} came another way")
                told[partition].append(Told(message.offset() or 0, error))
        for partition, ones in told.items():
            found[partition] = replace(found.get(partition) or nothing(partition), told=ones)
        self._unheard.difference_update(found)
        return list(found.values())

    def close(self) -> None:
        """See ``Fetching``."""
        del self._queue  # BEFORE the client ends
        self.consumer.close()


def _fetched(group: native.Group) -> Fetched:
    topic, number, offsets, values, keys, times_ms, headers = group
    count = len(offsets) // 8
    return Fetched(
        partition=Partition(topic, number),
        offsets=_numbers(offsets, count),
        values=_column(values, count),
        keys=None if keys is None else _column(keys, count),
        times_ms=None if times_ms is None else _numbers(times_ms, count),
        headers=headers,
    )


def _numbers(data: bytes, count: int) -> pa.Array[Any]:
    return pa.Array.from_buffers(pa.int64(), count, [None, pa.py_buffer(data)])


def _column(column: native.Column, count: int) -> pa.Array[Any]:
    buffers = [None if one is None else pa.py_buffer(one) for one in column]
    return pa.Array.from_buffers(pa.large_binary(), count, buffers)


class NativeProducing(ClientProducing):
    """Records are copied from columns into the driver's queue."""

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        super().__init__({**settings, **PLUGIN}, topic)
        self._client = native.newest()

    @property
    def failure(self) -> KafkaError | None:
        """See ``Producing``."""
        code = native.failure(self._client)
        return KafkaError(code) if code else None

    def _queue(self, records: Records) -> None:
        if records.headers is not None:
            super()._queue(records)
            return
        keys = None if records.keys is None else _buffers(records.keys)
        times = None if records.times_ms is None else _moments(records.times_ms)
        values = _buffers(records.values)
        code = native.produce(self._client, self._topic, values, records.gap, keys, times)
        if code:
            raise KafkaException(KafkaError(code))


def _buffers(column: pa.Array[Any]) -> native.Column:
    bits = pc.is_valid(column).buffers()[1] if column.null_count else None
    data = column.buffers()[2]
    return bits, _numbers_of(column, len(column) + 1), b"" if data is None else data


def _moments(times_ms: pa.Array[Any]) -> pa.Buffer:
    return _numbers_of(times_ms.fill_null(NOW), len(times_ms))


def _numbers_of(column: pa.Array[Any], count: int) -> pa.Buffer:
    """Return the buffer of a column's 64-bit numbers, from its first row on."""
    numbers = column.buffers()[1]
    return pa.py_buffer(b"") if numbers is None else numbers.slice(8 * column.offset, 8 * count)
