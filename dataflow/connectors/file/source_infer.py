"""Types of columns that nobody declared, from the first records of the first file that has any.

int64, float64, bool, date, timestamp and string; only nulls are a string. What is inferred is
pinned for the lineage, so the records that happen to come first decide, and no chunk's end does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from dataflow.connect.json_lines import read, tidy
from dataflow.connectors.file.csv_parse import lines_of, parsing
from dataflow.connectors.file.csv_parse import read as read_csv
from dataflow.connectors.file.json_parse import JsonParser
from dataflow.connectors.file.scan import Blocks, Lines
from dataflow.connectors.file.source_options import FileSourceOptions
from dataflow.connectors.file.source_parse import parse

_BYTES_MAX = 16 << 20
"""Of records that inference looks at; one record may be as long."""

_MOMENTS = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.timestamp("ns"))


def sample(blocks: Blocks, rows: int) -> bytes:
    """Return the first records, as many lines or 16 MiB."""
    data = b""
    for block in blocks:
        data += b"" if block.too_long else block.data
        if data.count(b"\n") >= rows or len(data) > _BYTES_MAX:
            break
    end = 0
    for _ in range(rows):
        end = data.find(b"\n", end) + 1
        if not end:
            return data
    return data[: blocks.lines.first_end(data, end - 1)]


def csv_types(
    data: bytes, names: Sequence[str], wanted: Sequence[str], options: FileSourceOptions
) -> Mapping[str, pa.DataType]:
    """Return the types of the wanted columns of csv records."""
    data = data.decode("utf-8", "replace").encode()
    if not wanted or not data.strip():
        return {name: pa.string() for name in wanted}
    table = read_csv(
        data,
        names,
        parsing(options, lambda _: "skip"),
        csv.ConvertOptions(
            include_columns=list(wanted),
            null_values=list(options.null_values),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return {name: _csv_type(table.column(name)) for name in wanted}


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


def _csv_type(column: pa.ChunkedArray[Any]) -> pa.DataType:
    of = column.type
    if pa.types.is_timestamp(of):
        coarse = pa.timestamp("us", of.tz)
        return coarse if _casts(column, coarse) else pa.timestamp("ns", of.tz)
    known = pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_boolean(of)
    return of if known or pa.types.is_date32(of) else pa.string()


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
    known = (of for of in _MOMENTS if texts.null_count < len(texts) and _casts(texts, of))
    return next(known, pa.string())


def _casts(column: pa.ChunkedArray[Any] | pa.Array[Any], to: pa.DataType) -> bool:
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


def csv_width(data: bytes, options: FileSourceOptions) -> int:
    """Return how many cells the first csv record has."""
    data = data.lstrip(b"\r\n")
    if not data:
        return 0
    record = data[: lines_of(options).first_end(data)].decode("utf-8", "replace").encode()
    return read_csv(record, None, parsing(options)).num_columns
