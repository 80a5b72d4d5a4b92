"""Records to rows, a column at a time, and what is wrong with those that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Message

from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.formats.json_parse import JsonParser
from dataflow.connectors.formats.parse import Bad, Parsed, parse, shown
from dataflow.connectors.kafka.registry.reading import RegistryReading
from dataflow.connectors.kafka.source_spec import (
    KafkaPinned,
    KafkaSourceOptions,
    metadata_types,
)

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

    def decode(self, messages: Sequence[Message]) -> Decoded:
        """Return records as rows; ``index`` of a bad one counts those that are not left out."""
        if self._options.tombstones == "skip":
            messages = [message for message in messages if message.value() is not None]
        parsed = self._values([message.value() for message in messages])
        columns, bad = dict(zip(self._value.names, parsed.batch.columns, strict=True)), parsed.bad
        beside = self._beside(messages)
        if bad:
            wrong = {one.index for one in bad}
            good = pa.array([index not in wrong for index in range(len(messages))])
            beside = {name: column.filter(good) for name, column in beside.items()}
        columns |= beside
        arrays = [columns[field.name].cast(field.type) for field in self.schema]
        return Decoded(pa.RecordBatch.from_arrays(arrays, schema=self.schema), bad)

    def _values(self, values: Sequence[bytes | None]) -> Parsed:
        if self._parser is not None:
            return json_rows(self._parser, values)
        if self._registered is not None:
            closed = self._options.other_columns == "reject"
            return self._registered.rows(values, self._value, closed=closed)
        column = pa.array(values, pa.binary())
        if self._options.format == "bytes":
            return Parsed(pa.RecordBatch.from_arrays([column], schema=self._value))
        return _texts(column, self._value)

    def _beside(self, messages: Sequence[Message]) -> Columns:
        options = self._options
        columns: Columns = {}
        if name := options.key_column:
            keys: pa.Array[Any] = pa.array([message.key() for message in messages], pa.binary())
            columns[name] = _text(keys) if options.key_format == "string" else keys
        if name := options.headers_column:
            columns[name] = pa.array([_headers(m.headers()) for m in messages], pa.string())
        if name := options.topic_column:
            columns[name] = pa.array([message.topic() for message in messages], pa.string())
        if name := options.partition_column:
            columns[name] = pa.array([message.partition() for message in messages], pa.int32())
        if name := options.offset_column:
            columns[name] = pa.array([message.offset() for message in messages], pa.int64())
        if name := options.timestamp_column:
            times = pa.array([message.timestamp()[1] for message in messages], pa.int64())
            columns[name] = times.cast(pa.timestamp("ms", "UTC"))
        return columns


def json_rows(parser: JsonParser, values: Sequence[bytes | None]) -> Parsed:
    """Return JSON values as rows, a null as one of nulls."""
    data = lines_of(values)
    if data.count(b"\n") == len(values) - 1:
        parsed = parse(parser, data)
        if parsed.records == len(values):
            return parsed
    # Some value is blank, which the parser passes over, or holds several lines.
    return parse(parser, lines_of([_one_line(value) for value in values]))


def lines_of(values: Sequence[bytes | None]) -> bytes:
    """Return values as JSON lines."""
    return b"\n".join([b"{}" if value is None else value for value in values])


def _one_line(value: bytes | None) -> bytes | None:
    """Return a JSON value on one line: breaks in it are space, or it is none."""
    if value is None:
        return None
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
        texts = [None if key is None else shown(key) for key in column.to_pylist()]
        return pa.array(texts, pa.string())


def _is_text(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _headers(headers: Any) -> str | None:  # noqa: ANN401 - the driver types them too widely
    if not headers:
        return None
    found = {name: None if value is None else shown(value) for name, value in headers}
    return orjson.dumps(found).decode()
