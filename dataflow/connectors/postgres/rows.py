r"""Batches as the csv that COPY reads, column by column; no row is ever a Python object.

Texts stand in quotes, always: outside of quotes an empty one is null, and a line of ``\.`` ends
the input, with the rows behind it, before PostgreSQL 18.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.connectors.formats.values import csv_values
from dataflow.connectors.postgres.types import INTEGERS, JSON_TYPES, UUID

SLICE_ROWS = 16_384
"""Polars formats slices of this size on all cores; see ``formats.encode``."""

t = pa.types

_UTC = ("timestamp with time zone", "timestamp without time zone", "date")
"""The session's zone is UTC, so a moment is written as the time of day there."""

_STORED_AS: Mapping[pa.DataType, pa.DataType] = {
    pa.float16(): pa.float32(),
    pa.time64("ns"): pa.time64("us"),
    pa.duration("ns"): pa.duration("us"),
    pa.null(): pa.string(),
}
"""PostgreSQL counts microseconds: what is finer is cut, never rounded up into the next day."""


def csv_of(batch: pa.RecordBatch, targets: Mapping[str, str]) -> memoryview:
    """Return a line for each row.

    Args:
        batch: the columns to write, in order.
        targets: the type of each column in the database.

    Raises:
        Rejected: a column cannot be written as text.
    """
    arrays = [_storable(column) for column in batch.columns]
    stored = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
    try:
        frame = pl.from_arrow(stored)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise Rejected(f"these rows cannot be written: {error}", field="options.table") from error
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a batch it is
    maps = {field.name for field in batch.schema if t.is_map(field.type)}
    texts = frame.select(
        _text(pl.col(name), dtype, targets[name], is_map=name in maps).alias(name)
        for name, dtype in frame.schema.items()
    )
    out = io.BytesIO()
    csv_values(texts, native_zone=False).write_csv(
        out, include_header=False, quote_style="non_numeric", batch_size=SLICE_ROWS
    )
    return out.getbuffer()


def _storable(column: pa.Array[Any]) -> pa.Array[Any]:
    """Return a column without what polars has no type for."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    stored = _stored(column.type)
    return column if stored.equals(column.type) else column.cast(stored, safe=False)


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return the type that takes the place of one; maps become lists of their entries."""
    match kind:
        case pa.MapType():
            key, value = _stored(kind.key_type), _stored(kind.item_type)
            return pa.list_(pa.struct([("key", key), ("value", value)]))
        case pa.StructType():
            fields = [kind.field(at) for at in range(kind.num_fields)]
            return pa.struct([pa.field(f.name, _stored(f.type)) for f in fields])
        case pa.ListType() | pa.LargeListType() | pa.FixedSizeListType():
            inner = _stored(kind.value_type)
            return kind if inner.equals(kind.value_type) else pa.large_list(inner)
        case pa.TimestampType() if kind.unit == "ns":
            return pa.timestamp("us", kind.tz)
        case pa.DictionaryType():
            return _stored(kind.value_type)
        case _ if t.is_decimal256(kind):
            return pa.string()
        case _:
            return _STORED_AS.get(kind, kind)


def _text(value: pl.Expr, dtype: pl.DataType, target: str, *, is_map: bool) -> pl.Expr:
    """Return a column as polars shall write it."""
    if is_map:
        return _object(value, dtype)
    if isinstance(dtype, pl.List | pl.Array) and target not in JSON_TYPES:
        listed = value if isinstance(dtype, pl.List) else value.arr.to_list()
        return _array(listed, _type(dtype.inner), target.removesuffix("[]"))
    return _scalar(value, dtype, target)


def _scalar(value: pl.Expr, dtype: pl.DataType, target: str) -> pl.Expr:
    match dtype:
        case pl.Binary():
            digits = value.bin.encode("hex")
            return digits if target == UUID else pl.lit("\\x") + digits
        case pl.Duration():
            return value.dt.total_microseconds().cast(pl.String) + " microseconds"
        case pl.Float64() | pl.Float32() if target in INTEGERS:
            whole = value.cast(pl.Int64, strict=False)
            return (
                pl.when(whole == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))
            )
        case pl.Datetime() if dtype.time_zone and target.startswith(_UTC):
            return value.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        case _:
            return value


def _array(value: pl.Expr, inner: pl.DataType, target: str) -> pl.Expr:
    """Return lists as ``{1,NULL,3}``."""
    element = _scalar(pl.element(), inner, target)
    if inner.is_numeric() or inner == pl.Boolean:
        text = element.cast(pl.String)
    else:
        plain = element.cast(pl.String).str.replace_all("\\", "\\\\", literal=True)
        text = '"' + plain.str.replace_all('"', '\\"', literal=True) + '"'
    joined = value.list.eval(text.fill_null("NULL")).list.join(",")
    return pl.when(value.is_not_null()).then("{" + joined + "}")


def _object(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return maps as JSON objects; polars has them as lists of keys and values."""
    assert isinstance(dtype, pl.List)  # noqa: S101 - that is how it has them
    entry = pl.element().struct
    names = [field.name for field in _fields(dtype)]
    key = _json(entry.field(names[0]).cast(pl.String))
    held = _json(entry.field(names[1])).fill_null("null")
    joined = value.list.eval(key + ":" + held).list.join(",")
    return pl.when(value.is_not_null()).then("{" + joined + "}")


def _json(value: pl.Expr) -> pl.Expr:
    text = pl.struct(value.alias("v")).struct.json_encode()
    return text.str.slice(5).str.strip_suffix("}")  # without {"v": and its brace


def _fields(dtype: pl.List) -> list[pl.Field]:
    inner = _type(dtype.inner)
    return list(inner.fields) if isinstance(inner, pl.Struct) else []


def _type(dtype: pl.DataType | pl.datatypes.DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
