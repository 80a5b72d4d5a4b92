"""Which rows belong together in time, and when no more of them can come.

Moments are microseconds since 1970. The *mark* is the watermark less the allowed lateness: what
ended at or before it is closed. A row is late where every window that it would be in is closed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import polars as pl

from dataflow.transforms.aggregate.table import Regroup, Table
from dataflow.transforms.event_time import NEVER

END = 2**62
"""A mark behind every moment: nothing more comes."""

TIME = "time"
"""The column of a row's moment."""

START, STOP = "start", "end"
"""The columns of a window's bounds."""

_EXPLODED_ROWS = 4_000_000
"""Rows of panes times windows that are grouped at once: 100 MB of a few columns."""


class Windows(ABC):
    """One way to put rows together by their time.

    Attributes:
        columns: those that a table has beside its keys.
        regroup: see ``Table``.
    """

    columns: Sequence[str] = ()
    regroup: Regroup | None = None

    def cut(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the columns of time in place of ``TIME``."""
        return rows

    def note(self, earliest: int) -> None:  # noqa: B027 - a whole run has no time
        """Take note of the earliest moment of rows that are taken up."""

    def late(self, times: np.ndarray) -> np.ndarray | None:  # noqa: ARG002 - a whole run has none
        """Return which rows are late; None where none is."""
        return None

    def reached(self, mark: int, *, surely: bool) -> bool:  # noqa: ARG002 - as above
        """Take note of a mark; tell whether a window may have closed by it.

        ``surely`` where that must not be put off.
        """
        return mark == END

    @abstractmethod
    def close(self, tables: Sequence[Table], mark: int) -> Sequence[pl.DataFrame]:
        """Return the groups of all windows that have closed, by table, and forget them."""

    @abstractmethod
    def open(self, tables: Sequence[Table]) -> Sequence[pl.DataFrame]:
        """Return the groups of all windows that are open, by table."""

    def bounds(self) -> Sequence[pl.Expr]:
        """Return ``START`` and ``STOP`` of the window of a group."""
        return ()

    def changed(self, groups: pl.DataFrame) -> pl.DataFrame:
        """Return what tells the windows that groups are in, and their keys."""
        return groups

    @property
    def saved(self) -> int:
        """What has closed."""
        return NEVER

    def restore(self, saved: int, tables: Sequence[Table]) -> None:  # noqa: B027 - as above
        """Forget what had closed before."""


class Whole(Windows):
    """All rows of the run."""

    def close(self, tables: Sequence[Table], mark: int) -> Sequence[pl.DataFrame]:  # noqa: ARG002 - the end is the only one
        """Return the groups of what has closed, and forget them."""
        groups = self.open(tables)
        for table in tables:
            table.clear()
        return groups

    def open(self, tables: Sequence[Table]) -> Sequence[pl.DataFrame]:
        """Return the groups as they stand."""
        return [table.merged(table.frames) for table in tables]


class Panes(Windows):
    """Windows of one size, a new one each slide; tumbling where both are the same.

    Rows are put into panes as long as the slide; window ``n`` is pane ``n`` and those after it, and
    is put together when it closes. So a row is kept once, however many windows it is in.
    """

    columns = ("pane",)

    def __init__(self, size: int, slide: int) -> None:
        self._size, self._slide, self._count = size, slide, size // slide
        self._closed = self._closed_at(NEVER)
        self._least = END

    def cut(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the columns of time."""
        return rows.with_columns((pl.col(TIME) // self._slide).alias("pane")).drop(TIME)

    def note(self, earliest: int) -> None:
        """Take note of the earliest moment of some rows."""
        self._least = min(self._least, earliest // self._slide)

    def late(self, times: np.ndarray) -> np.ndarray | None:
        """Return which rows are late."""
        if not len(times) or times.min() // self._slide > self._closed:
            return None
        late: np.ndarray = times // self._slide <= self._closed
        return late

    def reached(self, mark: int, *, surely: bool) -> bool:  # noqa: ARG002 - a few filters cost little
        """Take note of a mark; tell whether a window may have closed by it."""
        first = max(self._least - self._count + 1, self._closed + 1)
        closed = self._closed_at(mark)
        if closed < first and mark != END:
            self._closed = max(self._closed, closed)
        return closed >= first

    def close(self, tables: Sequence[Table], mark: int) -> Sequence[pl.DataFrame]:
        """Return the groups of what has closed, and forget them."""
        before, closed = self._closed, self._closed_at(mark)
        groups = [self._windows(table, before, closed) for table in tables]
        if mark == END:
            closed = max(before, _greatest(tables, "pane"))
        self._closed = closed
        for table in tables:
            table.keep(pl.col("pane") > closed)
        self._least = least(tables, "pane")
        return groups

    def open(self, tables: Sequence[Table]) -> Sequence[pl.DataFrame]:
        """Return the groups as they stand."""
        return [self._windows(table, self._closed, END) for table in tables]

    def bounds(self) -> Sequence[pl.Expr]:
        """Return the bounds of a group's window."""
        start = pl.col("pane") * self._slide
        return start.alias(START), (start + self._size).alias(STOP)

    @property
    def saved(self) -> int:
        """What has closed."""
        return self._closed

    def restore(self, saved: int, tables: Sequence[Table]) -> None:
        """Forget what had closed before."""
        self._closed = saved
        for table in tables:
            table.keep(pl.col("pane") > saved)
        self._least = least(tables, "pane")

    def _closed_at(self, mark: int) -> int:
        """Return the number of the last window that ended at or before a mark."""
        return mark // self._slide - self._count

    def _windows(self, table: Table, before: int, closed: int) -> pl.DataFrame:
        """Return the groups of the windows behind ``before``, up to ``closed``."""
        reached = pl.col("pane") <= closed + self._count - 1
        frames = [frame.filter(reached) for frame in table.frames]
        if self._count == 1:
            return table.merged(frames)
        rows = max(1, _EXPLODED_ROWS // self._count)
        groups = [
            table.combined(self._exploded(part, before, closed))
            for part in table.merged(frames).iter_slices(rows)
            if part.height
        ]
        return table.combined(one(groups)) if groups else table.nothing

    def _exploded(self, panes: pl.DataFrame, before: int, closed: int) -> pl.DataFrame:
        """Return each pane once for each window that it is in."""
        first = (pl.col("pane") - (self._count - 1)).clip(lower_bound=before + 1)
        last = pl.col("pane").clip(upper_bound=closed)
        windows = pl.int_ranges(first, last + 1).alias("pane")
        return panes.with_columns(windows).explode("pane")

    def changed(self, groups: pl.DataFrame) -> pl.DataFrame:
        """Return what tells the windows that groups are in, and their keys."""
        return self._exploded(groups, self._closed, END).unique()


def one(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return frames as one, the sums in a type that holds all of them."""
    return pl.concat(frames, how="vertical_relaxed")


def _greatest(tables: Sequence[Table], column: str) -> int:
    return max((_int(frame[column].max(), NEVER) for frame in tables[0].frames), default=NEVER)


def least(tables: Sequence[Table], column: str) -> int:
    """Return the least number in a column of the main table, or ``END``."""
    return min((_int(frame[column].min(), END) for frame in tables[0].frames), default=END)


def _int(found: object, default: int) -> int:
    return found if isinstance(found, int) else default
