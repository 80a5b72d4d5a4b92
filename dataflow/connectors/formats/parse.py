"""Parsing a block strictly, and finding the records that are to blame when that is refused.

A parser takes whole records or nothing. What it refuses is halved until the record stands alone,
so a bad record costs about two parses of its block, and a good one is never an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from dataflow.connect.batches import empty, one_batch, type_name
from dataflow.connect.source import REJECTED_COLUMNS
from dataflow.connectors.formats.lines import Lines

APART_BYTES_MIN = 1 << 10
"""Below, halving costs less than looking at every column."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that cannot be read; ``index`` counts the records of its block, bad ones too."""

    index: int
    record: str
    error: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """The records of a block: those that are rows, and the others."""

    batch: pa.RecordBatch
    bad: Sequence[Bad] = ()

    @property
    def records(self) -> int:
        """Return how many there are, good and bad."""
        return self.batch.num_rows + len(self.bad)


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is parsed: as little as keeps what follows busy, for it is held in memory."""

    chunk_bytes: int
    at_once: int
    """Chunks parsed at the same time."""


class Refused(Exception):
    """Some record of the data is not what it should be; the text says what, if it is one alone."""


class Parser(Protocol):
    """A format with its columns fixed."""

    schema: pa.Schema
    pace: Pace

    @property
    def lines(self) -> Lines:
        """Return how its records end."""
        ...

    def strictly(self, data: bytes) -> Parsed:
        """Parse records, all or nothing; those with too few or too many cells may be set aside.

        Raises:
            Refused: a record is malformed, or a value is not of its column's type.
        """
        ...

    def apart(self, data: bytes) -> Parsed | None:
        """Parse UTF-8 that was refused, by a quicker way than halving it; None if there is none."""
        ...


def parse(parser: Parser, data: bytes, *, last: bool = False) -> Parsed:
    """Parse a block; what is wrong with it is wrong with single records.

    Args:
        parser: of the format.
        data: whole records.
        last: they end with the file. Arrow takes a quote left open there for closed (26.0.1).
    """
    if last and not parser.lines.closed(data):
        end = parser.lines.last_end(data)
        cut = Parsed(empty(parser.schema), [Bad(0, shown(data[end:]), "a quote is not closed")])
        return _joined(parser.schema, [parse(parser, data[:end]), cut])
    try:
        return parser.strictly(data)
    except Refused:
        apart = parser.apart(data) if len(data) > APART_BYTES_MIN and is_utf8(data) else None
        return apart or _joined(parser.schema, _salvaged(parser, data))


def shown(data: bytes) -> str:
    """Return a record as text, bytes that are no UTF-8 escaped, without its line break."""
    return data.decode("utf-8", "backslashreplace").rstrip("\r\n")


def is_utf8(data: bytes) -> bool:
    """Tell whether all bytes are UTF-8."""
    try:
        require_utf8(data)
    except Refused:
        return False
    return True


def require_utf8(data: bytes) -> None:
    """Check all of a block at once: the parsers look at some of its bytes only.

    Raises:
        Refused: some byte is no UTF-8.
    """
    ends = pa.array([0, len(data)], pa.int64()).buffers()[1]
    whole = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(data)])
    try:
        whole.cast(pa.large_string())
    except pa.ArrowInvalid as error:
        raise Refused("invalid UTF-8") from error


def require_precision(table: pa.Table) -> None:
    """Check decimals: Arrow's parsers take 1000 for a decimal(5, 2), which it is not (26.0.1).

    Raises:
        Refused: a number has more digits than its type.
    """
    for field in table.schema:
        if "decimal" in str(field.type):
            try:
                table.column(field.name).validate(full=True)
            except pa.ArrowInvalid as error:
                expected = type_name(field.type)
                raise Refused(f"column {field.name!r}: expected {expected}: {error}") from error


def rejected(bad: Sequence[Bad], begin: int = 0) -> pa.RecordBatch:
    """Return bad records in the shape of the contract, counted from the first of their chunk."""
    index = pa.array([one.index - begin for one in bad], pa.int64())
    records = pa.array([one.record for one in bad], pa.large_string())
    errors = pa.array([one.error for one in bad], pa.large_string())
    return pa.RecordBatch.from_arrays([index, records, errors], names=list(REJECTED_COLUMNS))


def _salvaged(parser: Parser, data: bytes) -> list[Parsed]:
    """Return the parts of data that has been refused."""
    middle = parser.lines.last_end(data[: len(data) // 2])
    middle = middle or parser.lines.first_end(data)
    parts = [data[:middle], data[middle:]] if middle < len(data) else [data]
    found = []
    for part in parts:
        try:
            found.append(parser.strictly(part))
        except Refused as refused:
            if parser.lines.first_end(part) == len(part):
                bad = Bad(0, shown(part), str(refused))
                found.append(Parsed(empty(parser.schema), [bad]))
            else:
                found += _salvaged(parser, part)
    return found


def _joined(schema: pa.Schema, parts: Sequence[Parsed]) -> Parsed:
    bad: list[Bad] = []
    before = 0
    for part in parts:
        bad += [replace(one, index=one.index + before) for one in part.bad]
        before += part.records
    table = pa.Table.from_batches([part.batch for part in parts], schema)
    return Parsed(one_batch(table), bad)
