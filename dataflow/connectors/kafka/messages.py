"""What comes of a partition: records, and in between them what the driver has to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaError, KafkaException, Message


class Missing(Exception):
    """The offset asked for is not there."""


def parts(
    messages: Sequence[Message], offset: int, rows_max: int
) -> Iterator[tuple[Sequence[Message], int]]:
    """Yield records, as many as fit into a batch, with the offset to go on at after them.

    Behind the last record may be the marker of a transaction: to go on before it would ask for an
    offset that retention may have passed without deleting any record. Where only a marker has come
    there are no records, and the offset alone moves on.
    """
    good = [message for message in messages if message.error() is None]
    end = _end(messages)
    for first in range(0, len(good), rows_max):
        part = good[first : first + rows_max]
        after = (part[-1].offset() or 0) + 1
        yield part, max(after, end) if part[-1] is good[-1] else after
    if not good and end > offset:
        yield (), end


def require_no_error(messages: Sequence[Message]) -> None:
    """Raise what came instead of records.

    Raises:
        Missing: the offset asked for is not there.
        KafkaException: the partition cannot be read.
    """
    for message in messages:
        error = message.error()
        if error is None or _tells_end(message):
            continue
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the driver's name
            raise Missing
        raise KafkaException(error)


def _end(messages: Sequence[Message]) -> int:
    """Return the offset behind the last record that a reader may see, if that was told; else 0."""
    return max((m.offset() or 0 for m in messages if _tells_end(m)), default=0)


def _tells_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - the driver's name
