"""What a lookup has answered, kept for a while: by key, with a bound on age, keys and bytes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataflow.transforms.grown import Grown
from dataflow.transforms.hashing import Hashed
from dataflow.transforms.kept_rows import KeptRows
from dataflow.transforms.keys import KeyIndex, Slots

UNKNOWN = -1
"""The place of a key's row where the lookup knows of none."""

_NEVER = -np.inf


class Answers:
    """Rows by key, each until its time is over.

    Args:
        keys_max: keys that stay kept between batches.
        bytes_max: bytes of rows that do.
    """

    def __init__(self, keys_max: int, bytes_max: int) -> None:
        self._keys_max = keys_max
        self._bytes_max = bytes_max
        self._clear()

    def _clear(self) -> None:
        self._index = KeyIndex()
        self._rows = KeptRows()
        self._places, self._until = Grown(np.int64), Grown(np.float64)
        self._errors: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._index)

    def slots(self, keys: Hashed) -> Slots:
        """Return the slot of each key; new ones are not answered."""
        slots = self._index.add(keys)
        new = len(self._index) - len(self._places)
        self._places.append(np.full(new, UNKNOWN))
        self._until.append(np.full(new, _NEVER))
        return slots

    def stale(self, slots: Slots, now: float) -> npt.NDArray[np.int64]:
        """Return the first row of each key whose answer is not there, or too old."""
        rows = np.flatnonzero(self._until.values[slots] <= now)
        return rows[np.sort(np.unique(slots[rows], return_index=True)[1])]

    def put(
        self,
        slots: Slots,
        rows: pa.RecordBatch,
        of: npt.NDArray[np.int64],
        until: npt.NDArray[np.float64],
    ) -> None:
        """Keep what is known of some keys.

        Args:
            slots: the keys that were asked for.
            rows: what is known.
            of: which of the keys each row is of.
            until: when the answer for each key is too old.
        """
        self._places.values[slots] = UNKNOWN
        self._places.values[slots[of]] = self._rows.add(rows)
        self._until.values[slots] = until
        for slot in slots.tolist() if self._errors else ():
            self._errors.pop(slot, None)

    def fail(self, slots: Slots, errors: Mapping[int, str]) -> None:
        """Note why some of the keys asked for cannot be known; they are asked again next time."""
        for number, message in errors.items():
            slot = int(slots[number])
            self._errors[slot] = message
            self._places.values[slot] = UNKNOWN
            self._until.values[slot] = _NEVER

    def places(self, slots: Slots) -> npt.NDArray[np.int64]:
        """Return where the row of each key is."""
        places: npt.NDArray[np.int64] = self._places.values[slots]
        return places

    def failed(self, slots: Slots) -> Mapping[int, str]:
        """Return why rows cannot be answered, by row."""
        if not self._errors:
            return {}
        bad = np.flatnonzero(np.isin(slots, [*self._errors]))
        return {int(row): self._errors[int(slots[row])] for row in bad}

    def take(self, places: npt.NDArray[np.int64]) -> pa.RecordBatch:
        """Return rows, NULL where there is none; some must have been put."""
        known = places >= 0
        taken = self._rows.take(places[known])
        return taken if known.all() else taken.take(pa.array(np.cumsum(known) - 1, mask=~known))

    def trim(self) -> None:
        """Let the oldest go where there are too many, half at a time; errors go always."""
        self._errors = {}
        if len(self) <= self._keys_max and self._rows.nbytes <= self._bytes_max:
            return
        count = len(self) if len(self) <= self._keys_max else self._keys_max // 2
        if self._rows.nbytes > self._bytes_max:  # as if all were of one size
            count = min(count, len(self) * self._bytes_max // (2 * self._rows.nbytes))
        if not count:
            self._clear()
            return
        stay = np.sort(np.argsort(self._until.values)[-count:])
        places = self._places.values[stay]
        until = self._until.values[stay]
        mask = np.zeros(len(self), bool)
        mask[stay] = True
        self._index.keep(mask)
        alive = np.unique(places[places >= 0])
        self._rows.keep(alive)
        self._places.set(np.where(places >= 0, np.searchsorted(alive, places), UNKNOWN))
        self._until.set(until)
