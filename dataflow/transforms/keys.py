"""The keys that a step has seen: each has a slot, numbered in the order in which they came.

An open hash table of slot numbers over two arrays of 64 bits a key, in numpy and whole batches:
each round of probing moves all rows that have not met their key yet one place on, and there are
few rounds, for the table is at most half full. A key takes 24 to 48 bytes.

    adding a batch of n keys   O(n), with a doubling now and then
    forgetting                 O(keys that stay): who forgets waits until many are to go
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dataflow.connect import Rejected
from dataflow.transforms.hashing import Hashed, Mask, Words

Slots: TypeAlias = npt.NDArray[np.int64]
"""Numbers of keys; -1 for one that is not there."""

_TABLE_MIN: Final = 1 << 10
_PLACED_AT_ONCE: Final = 1 << 20
"""Keys; what a growing table allocates beside itself stays within 64 MiB."""

SLOTS_MAX: Final = (1 << 30) - 1
"""Of one step: a table holds numbers of 32 bits, at twice as many places."""


class KeyIndex:
    """Knows keys by their 128 bits."""

    def __init__(self) -> None:
        self._held = 0
        self._high = np.empty(0, np.uint64)
        self._low = np.empty(0, np.uint64)
        self._table = np.full(_TABLE_MIN, -1, np.int32)

    def __len__(self) -> int:
        return self._held

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes."""
        return self._high.nbytes + self._low.nbytes + self._table.nbytes

    def hashes(self, slots: slice | Slots) -> Hashed:
        """Return the bits of some keys."""
        high, low = self._high[: self._held], self._low[: self._held]
        return Hashed(high[slots], low[slots], None)

    def find(self, keys: Hashed) -> Slots:
        """Return the slot of each key, -1 for one that is not there."""
        found = np.full(len(keys.high), -1, np.int64)
        asked = np.arange(len(found))
        places = self._home(keys.high)
        while len(asked):
            slots = self._table[places]
            filled = slots >= 0
            asked, places, slots = asked[filled], places[filled], slots[filled]
            same = self._same(slots, keys, asked)
            found[asked[same]] = slots[same]
            asked, places = self._next(asked, places, same)
        return found

    def add(self, keys: Hashed) -> Slots:
        """Return the slot of each key; new ones get the next numbers, in order of their rows."""
        rows, before = len(keys.high), self._held
        self._reserve(before + rows)
        # until it is known which rows are the first of their keys, each stands for itself
        self._high[before : before + rows] = keys.high
        self._low[before : before + rows] = keys.low
        found, places_of = np.empty(rows, np.int64), np.empty(rows, np.int64)
        asked = np.arange(rows)
        places = self._home(keys.high)
        while len(asked):
            slots = self._table[places]
            empty = np.flatnonzero(slots < 0)[::-1]
            if len(empty):  # of several rows the last one written stays: the first in order
                self._table[places[empty]] = before + asked[empty]
                slots = self._table[places]
            same = self._same(slots, keys, asked)
            met = asked[same]
            found[met], places_of[met] = slots[same], places[same]
            asked, places = self._next(asked, places, same)
        first = np.flatnonzero(found == before + np.arange(rows))
        return self._numbered(found, first, places_of[first])

    def keep(self, mask: Mask) -> None:
        """Forget the keys outside of a mask; those that stay are numbered anew, in order."""
        stay = np.flatnonzero(mask)
        self._held = len(stay)
        self._high, self._low = self._high[stay], self._low[stay]
        self._place(_size_for(self._held))

    def _numbered(self, found: Slots, first: Slots, places: Slots) -> Slots:
        """Give the first rows of new keys the next numbers, and drop what the others left."""
        before = self._held
        self._high[before : before + len(first)] = self._high[before + first]
        self._low[before : before + len(first)] = self._low[before + first]
        numbers = before + np.arange(len(first))
        self._table[places] = numbers
        self._held += len(first)
        renamed = np.empty(len(found), np.int64)
        renamed[first] = numbers
        new = found >= before
        found[new] = renamed[found[new] - before]
        return found

    def _same(self, slots: npt.NDArray[np.int32], keys: Hashed, rows: Slots) -> Mask:
        same: Mask = self._high[slots] == keys.high[rows]
        same &= self._low[slots] == keys.low[rows]
        return same

    def _home(self, high: Words) -> Slots:
        return (high & np.uint64(len(self._table) - 1)).view(np.int64)

    def _next(self, rows: Slots, places: Slots, met: Mask) -> tuple[Slots, Slots]:
        left = ~met
        return rows[left], (places[left] + 1) & (len(self._table) - 1)

    def _reserve(self, keys: int) -> None:
        if keys > SLOTS_MAX:
            raise Rejected(f"more than {SLOTS_MAX:,} keys; let the step forget earlier")
        if keys > len(self._high):
            more = max(keys, len(self._high) + len(self._high) // 2) - self._held
            room = np.empty(more, np.uint64)
            self._high = np.concatenate([self._high[: self._held], room])
            self._low = np.concatenate([self._low[: self._held], room])
        if keys * 2 > len(self._table):
            self._place(_size_for(keys))

    def _place(self, size: int) -> None:
        """Make the table anew, of keys that all differ."""
        self._table = np.full(size, -1, np.int32)
        for begin in range(0, self._held, _PLACED_AT_ONCE):
            slots = np.arange(begin, min(begin + _PLACED_AT_ONCE, self._held))
            places = self._home(self._high[slots])
            while len(slots):
                empty = self._table[places] < 0
                self._table[places[empty]] = slots[empty]
                slots, places = self._next(slots, places, self._table[places] == slots)


def _size_for(keys: int) -> int:
    """Return a power of two, more than half of which stays empty."""
    return max(_TABLE_MIN, 1 << (2 * keys).bit_length())
