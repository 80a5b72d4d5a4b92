"""A handful of rows as JSON lines, cell by cell.

Polars takes 180 us to begin with, however few rows there are; five rows take 65 us here. The bytes
are the same: orjson writes numbers and text as polars does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

HANDFUL_ROWS = 50
"""From here on polars is as fast."""

Cells = Callable[["pa.Array[Any]"], Sequence[object]]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zone, if any, is written behind it


class Handful:
    """Makes lines of batches that have the columns of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self._names = schema.names
        cells = [_cells_of(field.type) for field in schema]
        # Polars itself names a column that has no name.
        names = {name for name in schema.names if name}
        are_all = None not in cells and len(names) == len(schema.names)
        self._cells: Sequence[Cells] = [one for one in cells if one] if are_all else ()

    @property
    def takes(self) -> bool:
        """Tell whether it can write these columns."""
        return bool(self._cells)

    def lines(self, batch: pa.RecordBatch) -> bytes:
        """Return one line a row.

        Raises:
            OverflowError: a moment is outside the years 1 to 9999.
        """
        columns = [cells(col) for cells, col in zip(self._cells, batch.columns, strict=True)]
        rows = (dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True))
        return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _cells_of(kind: pa.DataType) -> Cells | None:
    t = pa.types
    if t.is_integer(kind) or t.is_boolean(kind) or t.is_float64(kind):
        return _as_they_are
    if t.is_string(kind) or t.is_large_string(kind):
        return _as_they_are
    if isinstance(kind, pa.TimestampType) and kind.unit == "us":
        return {None: _naive, "UTC": _zoned}.get(kind.tz)
    return None


def _as_they_are(column: pa.Array[Any]) -> Sequence[object]:
    cells: list[object] = column.to_pylist()
    return cells


def _naive(column: pa.Array[Any]) -> Sequence[object]:
    return [None if us is None else _iso(us, "microseconds") for us in _microseconds(column)]


def _zoned(column: pa.Array[Any]) -> Sequence[object]:
    return [None if us is None else f"{_shortest(us)}+00:00" for us in _microseconds(column)]


def _microseconds(column: pa.Array[Any]) -> Sequence[int | None]:
    numbers: list[int | None] = column.view(pa.int64()).to_pylist()
    return numbers


def _shortest(us: int) -> str:
    """Return a moment with as many digits of its fraction as it needs, by threes."""
    if us % 1_000_000 == 0:
        return _iso(us, "seconds")
    return _iso(us, "microseconds" if us % 1_000 else "milliseconds")


def _iso(us: int, precision: str) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat("T", precision)
