"""The keys that ``deduplicate`` remembers, and which of them changed since they were last told."""

from __future__ import annotations

import numpy as np

from dataflow.connect import Rejected
from dataflow.transforms.bounds import Bound
from dataflow.transforms.hashing import Hashed, Mask
from dataflow.transforms.keys import KeyIndex, Slots
from dataflow.transforms.moments import Moments

_SPARED = 1 << 16
"""Keys that may be over before any is dropped: 3 MiB, and a pass takes less than a millisecond."""


class Remembered:
    """An index of keys with a bound over its slots."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.keys = KeyIndex()
        self._untold = np.zeros(0, bool)
        self._stayed = 0

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes."""
        return self.keys.nbytes + self.bound.nbytes + self._untold.nbytes

    def begins(self, keys: Hashed, moments: Moments | None) -> tuple[Slots, Mask]:
        """Return the slot of each row's key, and whether the row begins a group."""
        slots = self.add(keys)
        begin = self.bound.begins(slots, moments)
        self.mark(slots[begin])
        return slots, begin

    def add(self, keys: Hashed) -> Slots:
        """Return the slot of each key; a new one has not begun."""
        slots = self.keys.add(keys)
        self.bound.reserve(len(self.keys))
        if len(self.keys) > len(self._untold):
            room = np.zeros(len(self.bound.since) - len(self._untold), bool)
            self._untold = np.concatenate([self._untold, room])
        return slots

    def mark(self, slots: Slots) -> None:
        """Note that keys have changed."""
        self._untold[slots] = True

    @property
    def untold(self) -> Mask:
        """Return for each slot whether its key has changed."""
        return self._untold[: len(self.keys)]

    def told(self) -> None:
        """Note that all is told."""
        self._untold[:] = False

    def over(self) -> Mask:
        """Return for each slot whether the group of its key is over."""
        return self.bound.over(len(self.keys))

    @property
    def is_crowded(self) -> bool:
        """Tell whether so many keys came since the last ``keep`` that another one is worth it."""
        return len(self.keys) > 2 * self._stayed + _SPARED

    def keep(self, mask: Mask) -> None:
        """Drop the keys outside of a mask; the slots of the others are numbered anew."""
        self._untold = self.untold[mask]
        self.bound.keep(mask)
        self.keys.keep(mask)
        self._stayed = len(self.keys)


def same_types(known: list[str], types: list[str]) -> list[str]:
    """Return the types of the keys; raises ``Rejected`` if they are not what they were."""
    if known and known != types:
        was, now = ", ".join(known), ", ".join(types)
        message = f"the keys were {was} before, and are {now} now; cast them in a map before"
        raise Rejected(message, code="SOURCE_CHANGED", field="options.keys")
    return types
