"""Types of the fields of JSON records that nobody declared.

int64, float64, bool, date, timestamp and string; only nulls are a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.json_lines import read, tidy
from dataflow.connectors.formats.json_parse import JsonParser
from dataflow.connectors.formats.lines import Lines
from dataflow.connectors.formats.parse import parse

_MOMENTS = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.timestamp("ns"))


def json_types(data: bytes, declared: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
    """Return the types of the fields of json records that are not declared, in their order."""
    found = _fields(data, Lines())
    names = [name for name in found if name not in declared]
    texts = {name for name in names if _texts(found[name])}
    as_text = pa.schema([(name, pa.string()) for name in texts])
    moments = parse(JsonParser(as_text, closed=False), data).batch
    return {
        name: _moment(moments.column(name)) if name in texts else _plain(found[name])
        for name in names
    }


def _texts(of: pa.DataType) -> bool:
    return pa.types.is_string(of) or pa.types.is_timestamp(of)  # Arrow knows those without fraction


def _fields(data: bytes, lines: Lines) -> dict[str, pa.DataType]:
    """Return what Arrow infers; halves that contradict each other are united."""
    schema = _inferred(data)
    if schema is None:
        middle = lines.first_end(data, len(data) // 2)
        middle = middle if middle < len(data) else lines.last_end(data[:-1])
        if not 0 < middle < len(data):
            return {}  # a malformed record has no types; it is refused when it is read
        left, right = _fields(data[:middle], lines), _fields(data[middle:], lines)
        return {n: _united(left.get(n), right.get(n)) for n in {**left, **right}}
    return {field.name: field.type for field in schema}


def _inferred(data: bytes) -> pa.Schema | None:
    tidied = tidy(data)
    try:
        return None if tidied is None else read(tidied, None, "infer").schema
    except pa.ArrowInvalid:
        return None


def _united(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType:
    if one is None or other is None or one == other:
        return one or other or pa.null()
    if pa.types.is_null(one) or pa.types.is_null(other):
        return other if pa.types.is_null(one) else one
    numbers = {pa.int64(), pa.float64()}
    return pa.float64() if {one, other} == numbers else pa.string()


def _moment(texts: pa.Array[Any]) -> pa.DataType:
    known = (of for of in _MOMENTS if texts.null_count < len(texts) and casts(texts, of))
    return next(known, pa.string())


def casts(column: pa.ChunkedArray[Any] | pa.Array[Any], to: pa.DataType) -> bool:
    """Tell whether every value of a column is one of another type, too."""
    try:
        pc.cast(column, to)
    except pa.ArrowInvalid:
        return False
    return True


def _plain(of: pa.DataType) -> pa.DataType:
    """Return a type without null and moments in it: within lists and objects those are strings."""
    if isinstance(of, pa.ListType):
        return pa.list_(_plain(of.value_type))
    if isinstance(of, pa.StructType):
        return pa.struct([(field.name, _plain(field.type)) for field in of])
    return pa.string() if pa.types.is_null(of) or pa.types.is_temporal(of) else of
