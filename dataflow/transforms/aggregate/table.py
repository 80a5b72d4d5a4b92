"""Partial aggregates, log-structured: frames of grouped rows, the oldest first.

A group may be in any number of frames. Frames of like size are merged when there are
``MERGED_AT`` of them, so a row is grouped again about once each time that the table grows
fourfold, and never looked up by itself. What has not been told as a change is a log of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import polars as pl

from dataflow.transforms.aggregate.parts import Part, of_parts, of_rows

MERGED_AT = 4
"""Frames of one size. More are fewer merges and more memory: a group is in up to so many."""

_FRAME_ROWS = 4_096
"""Frames of fewer rows count as of one size: to merge them is all overhead (1 ms)."""

Regroup = Callable[[pl.DataFrame], pl.DataFrame]
"""Gives rows that belong to one group the same values in the columns of time."""


class Table:
    """Groups by some columns, as partial aggregates.

    Attributes:
        keys: the columns that make a group.
        bytes: the memory that its frames take.
        nothing: a frame without groups, once there was one with.
    """

    def __init__(
        self, keys: Sequence[str], parts: Sequence[Part], regroup: Regroup | None = None
    ) -> None:
        self.keys = keys
        self.bytes = 0
        self.nothing = pl.DataFrame()
        self._parts = parts
        self._regroup = regroup
        self._told: list[pl.DataFrame] = []
        self._untold: list[pl.DataFrame] = []

    @property
    def frames(self) -> Sequence[pl.DataFrame]:
        """All that is kept, the oldest first."""
        return [*self._told, *self._untold]

    def of_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the groups of some rows; nothing is kept."""
        return self._grouped(rows, (of_rows(part, rows) for part in self._parts))

    def add(self, groups: pl.DataFrame) -> None:
        """Take up groups that are younger than all others."""
        self.nothing = groups.clear()
        self._pile(self._untold, groups)
        self._weigh()

    def merged(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Return the groups of some frames of this table, the oldest first, each once."""
        if len(frames) < 2:  # noqa: PLR2004 - one has each group once
            return frames[0] if frames else self.nothing
        frame = pl.concat(frames, how="vertical_relaxed")
        if self._regroup is not None:
            return self.combined(self._regroup(frame))
        return self._of_parts(frame, times=len(frames), by_row=False)

    def combined(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the groups of rows that may belong to one group however they are ordered."""
        return self._of_parts(frame, times=frame.height, by_row=True)

    def tell(self, *, whole: bool) -> pl.DataFrame:
        """Return what was added since the last time, or everything, and note that it was told."""
        frame = self.merged(self.frames if whole else self._untold)
        self._untold = []
        if whole:
            self._told = []
        self._pile(self._told, frame)
        self._weigh()
        return frame

    def restore(self, groups: pl.DataFrame) -> None:
        """Take up groups that have been told, younger than those before."""
        self.nothing = groups.clear()
        self._pile(self._told, groups)
        self._weigh()

    def keep(self, which: pl.Expr) -> None:
        """Forget all groups but some; that they are forgotten is not told."""
        self.put(*([frame.filter(which) for frame in log] for log in (self._told, self._untold)))

    def pieces(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return what has been told and what has not, as a frame each."""
        return self.merged(self._told), self.merged(self._untold)

    def put(self, told: Iterable[pl.DataFrame], untold: Iterable[pl.DataFrame]) -> None:
        """Keep these in place of everything."""
        self._told = [frame for frame in told if frame.height]
        self._untold = [frame for frame in untold if frame.height]
        self._weigh()

    def clear(self) -> None:
        """Forget everything."""
        self.put((), ())

    def _pile(self, log: list[pl.DataFrame], frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        log.append(frame)
        size = _size(frame)
        run = 1
        while run < len(log) and _size(log[-1 - run]) <= size:
            run += 1
        if run >= MERGED_AT:
            merged = self.merged(log[-run:])
            del log[-run:]
            self._pile(log, merged)

    def _of_parts(self, frame: pl.DataFrame, *, times: int, by_row: bool) -> pl.DataFrame:
        parts = (of_parts(part, frame, times=times, by_row=by_row) for part in self._parts)
        return self._grouped(frame, parts)

    def _grouped(self, frame: pl.DataFrame, parts: Iterable[pl.Expr]) -> pl.DataFrame:
        """Group rows; those of a group are taken in their order."""
        # twice as fast as the engine in memory, of which it takes two thirds (Polars 2.1)
        return frame.lazy().group_by(self.keys).agg(*parts).collect(engine="streaming")

    def _weigh(self) -> None:
        self.bytes = sum(int(frame.estimated_size()) for frame in self.frames)


def _size(frame: pl.DataFrame) -> int:
    """Return the class of size of a frame, each fourfold the one before."""
    return max(0, frame.height // _FRAME_ROWS).bit_length() // 2
