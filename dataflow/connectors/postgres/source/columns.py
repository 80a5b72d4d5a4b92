"""Columns of text, as PostgreSQL writes values, to columns of the types that a lineage has pinned.

PostgreSQL                                     here
boolean                                        bool
smallint, integer, bigint                      int16, int32, int64
real, double precision                         float32, float64
numeric(p, s), p <= 38                         decimal(p, s)
bytea                                          binary
date, time                                     date, time
timestamp, timestamptz                         timestamp, timestamptz
all others                                     string, as PostgreSQL writes them
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.columns import PinnedColumn
from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.formats.parse import Bad, Parsed

Texts: TypeAlias = "pa.Array[Any]"

_TYPES: Mapping[str, str] = {
    "boolean": "bool",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "real": "float32",
    "double precision": "float64",
    "bytea": "binary",
    "date": "date",
    "time without time zone": "time",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}
_PARAMETER = re.compile(r"\(\d+\)")
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_DIGITS_MAX = 38


def type_of(postgres: str) -> str:
    """Return the type, by its name here, of a column as ``format_type`` names its type."""
    if found := _NUMERIC.fullmatch(postgres):
        digits, scale = int(found[1]), int(found[2])
        return f"decimal({digits}, {scale})" if scale <= digits <= _DIGITS_MAX else "string"
    return _TYPES.get(_PARAMETER.sub("", postgres), "string")


class Converter:
    """Makes rows of texts; its schema holds for the whole lineage."""

    def __init__(self, columns: Sequence[PinnedColumn]) -> None:
        fields = [pa.field(c.name, to_arrow(parse_type(c.type))) for c in columns]
        self.schema = pa.schema(fields)

    def rows(self, texts: Mapping[str, Texts], wrong: Mapping[int, str] | None = None) -> Parsed:
        """Return rows, and those that hold a value which their column's type has not.

        Args:
            texts: the columns, large strings.
            wrong: what is known to be wrong already, by row.
        """
        errors = dict(wrong or {})
        columns = {
            field.name: _converted(texts[field.name], field, errors) for field in self.schema
        }
        arrays = list(columns.values())
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        if not errors:
            return Parsed(batch)
        rows = sorted(errors)
        bad = [Bad(row, _shown(texts, row), errors[row]) for row in rows]
        return Parsed(without(batch, rows), bad)


def without(batch: pa.RecordBatch, rows: Sequence[int]) -> pa.RecordBatch:
    """Return a batch less some rows."""
    every = pa.array(range(batch.num_rows), pa.int64())
    return batch.filter(pc.invert(pc.is_in(every, value_set=pa.array(rows, pa.int64()))))


def _converted(texts: Texts, field: pa.Field[Any], errors: dict[int, str]) -> Texts:
    """Return a column of values; one that is none becomes null and is told by its row."""
    try:
        return _cast(texts, field.type)
    except (pa.ArrowInvalid, pl.exceptions.PolarsError):
        pass
    kept = texts.to_pylist()
    for row in _misfits(texts, field.type, 0):
        message = f"column {field.name!r}: {kept[row]!r:.100} is no {field.type}"
        errors.setdefault(row, message)
        kept[row] = None
    return _cast(pa.array(kept, pa.large_string()), field.type)


def _misfits(texts: Texts, of: pa.DataType, first: int) -> list[int]:
    """Return the rows that do not fit, by halves: mostly it is one of many."""
    try:
        _cast(texts, of)
    except (pa.ArrowInvalid, pl.exceptions.PolarsError):
        if len(texts) == 1:
            return [first]
    else:
        return []
    middle = len(texts) // 2
    left = _misfits(texts.slice(0, middle), of, first)
    return left + _misfits(texts.slice(middle), of, first + middle)


def _cast(texts: Texts, of: pa.DataType) -> Texts:
    if pa.types.is_boolean(of):
        return pc.equal(texts, pa.scalar("t", pa.large_string()))
    if pa.types.is_time(of):
        moments = ("1970-01-01 " + pl.Series(texts)).to_arrow()
        return moments.cast(pa.large_string()).cast(pa.timestamp("us")).cast(of)
    if pa.types.is_binary(of) or pa.types.is_large_binary(of):
        digits = pl.Series(texts).str.slice(2)
        return digits.str.decode("hex").to_arrow().cast(of)
    cast: Texts = texts.cast(of)
    return cast


def _shown(texts: Mapping[str, Texts], row: int) -> str:
    return orjson.dumps({name: column[row].as_py() for name, column in texts.items()}).decode()
