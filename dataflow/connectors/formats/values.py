"""Values as csv and json write them, column by column: what polars lacks is made text first."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from dataflow.connect import Rejected

_ISO = {
    unit: f"%Y-%m-%dT%H:%M:%S%.{digits}f%:z" for unit, digits in (("ms", 3), ("us", 6), ("ns", 9))
}
"""A zoned timestamp as ISO 8601 has it; polars itself writes +0100, which mixes two forms."""

t = pa.types
_KNOWN = (
    *(t.is_null, t.is_boolean, t.is_integer, t.is_floating, t.is_date, t.is_time, t.is_timestamp),
    *(t.is_duration, t.is_string, t.is_large_string, t.is_string_view),
    *(t.is_binary, t.is_large_binary, t.is_fixed_size_binary),
    *(t.is_list, t.is_large_list, t.is_fixed_size_list, t.is_struct),
)
"""What polars writes as text, or we before it."""


def csv_values(frame: pl.DataFrame, *, native_zone: bool) -> pl.DataFrame:
    """Return the frame as csv can hold it."""
    return frame.with_columns(
        _csv_value(pl.col(name), dtype, native_zone=native_zone).alias(name)
        for name, dtype in frame.schema.items()
        if dtype.is_nested() or dtype.is_temporal() or dtype == pl.Binary
    )


def needs_text(frame: pl.DataFrame) -> bool:
    """Tell whether ``json_values`` would change anything."""
    return any(_needs_text(dtype) for dtype in frame.schema.values())


def json_values(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame as json can hold it."""
    return frame.with_columns(
        _json_value(pl.col(name), dtype).alias(name)
        for name, dtype in frame.schema.items()
        if _needs_text(dtype)
    )


def zone_format(frame: pl.DataFrame) -> str:
    """Return the one format of all timestamps, if all have a zone: polars then writes them fast."""
    kinds = [dtype for dtype in frame.dtypes if isinstance(dtype, pl.Datetime)]
    units = {kind.time_unit for kind in kinds}
    alike = len(units) == 1 and all(kind.time_zone for kind in kinds)
    return _ISO[units.pop()] if alike else ""


def frame_of(batch: pa.RecordBatch, file_format: str) -> pl.DataFrame:
    """Return the batch for polars, without a copy.

    Raises:
        Rejected: the format cannot hold a column.
    """
    for field in batch.schema:
        if not all(_known(kind) for kind in types_within(field.type)):
            raise refused(field, file_format)
    try:
        frame = pl.from_arrow(batch)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise Rejected(f"{file_format} cannot hold these rows: {error}") from error
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def refused(field: pa.Field[pa.DataType], file_format: str) -> Rejected:
    """Return the error of a column that a format cannot hold."""
    return Rejected(
        f"column {field.name!r} is {field.type}, which {file_format} cannot hold;"
        " cast it, or drop it, in a map transform"
    )


def types_within(kind: pa.DataType) -> list[pa.DataType]:
    """Return a type and all that it is made of."""
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return [kind, *(found for part in inner for found in types_within(part))]


def _known(kind: pa.DataType) -> bool:
    """Tell what polars writes; it panics on decimal256, and on some that nobody uses."""
    if t.is_decimal(kind):
        return not t.is_decimal256(kind)
    return any(test(kind) for test in _KNOWN)


def _csv_value(value: pl.Expr, dtype: pl.DataType, *, native_zone: bool) -> pl.Expr:
    if dtype.is_nested():
        wrapped = pl.struct(_json_value(value, dtype).alias("v")).struct.json_encode()
        text = wrapped.str.slice(5).str.strip_suffix("}")  # without {"v": and its brace
        return pl.when(value.is_not_null()).then(text)
    if isinstance(dtype, pl.Datetime) and (native_zone or not dtype.time_zone):
        return value
    if isinstance(dtype, pl.Datetime):
        return value.dt.to_string("iso:strict")
    return _json_value(value, dtype)


def _needs_text(dtype: pl.DataType) -> bool:
    match dtype:
        case pl.List() | pl.Array():
            return isinstance(dtype, pl.Array) or _needs_text(_type(dtype.inner))
        case pl.Struct():
            return any(_needs_text(_type(field.dtype)) for field in dtype.fields)
        case pl.Datetime():
            return not dtype.time_zone
        case _:
            return isinstance(dtype, pl.Binary | pl.Duration)


def _json_value(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if not _needs_text(dtype):
        return value
    match dtype:
        case pl.Array():
            inner = _type(dtype.inner)
            return _json_value(value.arr.to_list(), pl.List(inner))
        case pl.List():
            return value.list.eval(_json_value(pl.element(), _type(dtype.inner)))
        case pl.Struct():
            fields = [
                _json_value(value.struct.field(field.name), _type(field.dtype)).alias(field.name)
                for field in dtype.fields
            ]
            return pl.when(value.is_not_null()).then(pl.struct(fields))
        case pl.Datetime() | pl.Duration():
            return value.dt.to_string("iso:strict")
        case _:
            return value.bin.encode("base64")


def _type(dtype: pl.DataType | pl.datatypes.DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
