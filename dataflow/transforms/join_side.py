"""One of two streams that are joined: the rows of it that may still find a partner.

Rows are kept in *runs*, each sorted by key and time; runs of like size are merged, so a row is
sorted again about once each time that their number doubles, and there are few to look into. A row
is over once its time is below ``threshold``; what is over is dropped when it is half of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dataflow.transforms.grown import Grown
from dataflow.transforms.hashing import Mask
from dataflow.transforms.joined import Numbers
from dataflow.transforms.kept_rows import KeptRows
from dataflow.transforms.keys import Slots
from dataflow.transforms.moments import NEVER, Moments

_SPARED = 1 << 13
"""Rows that may be in vain before they are dropped."""


class Run(NamedTuple):
    """Rows in order of their keys, and of one key by time."""

    slots: Slots
    moments: Moments
    numbers: Numbers


class Keyed(NamedTuple):
    """The keys and times of rows."""

    slots: Slots
    moments: Moments


class Ranges(NamedTuple):
    """Partners in one run: for some rows where they begin there, and how many there are."""

    run: Run
    rows: Numbers
    begins: Numbers
    counts: Numbers


class Side:
    """The rows of one stream."""

    def __init__(self) -> None:
        self.rows = KeptRows()
        self.threshold = NEVER
        self._runs: list[Run] = []
        self._slots, self._moments = Grown(np.int64), Grown(np.int64)
        self._ids, self._matched = Grown(np.int64), Grown(np.bool_)
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes."""
        numbers = (self._slots, self._moments, self._ids, self._matched)
        return self.rows.nbytes + sum(each.nbytes for each in numbers) + 24 * len(self)

    @property
    def next_id(self) -> int:
        """Return the id of the next row: rows keep theirs when they are numbered anew."""
        return self._next_id

    def add(self, rows: pa.RecordBatch, slots: Slots, moments: Moments, matched: Mask) -> None:
        """Take rows."""
        self._take(rows, slots, moments, matched)
        self._ids.append(np.arange(self._next_id, self._next_id + len(slots)))
        self._next_id += len(slots)

    def restore(self, rows: pa.RecordBatch, keyed: Keyed, ids: Numbers, matched: Mask) -> None:
        """Take rows that had been taken before."""
        self._take(rows, keyed.slots, keyed.moments, matched)
        self._ids.append(ids)
        self._next_id = max(self._next_id, int(ids.max(initial=-1)) + 1)

    def _take(self, rows: pa.RecordBatch, slots: Slots, moments: Moments, matched: Mask) -> None:
        numbers = self.rows.add(rows)
        self._slots.append(slots)
        self._moments.append(moments)
        self._matched.append(matched)
        if len(numbers):
            self._runs.append(_sorted(slots, moments, numbers))
        while len(self._runs) > 1 and len(self._runs[-2].slots) <= 2 * len(self._runs[-1].slots):
            last = [np.concatenate(both) for both in zip(*self._runs[-2:], strict=True)]
            self._runs[-2:] = [_sorted(*last)]

    def find(self, slots: Slots, earliest: Moments, latest: Moments) -> Iterator[Ranges]:
        """Yield the partners of rows, by key and by time, both ends included."""
        earliest = np.maximum(earliest, self.threshold)
        order = np.argsort(slots)  # searching in order finds what it looks at in the cache
        order = order[slots[order] >= 0]
        for run in self._runs:
            begins = np.searchsorted(run.slots, slots[order])
            ends = np.searchsorted(run.slots, slots[order], side="right")
            some = np.flatnonzero(ends > begins)
            rows, begins, ends = order[some], begins[some], ends[some]
            begins = _bisected(run.moments, begins, ends, earliest[rows])
            ends = _bisected(run.moments, begins, ends, latest[rows] + 1)
            found = ends > begins
            if found.any():
                yield Ranges(run, rows[found], begins[found], (ends - begins)[found])

    def match(self, numbers: Numbers) -> Numbers:
        """Note that rows have a partner; returns those that had none before, each once."""
        matched = self._matched.values
        new = np.unique(numbers[~matched[numbers]])
        matched[new] = True
        return new

    def pass_by(self, threshold: int) -> Numbers:
        """Let rows be over whose time is below a moment; returns those without a partner."""
        moments = self._moments.values
        if threshold <= self.threshold:
            return np.zeros(0, np.int64)
        over = (moments < threshold) & (moments >= self.threshold)
        self.threshold = threshold
        return np.flatnonzero(over & ~self._matched.values)

    def begin_again(self) -> None:
        """Take rows of any time, and drop those that are over."""
        self.drop(always=True)
        self.threshold = NEVER

    def drop(self, *, always: bool = False) -> None:
        """Drop the rows that are over, if they are many."""
        alive = self._moments.values >= self.threshold
        count = int(np.count_nonzero(alive))
        if len(self) > 2 * count + _SPARED or always:
            stay = np.flatnonzero(alive)
            self.rows.keep(stay)
            for each in (self._slots, self._moments, self._ids, self._matched):
                each.set(each.values[stay])
            numbers = np.arange(count)
            self._runs = [_sorted(self._slots.values, self._moments.values, numbers)]

    @property
    def slots(self) -> Slots:
        """Return the key of each row."""
        values: Slots = self._slots.values
        return values

    def renumber(self, slots: Slots) -> None:
        """Let each key have another number, in the same order."""
        slots = np.append(slots, -1)  # a row that can have no partner goes on without
        self._slots.set(slots[self._slots.values])
        self._runs = [run._replace(slots=slots[run.slots]) for run in self._runs]

    def since(self, first_id: int) -> tuple[pa.RecordBatch | None, Numbers, Mask]:
        """Return the rows from an id on that are not over, their ids, and who has a partner."""
        is_new = (self._ids.values >= first_id) & (self._moments.values >= self.threshold)
        numbers = np.flatnonzero(is_new)
        rows = self.rows.take(numbers) if self.rows.schema is not None else None
        return rows, self._ids.values[numbers], self._matched.values[numbers]

    def ids(self, numbers: Numbers) -> Numbers:
        """Return the ids of rows."""
        values: Numbers = self._ids.values[numbers]
        return values

    def numbers(self, ids: Numbers) -> Numbers:
        """Return the rows with some ids, of those that are there."""
        at = np.searchsorted(self._ids.values, ids)
        inside = at < len(self._ids)
        at = at[inside]
        same: Mask = self._ids.values[at] == ids[inside]
        return at[same]


def _sorted(slots: Slots, moments: Moments, numbers: Numbers) -> Run:
    in_time = bool((moments[1:] >= moments[:-1]).all())
    order = np.argsort(slots, kind="stable") if in_time else np.lexsort((moments, slots))
    return Run(slots[order], moments[order], numbers[order])


def _bisected(moments: Moments, begins: Numbers, ends: Numbers, targets: Moments) -> Numbers:
    """Return the first place of each range at which a moment is no earlier than the target."""
    low, high = begins.copy(), ends.copy()
    left = np.flatnonzero(low < high)
    while len(left):
        middle = (low[left] + high[left]) // 2
        earlier = moments[middle] < targets[left]
        low[left[earlier]] = middle[earlier] + 1
        high[left[~earlier]] = middle[~earlier]
        left = left[low[left] < high[left]]
    return low
