"""Sessions: spans of rows that grow together, by group, until a gap has passed.

A session is kept as spans, each from the first to the last moment of some of its rows. Rows that
come later may join spans, so nothing is fixed before the mark has passed the gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from dataflow.transforms.aggregate.table import Table
from dataflow.transforms.aggregate.windows import END, START, STOP, TIME, Windows, least, one
from dataflow.transforms.event_time import NEVER

_FAR = 2**64
"""Between two groups: more than between any two moments."""


class Sessions(Windows):
    """Rows of one group that are less than a gap apart: from the first to a gap after the last."""

    columns = ("from", "to")

    def __init__(self, keys: Sequence[str], gap: int) -> None:
        self._keys, self._gap = keys, gap
        self._closed = NEVER
        self._least = END
        self.regroup = self._joined

    def cut(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the columns of time."""
        spans = rows.with_columns(pl.col(TIME).alias("from"), pl.col(TIME).alias("to"))
        return self._joined(spans.drop(TIME))

    def note(self, earliest: int) -> None:
        """Take note of the earliest moment of some rows."""
        self._least = min(self._least, earliest)

    def late(self, times: np.ndarray) -> np.ndarray | None:
        """Return which rows are late."""
        if not len(times) or times.min() >= self._closed:
            return None
        late: np.ndarray = times < self._closed
        return late

    def reached(self, mark: int, *, surely: bool) -> bool:
        """Take note of a mark; tell whether a window may have closed by it."""
        # to look for sessions that have closed costs a sort of all; a gap has eight looks
        if not surely and mark - self._closed < self._gap // 8:
            return False
        if mark < self._least + self._gap:
            self._closed = max(self._closed, mark)
            return False
        return True

    def close(self, tables: Sequence[Table], mark: int) -> Sequence[pl.DataFrame]:
        """Return the groups of what has closed, and forget them."""
        self._closed = max(self._closed, mark)
        over = pl.col("to") + self._gap <= mark
        groups = []
        for table, pieces in zip(tables, self._assigned(tables), strict=True):
            groups.append(table.combined(one(pieces).filter(over)))
            table.put(*([piece.filter(~over)] for piece in pieces))
        self._least = least(tables, "to")
        return groups

    def open(self, tables: Sequence[Table]) -> Sequence[pl.DataFrame]:
        """Return the groups as they stand."""
        pairs = zip(tables, self._assigned(tables), strict=True)
        return [table.combined(one(pieces)) for table, pieces in pairs]

    def changed(self, groups: pl.DataFrame) -> pl.DataFrame:
        """Return what tells the windows that groups are in, and their keys."""
        return groups.select(self._keys).unique()

    def bounds(self) -> Sequence[pl.Expr]:
        """Return the bounds of a group's window."""
        return pl.col("from").alias(START), (pl.col("to") + self._gap).alias(STOP)

    @property
    def saved(self) -> int:
        """What has closed."""
        return self._closed

    def restore(self, saved: int, tables: Sequence[Table]) -> None:
        """Forget what had closed before."""
        self._closed = saved
        if not tables[0].frames:
            return
        for table, pieces in zip(tables, self._assigned(tables), strict=True):
            table.put([piece.filter(pl.col("to") + self._gap > saved) for piece in pieces], ())
        self._least = least(tables, "to")

    def _assigned(self, tables: Sequence[Table]) -> Iterator[Sequence[pl.DataFrame]]:
        """Yield what has been told and not, with the bounds of whole sessions, by table.

        Sketches of a session are in rows of their own, which alone would fall apart: all rows of
        a session tell where it ends.
        """
        pieces = [table.pieces() for table in tables]
        columns = [*self._keys, *self.columns]
        every = self._joined(one([piece.select(columns) for pair in pieces for piece in pair]))
        at = 0
        for pair in pieces:
            assigned = []
            for piece in pair:
                bounds = every.slice(at, piece.height).select(self.columns)
                assigned.append(piece.with_columns(bounds.get_columns()))
                at += piece.height
            yield assigned

    def _joined(self, spans: pl.DataFrame) -> pl.DataFrame:
        """Give each span the bounds of the session that it is in, as far as these spans tell."""
        if spans.height < 2:  # noqa: PLR2004 - one joins nothing
            return spans
        order = spans.select(pl.arg_sort_by(*self._keys, "from")).to_series()
        lines = spans.select(*self._keys, *self.columns)[order]
        changed = pl.any_horizontal(
            pl.col(key).ne_missing(pl.col(key).shift(1)) for key in self._keys
        )
        # each group is far above the one before, so that one running maximum serves all of them
        group = changed.cum_sum().cast(pl.Int128) * _FAR
        lines = lines.select("from", "to", group.alias("group"))
        reached = (pl.col("group") + pl.col("to")).cum_max().shift(1)
        apart = pl.col("group") + pl.col("from") - reached >= self._gap
        begins = np.flatnonzero(lines.select(apart.fill_null(value=True)).to_series().to_numpy())
        sizes = np.diff(begins, append=lines.height)
        starts = lines["from"].to_numpy()[begins]
        ends = np.maximum.reduceat(lines["to"].to_numpy(), begins)
        bounds = np.empty((2, lines.height), np.int64)
        bounds[:, order.to_numpy()] = np.repeat(np.stack((starts, ends)), sizes, axis=1)
        return spans.with_columns(pl.Series("from", bounds[0]), pl.Series("to", bounds[1]))
