"""Messages in parts: a batch may have 64 MiB, and brokers take 1 MiB unless told otherwise."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Message

PART_BYTES: Final = 900_000
"""Below the million that clients and brokers take at least."""

_KEY: Final = struct.Struct("<QHH")


@dataclass(frozen=True, slots=True)
class Whole:
    """A message whose parts have all been read: its number, and where it stands."""

    number: int
    first: int
    next_offset: int
    data: bytes


def parts(number: int, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values; a transaction keeps them together."""
    count = max(-(-len(data) // PART_BYTES), 1)
    for part in range(count):
        piece = data[part * PART_BYTES : (part + 1) * PART_BYTES] if count > 1 else data
        yield _KEY.pack(number, part, count), piece


def number_of(message: Message) -> int:
    """Return the number of the message that this is a part of."""
    number: int = _KEY.unpack(message.key() or bytes(_KEY.size))[0]
    return number


class Joining:
    """Puts the parts of one partition together again."""

    def __init__(self) -> None:
        self._first = 0
        self._pieces: list[bytes] = []

    def add(self, message: Message) -> Whole | None:
        """Return the message that this part completes; what has no beginning is passed over."""
        number, part, count = _KEY.unpack(message.key() or bytes(_KEY.size))
        offset = message.offset() or 0
        if part == 0:
            self._first, self._pieces = offset, []
        if part != len(self._pieces):
            return None
        self._pieces.append(message.value() or b"")
        if part + 1 < count:
            return None
        pieces, self._pieces = self._pieces, []
        data = pieces[0] if count == 1 else b"".join(pieces)
        return Whole(number, self._first, offset + 1, data)
