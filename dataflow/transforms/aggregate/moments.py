"""When rows happened, and rows whose time cannot be taken at its word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataflow.transforms.aggregate.options import WindowOptions
from dataflow.transforms.binding import Array, Faults, said
from dataflow.transforms.event_time import NEVER

Times = npt.NDArray[np.int64]
"""Microseconds since 1970."""

NO_TIMES: Times = np.empty(0, np.int64)
"""Of rows that need none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""Years that people and every sink can write."""

_FINER = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY = 86_400_000_000


def micros(length: timedelta) -> int:
    """Return a length of time as microseconds."""
    return length // timedelta(microseconds=1)


class Moments:
    """Reads the times of batches.

    A row without a time is refused, and so is one too far ahead: the windows of all other rows
    would close by it.
    """

    def __init__(self, window: WindowOptions, now: Callable[[], datetime]) -> None:
        self._name = window.time_column
        self._future = micros(window.max_future)
        self._jump = None if window.max_jump is None else micros(window.max_jump)
        self._now = now

    def read(self, column: Array, latest: int) -> tuple[Times, Sequence[Faults]]:
        """Return the time of each row, and those that are refused; their times mean nothing.

        Args:
            column: timestamps or dates.
            latest: the latest time in the split so far, or ``NEVER``.
        """
        times, known = _times(column)
        limit = min(_LAST, micros(self._now() - _EPOCH) + self._future)
        found: list[Faults] = []
        if not known.all():
            found.append(self._refused(~known, None, "is NULL or in no year from 1 to 9999"))
        if len(times) and times.max() > limit:
            ahead = known & (times > limit)
            known &= ~ahead
            found.append(
                self._refused(ahead, times, "is more than maxFuture ahead of the time of day")
            )
        if self._jump is not None and known.any():
            ahead = known & (times >= self._cut(times[known], latest, self._jump))
            if ahead.any():
                words = "is more than maxJump ahead of the rows before"
                found.append(self._refused(ahead, times, words))
        return times, found

    @staticmethod
    def _cut(times: Times, latest: int, jump: int) -> int:
        """Return the first time behind a gap that is too long, or one behind all."""
        later = np.sort(times[times > latest])
        if not len(later):
            return _LAST + 1
        steps = np.diff(later, prepend=later[0] if latest == NEVER else latest)
        over = np.flatnonzero(steps > jump)
        return int(later[over[0]]) if len(over) else _LAST + 1

    def _refused(self, mask: npt.NDArray[np.bool_], times: Times | None, problem: str) -> Faults:
        rows = np.flatnonzero(mask)
        words = f"the time in {self._name!r} {problem}"
        if times is None:
            return Faults(pa.array(rows), pa.array(np.full(len(rows), words), pa.string()))
        shown = pa.array(times[rows]).cast(pa.timestamp("us")).cast(pa.string())
        return Faults(pa.array(rows), said(words, shown))


def _times(column: Array) -> tuple[Times, npt.NDArray[np.bool_]]:
    """Return times, and which rows have one; the others have 0."""
    known = np.ones(len(column), np.bool_)
    if column.null_count:
        known = column.is_valid().to_numpy(zero_copy_only=False).copy()
    of = column.type
    if pa.types.is_date(of):
        ticks, factor = column.cast(pa.int32()).cast(pa.int64()), _DAY
    else:
        ticks, factor = column.cast(pa.int64()), _FINER.get(of.unit, 0)
    times: Times = ticks.fill_null(0).to_numpy()
    if factor == 0:
        times = times // 1_000  # of nanoseconds
    first, last = (bound // factor if factor else bound for bound in (_FIRST, _LAST))
    if len(times) and (times.min() < first or times.max() > last):
        known &= (times >= first) & (times <= last)
        times = np.where(known, times, 0)
    return times * factor if factor > 1 else times, known
