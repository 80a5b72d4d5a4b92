"""Json lines to rows, and what is wrong with those that are none.

Measured on 3 M rows of 7 columns in chunks of 4 MiB, two threads: Arrow 1.8 to 2.0 M rows/s,
polars 2.1, which takes numbers for strings and reads an unpaired surrogate as NUL.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.batches import empty, one_batch, type_name
from dataflow.connect.json_lines import count, read, tidy, written_schema
from dataflow.connectors.formats.lines import Lines
from dataflow.connectors.formats.parse import (
    Pace,
    Parsed,
    Refused,
    require_precision,
    require_utf8,
)

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
        self._written = written_schema(schema)
        self._closed = closed

    def strictly(self, data: bytes) -> Parsed:
        """See ``Parser``."""
        tidied = tidy(data)
        if tidied is None:
            raise Refused("not a JSON object on one line: it must begin with { and end with }")
        if not tidied:
            return Parsed(empty(self.schema))
        require_utf8(tidied)
        try:
            table = read(tidied, self._written, "error" if self._closed else "ignore")
        except pa.ArrowInvalid as error:
            raise Refused(self._reason(error, tidied)) from error
        if table.num_rows != count(tidied):
            raise Refused("more than one JSON object on a line")
        require_precision(table)
        columns = [self._cast(table.column(field.name), field) for field in self.schema]
        return Parsed(one_batch(pa.Table.from_arrays(columns, schema=self.schema)))

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
                read(record, pa.schema([field]), "ignore")
            except pa.ArrowInvalid as error:
                if not str(error).startswith("JSON parse error"):
                    expected = type_name(self.schema.field(field.name).type)
                    return f"field {field.name!r}: expected {expected}: {message}"
        return f"not a JSON object: {message}"


def _unexpected(record: bytes, schema: pa.Schema) -> str:
    given = json.loads(record)
    others = [name for name in given if name not in schema.names]
    if not others:
        return "an object in it has a field that its type has not"
    names = ", ".join(map(repr, others))
    return f"has other fields than were declared or inferred: {names}; name them in schema"
