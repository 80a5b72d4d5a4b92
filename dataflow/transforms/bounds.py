"""How long ``deduplicate`` remembers a key: which rows begin something new.

Rows are given by the slots of their keys, in order. A row that does not find its key begins a
*group*, to which the rows of that key belong that still find it. A bound remembers of each key one
number, ``since``: of its group's beginning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import polars as pl

from dataflow.transforms.hashing import Mask
from dataflow.transforms.keys import Slots
from dataflow.transforms.moments import NEVER, Moments


class Bound(ABC):
    """Decides for each row of a batch, in the order of the rows."""

    def __init__(self) -> None:
        self.since = np.empty(0, np.int64)
        self._scratch = np.empty(0, np.int32)

    def reserve(self, slots: int) -> None:
        """Have room for so many keys, new ones not known."""
        if slots > len(self.since):
            room = max(slots, len(self.since) * 3 // 2) - len(self.since)
            self.since = np.concatenate([self.since, np.full(room, NEVER)])
            self._scratch = np.empty(len(self.since), np.int32)

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes."""
        return self.since.nbytes + self._scratch.nbytes

    @abstractmethod
    def begins(self, slots: Slots, moments: Moments | None) -> Mask:
        """Return the rows that begin a group; they are remembered from now on."""

    @abstractmethod
    def over(self, slots: int) -> Mask:
        """Return of so many keys those whose group is over: the next row begins another."""

    def keep(self, mask: Mask) -> None:
        """Forget the keys outside of a mask."""
        self.since = self.since[: len(mask)][mask]
        self._scratch = np.empty(len(self.since), np.int32)

    def _firsts(self, slots: Slots) -> Mask:
        """Return the first row of each key."""
        rows = np.arange(len(slots), dtype=np.int32)
        self._scratch[slots[::-1]] = rows[::-1]  # of several the last one written stays
        firsts: Mask = self._scratch[slots] == rows
        return firsts


class ForEver(Bound):
    """No key is ever forgotten."""

    def begins(self, slots: Slots, moments: Moments | None) -> Mask:  # noqa: ARG002 - no time here
        """Return the first rows of unknown keys."""
        begin: Mask = self._firsts(slots) & (self.since[slots] == NEVER)
        self.since[slots[begin]] = 0
        return begin

    def over(self, slots: int) -> Mask:
        """Return none but those that were never begun."""
        over: Mask = self.since[:slots] == NEVER
        return over


class Within(Bound):
    """A group lasts a length of time; ``now`` is the moment before which nothing is awaited."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length
        self.now = NEVER

    def begins(self, slots: Slots, moments: Moments | None) -> Mask:
        """Return the rows at or behind the end of their key's group."""
        assert moments is not None  # noqa: S101 - this bound is of time
        ends = self.since[slots] + self._length
        behind = np.flatnonzero((moments >= ends) | (ends <= self.now))
        first = behind[self._firsts(slots[behind])]
        begin = np.zeros(len(slots), bool)
        begin[first] = True
        self.since[slots[first]] = moments[first]
        again = behind[moments[behind] >= self.since[slots[behind]] + self._length]
        if len(again):
            # some keys begin more than one group in this batch
            affected = np.zeros(len(self.since), bool)
            affected[slots[again]] = True
            rows = behind[affected[slots[behind]]]
            chain = rows[_chained(slots[rows], moments[rows], self._length)]
            begin[chain] = True
            self.since[slots[chain]] = moments[chain]
        return begin

    def over(self, slots: int) -> Mask:
        """Return those that have ended by now."""
        return self.since[:slots] + self._length <= self.now


class Recent(Bound):
    """A group lasts until so many others have begun; ``begun`` counts them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.begun = 0

    def begins(self, slots: Slots, moments: Moments | None) -> Mask:  # noqa: ARG002 - no time here
        """Return the rows of keys that so many others have begun behind."""
        # in so few rows no key can begin twice
        parts = range(0, len(slots), self._count)
        begun = [self._some(slots[at : at + self._count]) for at in parts]
        return np.concatenate(begun) if begun else np.zeros(0, bool)

    def _some(self, slots: Slots) -> Mask:
        needed = self.since[slots] + self._count
        begin = np.zeros(len(slots), bool)
        while True:
            # right up to the first wrong row, so each round puts at least one more right
            before = self.begun + np.cumsum(begin) - begin
            there = np.flatnonzero(before >= needed)
            found = np.zeros(len(slots), bool)
            found[there[self._firsts(slots[there])]] = True
            if (found == begin).all():
                break
            begin = found
        self.since[slots[begin]] = before[begin]
        self.begun += int(begin.sum())
        return begin

    def over(self, slots: int) -> Mask:
        """Return those that so many others have begun behind."""
        return self.since[:slots] + self._count <= self.begun


def _chained(slots: Slots, moments: Moments, length: int) -> npt.NDArray[np.int64]:
    """Return which rows begin groups, where the first row of each key does; in their order by key.

    The next to begin is the first one ``length`` later; which rows are reached so is found by
    doubling the steps, not by taking them.
    """
    order = np.argsort(slots, kind="stable")
    slots, moments = slots[order], moments[order]
    starts = np.flatnonzero(np.diff(slots, prepend=-1))
    # every row before a beginning is earlier than it, so the latest so far finds the next one
    frame = pl.DataFrame({"slot": slots, "moment": moments})
    highest = frame.select(pl.col("moment").cum_max().over("slot"))["moment"].to_numpy()
    values, ranks = np.unique(np.concatenate([highest, moments + length]), return_inverse=True)
    rows = len(slots)
    sorted_keys = slots * len(values) + ranks[:rows]
    jump = np.searchsorted(sorted_keys, slots * len(values) + ranks[rows:])
    inside = jump < rows
    inside[inside] = slots[jump[inside]] == slots[inside]
    jump = np.append(np.where(inside, jump, rows), rows)
    reached = np.zeros(rows + 1, bool)
    reached[starts] = True
    while (landed := jump[:-1][reached[:-1]]).min(initial=rows) < rows:
        reached[landed] = True
        jump = jump[jump]
    return order[np.flatnonzero(reached[:-1])]
