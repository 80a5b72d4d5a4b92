"""Statements of many rows, in few steps."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

Row: TypeAlias = tuple[str | int | bytes, ...]

ROWS_MAX = 512
"""Rows of one statement: 11 values each stay below SQLite's least limit, 32,766 parameters, and
larger ones measured no faster."""

_VALUES = re.compile(r"VALUES (\([?, ]+\))")


def write_rows(connection: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> None:
    """Run a statement with a ``VALUES (?, …)`` for many rows, in few steps.

    Not ``executemany``: that gives the interpreter's lock away at each row, and waits up to 5 ms
    for it each time while the event loop is busy. Steps are powers of two, so that few different
    statements stay prepared.
    """
    start = 0
    while start < len(rows):
        count = min(ROWS_MAX, 1 << ((len(rows) - start).bit_length() - 1))
        values = [value for row in rows[start : start + count] for value in row]
        connection.execute(_repeated(statement, count), values)
        start += count


@lru_cache(maxsize=64)
def _repeated(statement: str, count: int) -> str:
    return _VALUES.sub(lambda found: "VALUES " + ", ".join([found[1]] * count), statement)
