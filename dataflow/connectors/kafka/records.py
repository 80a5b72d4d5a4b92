"""Rows as records: value, key, headers and time of each, made a column at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.connectors.formats.encode import Json, plain
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.target import Limits

Headers = Sequence[tuple[str, bytes]]


class Records(NamedTuple):
    """The records of a batch, by row; a column that is not asked for is None."""

    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    headers: Sequence[Headers] | None
    times_ms: Sequence[int | None] | None


RECORD_OVERHEAD_BYTES = 128
"""Of a record alone in its batch, beside key, value and headers: 61 of the batch, and lengths."""


class Encoder:
    """Makes records of batches, as the options say."""

    def __init__(self, options: KafkaSinkOptions) -> None:
        self._options = options
        self._json = Json()

    def records(self, batch: pa.RecordBatch) -> Records:
        """Return a batch as records.

        Raises:
            Rejected: a column is missing, or cannot be what it is asked to be.
        """
        options = self._options
        batch = plain(batch)
        key = _column(batch, options.key_column, "options.keyColumn")
        headers = _column(batch, options.headers_column, "options.headersColumn")
        times = _column(batch, options.timestamp_column, "options.timestampColumn")
        return Records(
            values=self._values(batch),
            keys=None if key is None else _texts(key, "options.keyColumn"),
            headers=None if headers is None else _headers(headers),
            times_ms=None if times is None else _times_ms(times),
        )

    @staticmethod
    def sizes(records: Records) -> Sequence[int]:
        """Return the bytes of each record, at the most."""
        sizes = [len(value or b"") + RECORD_OVERHEAD_BYTES for value in records.values]
        for column in (records.keys, records.headers):
            if column is not None:
                sizes = [size + _weight(one) for size, one in zip(sizes, column, strict=True)]
        return sizes

    def _values(self, batch: pa.RecordBatch) -> Sequence[bytes | None]:
        options = self._options
        if options.format != "json":
            column = _column(batch, options.value_column, "options.valueColumn")
            return _texts(column, "options.valueColumn")
        beside = {options.headers_column}
        beside |= set() if options.keep_key else {options.key_column}
        names = [name for name in batch.schema.names if name not in beside]
        if not names:
            return [b"{}"] * batch.num_rows
        lines = bytes(self._json.rows(batch.select(names)))
        return lines.split(b"\n")[:-1]


def _column(batch: pa.RecordBatch, name: str, field: str) -> Any:  # noqa: ANN401 - None or an array
    if not name:
        return None
    if name not in batch.schema.names:
        there = ", ".join(batch.schema.names)
        raise Rejected(f"no column {name!r}, there are {there}", field=field)
    return batch.column(name)


def _texts(column: pa.Array[Any], field: str) -> Sequence[bytes | None]:
    """Return values as bytes: text as UTF-8, bytes as they are, others as Arrow prints them."""
    kind = column.type
    if pa.types.is_nested(kind):
        raise Rejected(f"a {kind} is no text; make it one in a map step", field=field)
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        column = column.cast(pa.string()) if not pa.types.is_string(kind) else column
    texts: Sequence[bytes | None] = column.cast(pa.binary()).to_pylist()
    return texts


def _times_ms(column: pa.Array[Any]) -> Sequence[int | None]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("ms", kind.tz), safe=False).cast(pa.int64())
    elif not pa.types.is_integer(kind):
        message = f"a {kind} is no moment; cast it to timestamp, or to milliseconds since 1970"
        raise Rejected(message, field="options.timestampColumn")
    times: Sequence[int | None] = column.to_pylist()
    return times


def _headers(column: pa.Array[Any]) -> Sequence[Headers]:
    kind = column.type
    if pa.types.is_map(kind):
        return [_pairs(dict(row or ())) for row in column.to_pylist()]
    if pa.types.is_struct(kind):
        return [_pairs(row or {}) for row in column.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [_pairs(_object(text)) for text in column.to_pylist()]
    message = f"a {kind} holds no headers; use a struct, a map or JSON text"
    raise Rejected(message, field="options.headersColumn")


def _object(text: str | None) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        message = f"{text!r} is no JSON object"
        raise Rejected(message, field="options.headersColumn", code="RECORD_REJECTED")
    return found


def _weight(of: bytes | Headers | None) -> int:
    """Return the bytes of a key, or of headers."""
    if of is None or isinstance(of, bytes):
        return len(of or b"")
    return sum(len(name) + len(value) + 10 for name, value in of)


def _pairs(headers: Mapping[str, Any]) -> Headers:
    """Return headers as the driver takes them; those that are null are left out."""
    return [(name, _bytes(value)) for name, value in headers.items() if value is not None]


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else orjson.dumps(value, default=str)


def refused(
    records: Records, sizes: Sequence[int], limits: Limits, now_ms: int
) -> Mapping[int, str]:
    """Return why a topic does not take some records, by row."""
    found: dict[int, str] = {}
    if max(sizes, default=0) > limits.record_bytes:
        takes = f"the topic takes {limits.record_bytes} at most (max.message.bytes)"
        large = ((row, size) for row, size in enumerate(sizes) if size > limits.record_bytes)
        found |= {row: f"a record of {size} bytes; {takes}" for row, size in large}
    if limits.is_compacted and records.keys is not None:
        without = (row for row, key in enumerate(records.keys) if key is None)
        message = "it has no key, and the topic is compacted (cleanup.policy)"
        found |= dict.fromkeys(without, message)
    for row, moment in enumerate(records.times_ms or ()):
        if moment is not None and not limits.takes(moment, now_ms):
            found[row] = f"its moment, {moment} ms since 1970, is not one that the topic takes now"
    return found
