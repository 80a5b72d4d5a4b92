"""The messages of ``pgoutput``, version 1, and their rows as columns of text.

https://www.postgresql.org/docs/15/protocol-logicalrep-message-formats.html

Rows of one table are walked a column at a time, all at once: where each row's value begins is a
vector, and the next column's is computed from it. No value is ever a Python object.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

BEGIN, COMMIT, RELATION, TRUNCATE = b"BCRT"
INSERT, UPDATE, DELETE = b"IUD"
KEY, OLD = b"KO"
ROWS = frozenset((INSERT, UPDATE, DELETE))

TEXT, UNCHANGED = b"tu"

_IN_IDENTITY = 1
"""Among a column's flags."""

_PADDING = bytes(8)
"""Behind the last value, where a length would stand."""

_HEADER = 6
"""Bytes of a row's message before its first tuple: kind, table, which tuple."""


class Begin(NamedTuple):
    """A transaction begins: where its commit stands in the log, when it was made, and by whom."""

    lsn: int
    time_us: int
    xid: int

    @classmethod
    def of(cls, message: bytes) -> Begin:
        """Read a message; the time counts microseconds since 2000."""
        return cls(*struct.unpack_from("!QqI", message, 1))


def end_of(message: bytes) -> int:
    """Return the position behind a commit."""
    (lsn,) = struct.unpack_from("!Q", message, 10)
    return int(lsn)


class Relation(NamedTuple):
    """A table as the messages behind this one hold its rows.

    Attributes:
        identity: the columns by which they tell which row was changed.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    identity: tuple[str, ...]

    @classmethod
    def of(cls, message: bytes) -> Relation:
        """Read a message."""
        (oid,) = struct.unpack_from("!I", message, 1)
        schema, at = _text(message, 5)
        name, at = _text(message, at)
        (count,) = struct.unpack_from("!h", message, at + 1)
        at += 3
        columns, identity = [], []
        for _ in range(count):
            is_key = message[at] & _IN_IDENTITY
            column, at = _text(message, at + 1)
            columns.append(column)
            if is_key:
                identity.append(column)
            at += 8
        return cls(oid, schema, name, tuple(columns), tuple(identity))


def _text(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(0, at)
    return message[at:end].decode(), end + 1


def truncated(message: bytes) -> Sequence[int]:
    """Return the tables that were truncated."""
    (count,) = struct.unpack_from("!I", message, 1)
    return struct.unpack_from(f"!{count}I", message, 6)


class Tuples(NamedTuple):
    """Tuples of some rows: a column of texts, and of marks, for each column of the table."""

    texts: Sequence[pa.Array[Any]]
    kinds: Sequence[pl.Series]
    ends: pl.Series


class Rows:
    """Messages about rows of one table, in one piece of memory."""

    def __init__(self, messages: Sequence[bytes], columns: int) -> None:
        self._columns = columns
        joined = b"".join([*messages, _PADDING])
        self._data = pa.py_buffer(joined)
        bytes_ = pa.Array.from_buffers(pa.uint8(), len(joined), [None, self._data])
        self._bytes = pl.Series(bytes_)
        lengths = pl.Series(list(map(len, messages)), dtype=pl.Int64)
        self.begins = lengths.cum_sum() - lengths
        self.kinds = self._at(self.begins)
        self.firsts = self._at(self.begins + (_HEADER - 1))
        """Which tuple comes first: KEY, OLD, or the new one."""

    def first(self) -> Tuples:
        """Return the first tuple of every row."""
        return self._walk(self.begins + _HEADER)

    def second(self, first: Tuples, rows: pl.Series) -> Tuples:
        """Return the tuple behind the first one, of rows by their numbers among the first ones."""
        return self._walk(first.ends.gather(rows) + 1)

    def _at(self, where: pl.Series) -> pl.Series:
        return self._bytes.gather(where)

    def _walk(self, at: pl.Series) -> Tuples:
        at = at + 2
        texts: list[pa.Array[Any]] = []
        kinds = []
        for _ in range(self._columns):
            kind = self._at(at)
            held = kind == TEXT
            length = (self._number(at + 1) * held).cast(pl.Int64)
            start = at + 1 + held.cast(pl.Int64) * 4
            at = start + length
            texts.append(self._texts(start, at, held))
            kinds.append(kind)
        return Tuples(texts, kinds, at)

    def _number(self, at: pl.Series) -> pl.Series:
        number = self._at(at).cast(pl.Int64)
        for further in (1, 2, 3):
            number = number * 256 + self._at(at + further).cast(pl.Int64)
        return number

    def _texts(self, start: pl.Series, end: pl.Series, held: pl.Series) -> pa.Array[Any]:
        """Return the texts between positions; null where none is held.

        What lies between one and the next counts as a text too, and is not taken: positions grow.
        """
        count = len(start)
        if count == 0:
            return pa.array([], pa.large_string())
        ends = pl.concat([start, end]).sort().to_arrow().cast(pa.int64()).buffers()[1]
        parts = pa.Array.from_buffers(pa.large_binary(), 2 * count - 1, [None, ends, self._data])
        numbers = pl.int_range(0, 2 * count, 2, eager=True)
        wanted = numbers.zip_with(held, pl.Series([None], dtype=pl.Int64).new_from_index(0, count))
        taken: pa.Array[Any] = parts.take(wanted.to_arrow())
        return taken.cast(pa.large_string())
