"""The last row of each key passes, when its key is forgotten: rows are held until then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataflow.connect import Output, Via
from dataflow.connect.operator import NOTHING
from dataflow.connect.transform import MAIN, ORDINAL
from dataflow.transforms.deduplicate_first import Deduplicate
from dataflow.transforms.deduplicate_spec import DUPLICATES
from dataflow.transforms.hashing import Mask
from dataflow.transforms.kept_rows import KeptRows, Numbers
from dataflow.transforms.keys import Slots
from dataflow.transforms.moments import NEVER, Moments
from dataflow.transforms.saved import columns

_SPARED = 1 << 13
"""Rows that may be in vain before they are dropped."""


class Segments(NamedTuple):
    """Rows of a batch that belong to one group each, in order of their keys.

    Attributes:
        slots: of the key.
        begins: whether the group begins with them; else it was there before.
        best: the row that stands for them.
        closed: whether another group of the key follows.
    """

    slots: Slots
    begins: Mask
    best: npt.NDArray[np.int64]
    closed: Mask


class LastPasses(Deduplicate):
    """Holds one row of each key: the latest in event time, or else the one that came last."""

    ticks = True

    def _begin_anew(self) -> None:
        super()._begin_anew()
        self._rows = KeptRows()
        self._held = np.zeros(0, np.int64)
        self._latest = np.zeros(0, np.int64)

    @property
    def state_bytes(self) -> int:
        """Return the bytes of keys and rows."""
        slots = self._held.nbytes + self._latest.nbytes
        return self._remembered.nbytes + self._rows.nbytes + slots

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        """Hold the last row of each group; pass on those whose group is over."""
        rows, keys, moments, rejected = self._arrived(batch)
        if ORDINAL in rows.schema.names:
            rows = rows.drop_columns([ORDINAL])
        slots, begin = self._remembered.begins(keys, moments)
        self._reserve()
        self._saw(via, moments)
        emitted, replaced, others = self._hold(rows, slots, begin, moments)
        overtaken = self._passed(replaced) or rows.slice(0, 0)
        duplicates = _together([rows.take(pa.array(others, pa.int64())), overtaken])
        passed = self._passed(emitted)
        due = self._advance()
        made = [each for each in (passed, due.batches.get(MAIN)) if each is not None]
        batches = {MAIN: _together(made)} if made else {}
        return Output(
            {**batches, DUPLICATES: duplicates},
            rejected,
            produced=sum(each.num_rows for each in made) + len(replaced),
            absorbed=rows.num_rows - len(others),
        )

    def tick(self, now: datetime) -> Output:  # noqa: ARG002 - the clock is asked where it matters
        """Pass on what is due."""
        self._take_time()
        return self._advance()

    def input_ended(self, input_name: str) -> Output:
        """Pass on all that is held once the last input has ended, and begin anew."""
        self._ended.add(input_name)
        if len(self._ended) < self._inputs:
            return NOTHING
        passed = self._passed(self._held[self._held >= 0])
        self._begin_anew()
        return NOTHING if passed is None else Output({MAIN: passed}, produced=passed.num_rows)

    def _hold(
        self, rows: pa.RecordBatch, slots: Slots, begin: Mask, moments: Moments | None
    ) -> tuple[Numbers, Numbers, npt.NDArray[np.int64]]:
        """Hold the best rows.

        Returns what passes, what was held in vain, both by number, and the rows not held at all.
        """
        if self._options.time_column is None:
            moments = None
        found = _segments(slots, begin, moments)
        at = found.slots
        held = self._held[at]
        latest = np.zeros(len(at), np.int64) if moments is None else moments[found.best]
        loses = ~found.begins & (latest < self._latest[at]) & (held >= 0)
        won = found.best[~loses]
        numbers = held.copy()
        came = np.argsort(won)
        added = np.empty(len(won), np.int64)
        added[came] = self._rows.add(rows.take(pa.array(won[came], pa.int64())))
        numbers[~loses] = added
        opens = np.diff(at, prepend=-1) != 0
        emitted = [held[opens & found.begins & (held >= 0)], numbers[found.closed]]
        replaced = held[~found.begins & ~loses & (held >= 0)]
        stays = ~found.closed
        self._held[at[stays]] = numbers[stays]
        self._latest[at[stays]] = np.where(loses, self._latest[at], latest)[stays]
        self._remembered.mark(at[~loses])
        others = np.ones(rows.num_rows, bool)
        others[won] = False
        return np.concatenate(emitted), replaced, np.flatnonzero(others)

    def _passed(self, numbers: Numbers) -> pa.RecordBatch | None:
        """Return held rows in the order in which they came."""
        return self._rows.take(np.sort(numbers)) if len(numbers) else None

    def _due(self) -> Output:
        """Pass on the rows whose group is over, and drop what nobody needs."""
        over = np.flatnonzero(self._remembered.over() & (self._held[: len(self._remembered)] >= 0))
        passed = self._passed(self._held[over])
        self._held[over] = -1
        self._remembered.bound.since[over] = NEVER
        self._remembered.mark(over)
        self._drop()
        return NOTHING if passed is None else Output({MAIN: passed}, produced=passed.num_rows)

    def _drop(self) -> None:
        if self._remembered.is_crowded:
            size = len(self._remembered)
            mask = (self._held[:size] >= 0) | self._remembered.untold
            self._held, self._latest = self._held[:size][mask], self._latest[:size][mask]
            self._remembered.keep(mask)
        holds = self._held >= 0
        if len(self._rows) > 2 * np.count_nonzero(holds) + _SPARED:
            alive = np.zeros(len(self._rows), bool)
            alive[self._held[holds]] = True
            self._rows.keep(np.flatnonzero(alive))
            self._held[holds] = (np.cumsum(alive) - 1)[self._held[holds]]

    def _reserve(self) -> None:
        room = len(self._remembered.bound.since) - len(self._held)
        if room > 0:
            self._held = np.concatenate([self._held, np.full(room, -1)])
            self._latest = np.concatenate([self._latest, np.full(room, NEVER)])

    def _in_order(self, slots: Slots) -> Slots:
        return slots[np.argsort(self._held[slots])]  # in which rows will be numbered again

    def _held_batches(self, slots: Slots) -> Mapping[str, pa.RecordBatch]:
        held = self._held[slots]
        told = columns(holds=held >= 0, latest=self._latest[slots])
        if self._rows.schema is None:
            return {"held": told}
        return {"held": told, "rows": self._rows.take(held[held >= 0])}

    def _restore_held(self, slots: Slots, batches: Mapping[str, pa.RecordBatch]) -> None:
        self._reserve()
        holds = batches["held"]["holds"].to_numpy(zero_copy_only=False)
        self._held[slots] = -1
        if "rows" in batches:
            self._held[slots[holds]] = self._rows.add(batches["rows"])
        self._latest[slots] = batches["held"]["latest"].to_numpy()


def _together(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    made: pa.RecordBatch = pa.concat_batches(batches)  # type: ignore[attr-defined]  # not in the stubs
    return made


def _segments(slots: Slots, begin: Mask, moments: Moments | None) -> Segments:
    order = np.argsort(slots, kind="stable")
    by_slot, begins = slots[order], begin[order]
    opens = begins | (np.diff(by_slot, prepend=-1) != 0)
    first = np.flatnonzero(opens)
    if moments is not None:
        # within a segment by time, and of equal times the later row last
        order = order[np.lexsort((moments[order], np.cumsum(opens)))]
    last = np.append(first[1:], len(order)) - 1
    at = by_slot[first]
    closed = np.append(at[1:] == at[:-1], False)[: len(at)]
    return Segments(at, begins[first], order[last[: len(first)]], closed)
