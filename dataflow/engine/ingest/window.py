"""The batch ids a log remembers, so that a batch sent again is answered and not taken again."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

WINDOW_BATCHES = 10_000
"""A sender that retries is a few batches behind; ten thousand cost 2.5 MB while a log is open."""

_ENTRY: Final = struct.Struct("<16sQI")
_LENGTH: Final = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch, and a digest of what it held."""

    digest: bytes
    first: int
    records: int


class Window:
    """The last ``batches_max`` batch ids in the order of the log; packed, for there are many."""

    def __init__(self, batches_max: int = WINDOW_BATCHES) -> None:
        self._batches_max = batches_max
        self._entries: dict[str, bytes] = {}

    def get(self, batch_id: str) -> Taken | None:
        """Return what became of a batch; None if it is not remembered."""
        entry = self._entries.get(batch_id)
        return Taken(*_ENTRY.unpack(entry)) if entry else None

    def add(self, batch_id: str, taken: Taken) -> None:
        """Remember a batch, and forget the oldest for it."""
        self._entries[batch_id] = _ENTRY.pack(taken.digest, taken.first, taken.records)
        if len(self._entries) > self._batches_max:
            del self._entries[next(iter(self._entries))]

    def pack(self) -> bytes:
        """Return all of it as bytes, for the header of the next segment."""
        pieces = []
        for batch_id, entry in self._entries.items():
            name = batch_id.encode()
            pieces += [_LENGTH.pack(len(name)), name, entry]
        return b"".join(pieces)

    def unpack(self, data: bytes) -> int:
        """Remember what ``pack`` returned; return how many records it tells of."""
        at = records = 0
        while at < len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            name = data[at : at + length].decode()
            at += length
            taken = Taken(*_ENTRY.unpack_from(data, at))
            self.add(name, taken)
            records += taken.records
            at += _ENTRY.size
        return records
