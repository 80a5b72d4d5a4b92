"""Json lines by Arrow's parser, which is strict about types and lax about lines.

It crashes the process on a first line ``null``, takes two objects on a line or one over two, and
drops empty lines (26.0.1). So every line must begin with ``{`` and end with ``}``: within an
object ``}`` is never followed by ``{``, so no object reaches over two lines; and there must be as
many rows as lines, so no line holds two.

Measured on 3 M rows of 7 columns in chunks of 4 MiB, two threads: Arrow 1.8 to 2.0 M rows/s,
polars 2.1, which takes numbers for strings and reads an unpaired surrogate as NUL.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from dataflow.connectors.file.scan import Lines
from dataflow.connectors.file.source_parse import (
    Pace,
    Parsed,
    Refused,
    empty,
    one_batch,
    require_precision,
    require_utf8,
    type_name,
)

_OPENS, _CLOSES, _FEED = b"{}\n"
_PADDING = re.compile(rb"[ \t\r]*\n[ \t\r\n]*")
_CHANGED = re.compile(r"Column\(/?(?P<path>.*?)\) changed from \w+ to (?P<found>\w+)")
_QUOTE = "; write such values in quotes, or read whole lines with format text"
"""A field may hold numbers and strings, and no type but string would take both."""

_PREFIX = re.compile(r"^(JSON parse error: |Failed to convert JSON to [^:]*: ?)")
_ROW = re.compile(r" in row \d+$")


PACE = Pace(chunk_bytes=4 << 20, at_once=2)
"""Measured from json to json on two cores, where parsing is three quarters of the work: chunks of
2 MiB take 4 % more CPU, a third one at once is no faster."""


class JsonParser:
    """Json lines whose fields are known.

    Args:
        schema: the fields that come out; one that a record lacks is null in it.
        closed: whether a record with other fields is refused; they are dropped if not.
    """

    def __init__(self, schema: pa.Schema, *, closed: bool) -> None:
        self.schema = schema
        self.pace = PACE
        self.lines = Lines()
        self._written = pa.schema([(field.name, written(field.type)) for field in schema])
        self._closed = closed

    def strictly(self, data: bytes) -> Parsed:
        """See ``Parser``."""
        data = tidy(data)
        if not data:
            return Parsed(empty(self.schema))
        require_utf8(data)
        try:
            table = read(data, self._written, closed=self._closed)
        except pa.ArrowInvalid as error:
            raise Refused(self._reason(error, data)) from error
        if table.num_rows != count(data):
            raise Refused("more than one JSON object on a line")
        require_precision(table)
        columns = [self._cast(table.column(field.name), field) for field in self.schema]
        return Parsed(one_batch(pa.Table.from_arrays(columns, schema=self.schema), self.schema))

    def apart(self, _data: bytes) -> Parsed | None:
        """See ``Parser``."""
        return None

    def _cast(self, column: pa.ChunkedArray[Any], field: pa.Field[Any]) -> pa.ChunkedArray[Any]:
        if column.type == field.type:
            return column
        try:
            return pc.cast(column, field.type)
        except pa.ArrowInvalid as error:
            expected = type_name(field.type)
            raise Refused(f"field {field.name!r}: expected {expected}: {error}") from error

    def _reason(self, error: pa.ArrowInvalid, data: bytes) -> str:
        """Say what is wrong, by name where the data is one record."""
        message = _ROW.sub("", _PREFIX.sub("", str(error)))
        changed = _CHANGED.search(message)
        if changed and changed["path"]:
            top = changed["path"].split("/")[0]
            known = top in self.schema.names
            expected = type_name(self.schema.field(top).type) if known else "another type"
            remedy = _QUOTE if expected == "string" and "/" not in changed["path"] else ""
            return (
                f"field {changed['path']!r}: expected {expected}, found {changed['found']}{remedy}"
            )
        if count(data) > 1:
            return message
        if message == "unexpected field":
            return _unexpected(data, self.schema)
        return self._blamed(data, message)

    def _blamed(self, record: bytes, message: str) -> str:
        for field in self._written:
            try:
                read(record, pa.schema([field]), closed=False)
            except pa.ArrowInvalid as error:
                if not str(error).startswith("JSON parse error"):
                    expected = type_name(self.schema.field(field.name).type)
                    return f"field {field.name!r}: expected {expected}: {message}"
        return f"not a JSON object: {message}"


def tidy(data: bytes) -> bytes:
    """Return the records without blank lines and white space around them.

    Raises:
        Refused: a line is no JSON object.
    """
    if not _objects(data):
        data = _PADDING.sub(b"\n", data).strip(b" \t\r\n")
        if data and not _objects(data):
            raise Refused("not a JSON object on one line: it must begin with { and end with }")
    return data


def count(tidied: bytes) -> int:
    """Return how many records tidied data has."""
    feeds = int((_octets(tidied) == _FEED).sum())
    return feeds + (bool(tidied) and not tidied.endswith(b"\n"))


def read(data: bytes, schema: pa.Schema | None, *, closed: bool) -> pa.Table:
    """Parse tidied data by Arrow."""
    other: Literal["infer", "error", "ignore"] = "error" if closed else "ignore"
    if schema is None:
        other = "infer"
    return arrow_json.read_json(
        pa.BufferReader(data),  # type: ignore[arg-type]  # the stubs forget Arrow's own files
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior=other
        ),
    )


def written(of: pa.DataType) -> pa.DataType:
    """Return the type in which a value of a type stands in JSON: dates and bytes as strings."""
    if isinstance(of, pa.ListType):
        return pa.list_(written(of.value_type))
    if isinstance(of, pa.StructType):
        return pa.struct([(field.name, written(field.type)) for field in of])
    as_text = pa.types.is_temporal(of) or pa.types.is_binary(of)
    return pa.string() if as_text else of


def _objects(data: bytes) -> bool:
    """Tell whether every line feed but a last one stands between two objects.

    Compared as columns of bytes it takes 1 ms for 4 MiB, and other threads go on; a regular
    expression took 2 ms, and kept them waiting.
    """
    end = len(data) - data.endswith(b"\n")
    if not (data.startswith(b"{") and data.endswith(b"}", 0, end)):
        return False
    octets, inner = _octets(data).slice(0, end), max(end - 2, 0)
    feeds = octets.slice(1, inner) == _FEED
    seams = (octets.slice(0, inner) == _CLOSES) & feeds & (octets.slice(2, inner) == _OPENS)
    return int(feeds.sum()) == int(seams.sum())


def _octets(data: bytes) -> pl.Series:
    """Return data as a column of numbers, without a copy."""
    column = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
    return pl.Series("", column)


def _unexpected(record: bytes, schema: pa.Schema) -> str:
    given = json.loads(record)
    others = [name for name in given if name not in schema.names]
    if not others:
        return "an object in it has a field that its type has not"
    names = ", ".join(map(repr, others))
    return f"has other fields than were declared or inferred: {names}; name them in schema"
