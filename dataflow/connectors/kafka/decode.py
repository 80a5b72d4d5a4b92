"""Records to rows, a column at a time, and what is wrong with those that are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.formats.json_parse import JsonParser
from dataflow.connectors.formats.parse import Bad, Parsed, parse, shown
from dataflow.connectors.kafka.fetched import Fetched, Headers, Unreadable, Wanted, data_of
from dataflow.connectors.kafka.registry.reading import RegistryReading
from dataflow.connectors.kafka.source_spec import (
    KafkaPinned,
    KafkaSourceOptions,
    metadata_types,
)

EMPTY = b"{}\n"
"""A tombstone as JSON: a row of nulls."""

Columns = dict[str, "pa.Array[Any]"]


class Decoded(NamedTuple):
    """The rows of some records, and the others; tombstones may be left out."""

    batch: pa.RecordBatch
    bad: Sequence[Bad]


class Decoder:
    """Decodes records as the options say; its schema holds for the whole lineage."""

    def __init__(
        self,
        options: KafkaSourceOptions,
        pinned: KafkaPinned,
        registered: RegistryReading | None = None,
    ) -> None:
        self._options = options
        self._registered = registered
        value = [(c.name, to_arrow(parse_type(c.type))) for c in pinned.columns]
        beside = [(n, to_arrow(parse_type(of))) for n, of in metadata_types(options).items()]
        self._value = pa.schema(value)
        self.schema = pa.schema([*value, *beside])
        closed = options.other_columns == "reject"
        self._parser = JsonParser(self._value, closed=closed) if options.format == "json" else None

    def decode(self, fetched: Fetched) -> Decoded:
        """Return records as rows; ``index`` of a bad one counts those that are not left out."""
        if self._options.tombstones == "skip":
            fetched = fetched.without_tombstones()
        if fetched.headers is not None and False in fetched.headers:
            return self._around_unreadable(fetched, fetched.headers)
        parsed = self._values(fetched.values)
        columns, bad = dict(zip(self._value.names, parsed.batch.columns, strict=True)), parsed.bad
        beside = self._beside(fetched)
        if bad:
            wrong = {one.index for one in bad}
            good = pa.array([index not in wrong for index in range(len(fetched))])
            beside = {name: column.filter(good) for name, column in beside.items()}
        columns |= beside
        arrays = [columns[field.name].cast(field.type) for field in self.schema]
        return Decoded(pa.RecordBatch.from_arrays(arrays, schema=self.schema), bad)

    def _around_unreadable(
        self, fetched: Fetched, headers: Sequence[Headers | Unreadable | None]
    ) -> Decoded:
        """Return the other records, and those whose headers have no names as bad ones."""
        kept = [index for index, one in enumerate(headers) if one is not False]
        decoded = self.decode(fetched.only(pa.array([one is not False for one in headers])))
        bad = [replace(one, index=kept[one.index]) for one in decoded.bad]
        bad += [
            Bad(index, shown(value or b""), "the name of a header is no UTF-8")
            for index, value in enumerate(fetched.values.to_pylist())
            if headers[index] is False
        ]
        return Decoded(decoded.batch, sorted(bad, key=lambda one: one.index))

    def _values(self, values: pa.Array[Any]) -> Parsed:
        if self._parser is not None:
            return json_rows(self._parser, values)
        if self._registered is not None:
            closed = self._options.other_columns == "reject"
            return self._registered.rows(values.to_pylist(), self._value, closed=closed)
        if self._options.format == "bytes":
            column = values.cast(pa.binary())
            return Parsed(pa.RecordBatch.from_arrays([column], schema=self._value))
        return _texts(values, self._value)

    def _beside(self, fetched: Fetched) -> Columns:
        """Return the columns that options name; what they name was fetched, see ``wanted_by``."""
        options = self._options
        columns: Columns = {}
        if (name := options.key_column) and fetched.keys is not None:
            columns[name] = fetched.keys
            if options.key_format == "string":
                columns[name] = _text(fetched.keys)
        if (name := options.headers_column) and fetched.headers is not None:
            columns[name] = pa.array([_headers(one) for one in fetched.headers], pa.string())
        if name := options.topic_column:
            columns[name] = pa.repeat(fetched.partition.topic, len(fetched))
        if name := options.partition_column:
            columns[name] = pa.repeat(fetched.partition.number, len(fetched))
        if name := options.offset_column:
            columns[name] = fetched.offsets
        if (name := options.timestamp_column) and fetched.times_ms is not None:
            columns[name] = fetched.times_ms.cast(pa.timestamp("ms", "UTC"))
        return columns


def wanted_by(options: KafkaSourceOptions) -> Wanted:
    """Return what is decoded of records."""
    return Wanted(
        lines=options.format == "json",
        keys=bool(options.key_column),
        times=bool(options.timestamp_column),
        headers=bool(options.headers_column),
    )


def json_rows(parser: JsonParser, values: pa.Array[Any]) -> Parsed:
    """Return JSON values as rows, a null as one of nulls.

    Args:
        parser: of their fields.
        values: large_binary, each with a line feed behind it.
    """
    if values.null_count:
        values = values.fill_null(EMPTY)
    data = data_of(values)
    if data.count(b"\n") == len(values):
        parsed = parse(parser, data)
        if parsed.records == len(values):
            return parsed
    # Some value is blank, which the parser passes over, or holds several lines.
    return parse(parser, lines_of([_one_line(value or b"") for value in values.to_pylist()]))


def lines_of(values: Iterable[bytes]) -> bytes:
    """Return values as JSON lines."""
    return b"\n".join(values)


def _one_line(value: bytes) -> bytes:
    """Return a JSON value on one line: breaks in it are space, or it is none."""
    return value.replace(b"\r", b" ").replace(b"\n", b" ").strip() or b"(empty)"


def _texts(column: pa.Array[Any], schema: pa.Schema) -> Parsed:
    try:
        return Parsed(pa.RecordBatch.from_arrays([column.cast(pa.string())], schema=schema))
    except pa.ArrowInvalid:
        values = column.to_pylist()
    wrong = [index for index, value in enumerate(values) if not _is_text(value)]
    good = pc.invert(pc.is_in(pa.array(range(len(values))), value_set=pa.array(wrong)))
    texts = column.filter(good).cast(pa.string())
    bad = [Bad(index, shown(values[index] or b""), "invalid UTF-8") for index in wrong]
    return Parsed(pa.RecordBatch.from_arrays([texts], schema=schema), bad)


def _text(column: pa.Array[Any]) -> pa.Array[Any]:
    """Return bytes as text; what is no UTF-8 is escaped: a key is seldom worth a whole record."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if key is None else _escaped(key) for key in column.to_pylist()]
        return pa.array(texts, pa.string())


def _escaped(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _is_text(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _headers(headers: Headers | Unreadable | None) -> str | None:
    """Return headers as JSON text of an object; several of one name are a list."""
    if not headers:
        return None
    found: dict[str, list[str | None]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(None if value is None else _escaped(value))
    one_or_many = {n: values if len(values) > 1 else values[0] for n, values in found.items()}
    return orjson.dumps(one_or_many).decode()
