"""What comes of a partition: records, and in between them what the driver has to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaError, KafkaException

from dataflow.connectors.kafka.fetched import Fetched, Told


class Missing(Exception):
    """The offset asked for is not there."""


def parts(fetched: Fetched, offset: int, rows_max: int) -> Iterator[tuple[Fetched, int]]:
    """Yield records, as many as fit into a batch, with the offset to go on at after them.

    Behind the last record may be the marker of a transaction: to go on before it would ask for an
    offset that retention may have passed without deleting any record. Where only a marker has come
    there are no records, and the offset alone moves on.
    """
    end = _end(fetched.told)
    for first in range(0, len(fetched), rows_max):
        part = fetched.slice(first, rows_max)
        is_last = first + rows_max >= len(fetched)
        yield part, max(part.resume_at, end) if is_last else part.resume_at
    if not len(fetched) and end > offset:
        yield fetched, end


def require_no_error(told: Sequence[Told]) -> None:
    """Raise what came instead of records.

    Raises:
        Missing: the offset asked for is not there.
        KafkaException: the partition cannot be read.
    """
    for one in told:
        if _tells_end(one):
            continue
        if one.error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the driver's name
            raise Missing
        raise KafkaException(one.error)


def _end(told: Sequence[Told]) -> int:
    """Return the offset behind the last record that a reader may see, if that was told; else 0."""
    return max((one.offset for one in told if _tells_end(one)), default=0)


def _tells_end(told: Told) -> bool:
    return told.error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - the driver's name
