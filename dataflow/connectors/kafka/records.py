"""Rows as records: value, key, headers and time of each, made a column at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Context, Rejected
from dataflow.connectors.formats.encode import Json, plain
from dataflow.connectors.kafka.fetched import data_of
from dataflow.connectors.kafka.registry.writing import writing_of
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.target import Limits

Headers = Sequence[tuple[str, bytes]]


class Records(NamedTuple):
    """The records of a batch, by row; a column that is not asked for is None.

    Attributes:
        values: large_binary; null is a tombstone.
        gap: so many bytes of each value, at its end, are not of the record: 1 of JSON lines.
        keys: large_binary.
        times_ms: int64, milliseconds since 1970.
        unfit: rows that cannot be a record, and why.
    """

    values: pa.Array[Any]
    gap: int
    keys: pa.Array[Any] | None
    headers: Sequence[Headers] | None
    times_ms: pa.Array[Any] | None
    unfit: Mapping[int, str] = {}

    def without(self, rows: Collection[int]) -> Records:
        """Return all but some of them."""
        mask = pa.array([row not in rows for row in range(len(self.values))])
        headers = None
        if self.headers is not None:
            headers = [one for row, one in enumerate(self.headers) if row not in rows]
        return Records(
            values=self.values.filter(mask),
            gap=self.gap,
            keys=None if self.keys is None else self.keys.filter(mask),
            headers=headers,
            times_ms=None if self.times_ms is None else self.times_ms.filter(mask),
        )

    def value_list(self) -> Sequence[bytes | None]:
        """Return the values as objects."""
        if self.gap:
            return data_of(self.values).split(FEED)[:-1]
        values: Sequence[bytes | None] = self.values.to_pylist()
        return values


FEED = b"\n"

RECORD_OVERHEAD_BYTES = 128
"""Of a record alone in its batch, beside key, value and headers: 61 of the batch, and lengths."""


class Encoder:
    """Makes records of batches, as the options say."""

    def __init__(self, options: KafkaSinkOptions, context: Context) -> None:
        self._options = options
        self._registered = writing_of(options.registry, options.format, options.topic, context)
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
        unfit: Mapping[int, str] = {}
        if self._registered is not None:
            (values, unfit), gap = self._registered.values(self._in_value(batch)), 0
        else:
            values, gap = self._values(batch)
        pairs, wrong = (None, {}) if headers is None else _headers(headers)
        return Records(
            unfit={**unfit, **wrong},
            values=values,
            gap=gap,
            keys=None if key is None else _texts(key, "options.keyColumn"),
            headers=pairs,
            times_ms=None if times is None else _times_ms(times),
        )

    def taken(
        self, batch: pa.RecordBatch, limits: Limits, now_ms: int
    ) -> tuple[Records, pa.Array[Any], Mapping[int, str]]:
        """Return the records of a batch that a topic takes, their sizes, and why not the others.

        Raises:
            Rejected: as ``records``.
        """
        records = self.records(batch)
        sizes = self.sizes(records)
        wrong = refused(records, sizes, limits, now_ms)
        if wrong:
            records = records.without(wrong)
            sizes = self.sizes(records)
        return records, sizes, wrong

    def close(self) -> None:
        """Close what it asks for schemas."""
        if self._registered is not None:
            self._registered.close()

    @staticmethod
    def sizes(records: Records) -> pa.Array[Any]:
        """Return the bytes of each record, at the most."""
        sizes = pc.add(_lengths(records.values), _number(RECORD_OVERHEAD_BYTES - records.gap))
        if records.keys is not None:
            sizes = pc.add(sizes, _lengths(records.keys))
        if records.headers is not None:
            sizes = pc.add(sizes, pa.array(map(_weight, records.headers), pa.int64()))
        return sizes

    def _values(self, batch: pa.RecordBatch) -> tuple[pa.Array[Any], int]:
        options = self._options
        if options.value_column:
            column = _column(batch, options.value_column, "options.valueColumn")
            return _texts(column, "options.valueColumn"), 0
        columns = self._in_value(batch)
        if not columns.num_columns:
            return pa.array([b"{}"] * batch.num_rows, pa.large_binary()), 0
        return _lines(bytes(self._json.rows(columns))), len(FEED)

    def _in_value(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns that are fields of the value."""
        beside = {self._options.headers_column}
        beside |= set() if self._options.keep_key else {self._options.key_column}
        return batch.select([name for name in batch.schema.names if name not in beside])


