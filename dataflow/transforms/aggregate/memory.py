"""All that a step keeps of the rows that it has taken: rows not yet grouped, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl
import pyarrow as pa

from dataflow.transforms.aggregate.intake import Columns
from dataflow.transforms.aggregate.moments import micros
from dataflow.transforms.aggregate.options import AggregateOptions, WindowOptions
from dataflow.transforms.aggregate.parts import FIRST_ROW, ROW, ROWS, with_order
from dataflow.transforms.aggregate.results import parts_of
from dataflow.transforms.aggregate.sessions import Sessions
from dataflow.transforms.aggregate.sketches import Distinct, Quantiles
from dataflow.transforms.aggregate.table import Table
from dataflow.transforms.aggregate.windows import Panes, Whole, Windows

# of which type is known when the program runs, not when the stubs' overloads are chosen
_nulls: Callable[..., pa.Array[Any]] = pa.nulls

BUFFER_ROWS = 1 << 22
BUFFER_BYTES = 1 << 26
"""Rows that are grouped at once where little is gained by it: of four million rows a million keys
leave a quarter, of one million rows nearly two thirds, which would be grouped again."""

SHRUNK = 4
"""Where that many rows or more become one, a fourth of them is grouped at once: while the next
are read, not behind the last."""

FRESH_MAX = 16
"""Lists of groups that have changed, before they are put into one."""

BUFFER_SHARE = 8
"""Of what a step may keep, what rows that are not grouped may take."""


def windows_of(window: WindowOptions | None, keys: Sequence[str]) -> Windows:
    """Return how rows are put together by their time."""
    if window is None:
        return Whole()
    if window.gap is not None:
        return Sessions(keys, micros(window.gap))
    size = micros(window.size or timedelta())
    return Panes(size, micros(window.slide) if window.slide is not None else size)


class Memory:
    """Groups rows when there are enough of them, or when somebody asks.

    Attributes:
        windows: which groups belong together in time.
        sketches: what is kept in tables of its own.
        tables: the main one, and one for each sketch.
        rows: how many have been taken, ever.
    """

    def __init__(self, options: AggregateOptions, columns: Columns) -> None:
        self.windows = windows_of(options.window, columns.keys)
        keys = [*self.windows.columns, *columns.keys]
        regroup = self.windows.regroup
        parts = with_order(parts_of(columns))
        self._numbered = FIRST_ROW in parts
        self.sketches = list(_sketches(columns, keys, self.windows))
        self.tables = [
            Table(keys, parts, regroup),
            *(sketch.table for sketch in self.sketches),
        ]
        self.rows = 0
        self._fresh: list[pl.DataFrame] | None = [] if options.emit == "early" else None
        self._buffered: list[pa.RecordBatch] = []
        self._buffered_rows = self._buffered_bytes = 0
        self._shrinks = True
        self._bytes_max = min(BUFFER_BYTES, options.state_bytes_max // BUFFER_SHARE)

    @property
    def bytes(self) -> int:
        """The memory that all of it takes."""
        fresh = sum(int(frame.estimated_size()) for frame in self._fresh or ())
        return self._buffered_bytes + fresh + sum(table.bytes for table in self.tables)

    def add(self, rows: pa.RecordBatch) -> None:
        """Take up rows, of the columns that are grouped."""
        self._buffered.append(rows)
        self._buffered_rows += rows.num_rows
        self._buffered_bytes += rows.nbytes
        rows_max = BUFFER_ROWS // SHRUNK if self._shrinks else BUFFER_ROWS
        if self._buffered_rows >= rows_max or self._buffered_bytes >= self._bytes_max:
            self.group()

    def group(self) -> None:
        """Group the rows that are waiting for it."""
        if not self._buffered:
            return
        rows = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(self._buffered), rechunk=False))
        if self._numbered:
            number = pl.int_range(self.rows, self.rows + rows.height, dtype=pl.Int64)
            rows = rows.with_columns(number.alias(ROW))
        self.rows += rows.height
        self._buffered = []
        self._buffered_rows = self._buffered_bytes = 0
        self._take(self.windows.cut(rows))

    def add_nothing(self, held: Mapping[str, pa.DataType]) -> None:
        """Take up the one group of a whole run that had no rows: SQL has a row for it, too."""
        row = pa.table({name: _nulls(1, of) for name, of in held.items()})
        self._take(pl.DataFrame(pl.from_arrow(row)).with_columns(pl.lit(0).alias(ROW)))
        table = self.tables[0]
        table.put((), map(_emptied, table.frames))

    def changed(self) -> pl.DataFrame | None:
        """Return what tells the groups that have changed since the last time; None if none has."""
        if not self._fresh:
            return None
        found = self.windows.changed(pl.concat(self._fresh))
        self._fresh = []
        return found

    def _take(self, rows: pl.DataFrame) -> None:
        table = self.tables[0]
        groups = table.of_rows(rows)
        self._shrinks = groups.height * SHRUNK <= rows.height
        table.add(groups)
        for sketch in self.sketches:
            sketch.add(rows)
        self._note(groups)

    def _note(self, groups: pl.DataFrame) -> None:
        if self._fresh is None:
            return
        self._fresh.append(groups.select(self.tables[0].keys))
        if len(self._fresh) > FRESH_MAX:
            self._fresh = [pl.concat(self._fresh).unique()]

    def tell(self, *, whole: bool) -> Sequence[pl.DataFrame]:
        """Return what was added since the last time, or everything, by table."""
        self.group()
        return [table.tell(whole=whole) for table in self.tables]

    def restore(self, frames: Sequence[pl.DataFrame]) -> None:
        """Take up what was told."""
        for table, frame in zip(self.tables, frames, strict=True):
            table.restore(frame)

    def resume(self, rows: int, closed: int) -> None:
        """Go on behind what was told: so many rows, and what had closed."""
        self.rows = rows
        self.windows.restore(closed, self.tables)
        for frame in self.tables[0].frames:
            self._note(frame)


def _emptied(groups: pl.DataFrame) -> pl.DataFrame:
    """Return the group of one row of NULLs as that of no row at all."""
    lists = [name for name, of in groups.schema.items() if isinstance(of, pl.List)]
    without = groups.with_columns(pl.lit(None, groups.schema[name]).alias(name) for name in lists)
    rows = [pl.lit(0, pl.Int64).alias(ROWS.name)] if ROWS.name in groups else []
    return without.with_columns(rows)


def _sketches(
    columns: Columns, keys: Sequence[str], windows: Windows
) -> Iterator[Distinct | Quantiles]:
    """Yield one sketch for each argument of the calls that need one."""
    distinct = [call for call in columns.calls if call.function == "approx_distinct"]
    for of in dict.fromkeys(map(columns.argument, distinct)):
        yield Distinct(of, keys, windows.regroup)
    ranks: dict[str, dict[float, None]] = {}
    for call in columns.calls:
        if call.function == "quantile":
            ranks.setdefault(columns.argument(call), {})[call.parameter] = None
    for of, wanted in ranks.items():
        yield Quantiles(of, list(wanted), keys, windows.regroup)
