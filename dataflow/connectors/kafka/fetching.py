"""Taking what a consumer has fetched, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from dataflow.connectors.kafka.fetched import Fetched, Headers, Partition, Told, Unreadable, Wanted

Found = Mapping[Partition, Fetched]


class Fetching(Protocol):
    """How records leave the driver; one thread alone calls it."""

    consumer: Consumer

    def expect(self, partition: Partition) -> None:
        """Get ready for a partition; BEFORE it is assigned."""
        ...

    def fetch(self, most: int, wait_s: float) -> Sequence[Fetched]:
        """Return so many records at the most, waiting so long for them; of each partition at once.

        Raises:
            KafkaException: the client has failed.
        """
        ...

    def close(self) -> None:
        """End the client."""
        ...


class ClientFetching:
    """By Python's client: an object a record."""

    def __init__(self, settings: Mapping[str, Any], wanted: Wanted) -> None:
        self.consumer = Consumer(dict(settings))
        self._wanted = wanted

    def expect(self, partition: Partition) -> None:
        """See ``Fetching``."""

    def fetch(self, most: int, wait_s: float) -> Sequence[Fetched]:
        """See ``Fetching``."""
        messages = self.consumer.consume(most, wait_s)
        return [fetched(one, found, self._wanted) for one, found in apart(messages).items()]

    def close(self) -> None:
        """See ``Fetching``."""
        self.consumer.close()


def fetched(partition: Partition, messages: Sequence[Message], wanted: Wanted) -> Fetched:
    """Return the records and errors of one partition as columns."""
    good = [message for message in messages if message.error() is None]
    values = [message.value() for message in good]
    if wanted.lines:
        values = [value if value is None else value + b"\n" for value in values]
    keys = [message.key() for message in good] if wanted.keys else None
    times = [message.timestamp()[1] for message in good] if wanted.times else None
    headers = [_headers(message) for message in good] if wanted.headers else None
    errors = ((message.offset() or 0, message.error()) for message in messages)
    return Fetched(
        partition,
        offsets=pa.array([message.offset() for message in good], pa.int64()),
        values=pa.array(values, pa.large_binary()),
        keys=None if keys is None else pa.array(keys, pa.large_binary()),
        times_ms=None if times is None else pa.array(times, pa.int64()),
        headers=headers,
        told=[Told(offset, error) for offset, error in errors if error is not None],
    )


def _headers(message: Message) -> Headers | Unreadable | None:
    try:
        return message.headers()  # type: ignore[return-value]  # typed too widely
    except SystemError as error:  # The client (2.16) takes no notice of what it comes from.
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        return False


def apart(messages: Sequence[Message]) -> Mapping[Partition, Sequence[Message]]:
    """Return messages by partition; those of one mostly come one behind the other."""
    found: dict[Partition, list[Message]] = {}
    last: tuple[str | None, int | None] = (None, None)
    same: list[Message] = []
    for message in messages:
        if (message.topic(), message.partition()) != last:
            last = topic, number = message.topic(), message.partition()
            if topic is None or number is None:
                raise KafkaException(message.error() or KafkaError(KafkaError.UNKNOWN))
            same = found.setdefault(Partition(topic, number), [])
        same.append(message)
    return found