def _lines(data: bytes) -> pa.Array[Any]:
    """Return each line with its line feed; found by polars in 0.03 us a record of 100 B."""
    octets = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
    ends = (pl.Series("", octets) == FEED[0]).arg_true().cast(pl.Int64) + 1
    all_ends = pl.concat([pl.Series("", [0], pl.Int64), ends], rechunk=True).to_arrow()
    buffers = [None, all_ends.buffers()[1], pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(ends), buffers)


def _lengths(column: Any) -> pa.Array[Any]:  # noqa: ANN401 - the stubs want one kind of array
    lengths: pa.Array[Any] = pc.binary_length(column).fill_null(0)
    return lengths


def _number(number: int) -> pa.Scalar[Any]:
    return pa.scalar(number, pa.int64())


def _column(batch: pa.RecordBatch, name: str, field: str) -> Any:  # noqa: ANN401 - None or an array
    if not name:
        return None
    if name not in batch.schema.names:
        there = ", ".join(batch.schema.names)
        raise Rejected(f"no column {name!r}, there are {there}", field=field)
    return batch.column(name)


def _texts(column: pa.Array[Any], field: str) -> pa.Array[Any]:
    """Return values as bytes: text as UTF-8, bytes as they are, others as Arrow prints them."""
    kind = column.type
    if pa.types.is_nested(kind):
        raise Rejected(f"a {kind} is no text; make it one in a map step", field=field)
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        column = column.cast(pa.string()) if not pa.types.is_string(kind) else column
    return column.cast(pa.large_binary())


def _times_ms(column: pa.Array[Any]) -> pa.Array[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("ms", kind.tz), safe=False).cast(pa.int64())
    if not pa.types.is_integer(kind):
        message = f"a {kind} is no moment; cast it to timestamp, or to milliseconds since 1970"
        raise Rejected(message, field="options.timestampColumn")
    return column.cast(pa.int64(), safe=False)


def _headers(column: pa.Array[Any]) -> tuple[Sequence[Headers], Mapping[int, str]]:
    """Return the headers of each row, and why some have none."""
    kind, rows, wrong = column.type, column.to_pylist(), {}
    if pa.types.is_map(kind):
        rows = [dict(row or ()) for row in rows]
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        rows = [_object(text) for text in rows]
        message = "its headers are no JSON object"
        wrong = {index: message for index, row in enumerate(rows) if row is None}
    elif not pa.types.is_struct(kind):
        message = f"a {kind} holds no headers; use a struct, a map or JSON text"
        raise Rejected(message, field="options.headersColumn")
    return [_pairs(row or {}) for row in rows], wrong


def _object(text: str | None) -> Mapping[str, Any] | None:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _weight(headers: Headers) -> int:
    return sum(len(name) + len(value) + 10 for name, value in headers)


def _pairs(headers: Mapping[str, Any]) -> Headers:
    """Return headers as the driver takes them: a list is several, and null is none."""
    each = {name: of if isinstance(of, list) else [of] for name, of in headers.items()}
    return [(name, _bytes(one)) for name, many in each.items() for one in many if one is not None]


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else orjson.dumps(value, default=str)


def refused(
    records: Records, sizes: pa.Array[Any], limits: Limits, now_ms: int
) -> Mapping[int, str]:
    """Return why a topic does not take some records, by row."""
    found: dict[int, str] = dict(records.unfit)
    takes = f"the topic takes {limits.record_bytes} at most (max.message.bytes)"
    for row in _rows(pc.greater(sizes, _number(limits.record_bytes))):
        found[row] = f"a record of {sizes[row]} bytes; {takes}"
    if limits.is_compacted and records.keys is not None:
        message = "it has no key, and the topic is compacted (cleanup.policy)"
        found |= dict.fromkeys(_rows(pc.is_null(records.keys)), message)
    if (times := records.times_ms) is not None:
        first, last = map(_number, limits.moments(now_ms))
        are_early, are_late = pc.less(times, first), pc.greater(times, last)
        for row in _rows(pc.or_(are_early, are_late)):
            moment = f"its moment, {times[row]} ms since 1970"
            found[row] = f"{moment}, is not one that the topic takes now"
        for row in _rows(pc.equal(times, _number(0))):
            found[row] = "its moment is 0 ms since 1970, which the driver takes for none"
    return found


def _rows(are_wrong: Any) -> Sequence[int]:  # noqa: ANN401 - as the stubs have it
    """Return the rows that are true."""
    if not pc.any(are_wrong).as_py():
        return ()
    return [row for row in pc.indices_nonzero(are_wrong).to_pylist() if row is not None]
