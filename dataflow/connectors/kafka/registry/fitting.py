"""Columns as another schema has them: by name, and only from types that hold the same values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.batches import empty, one_batch, type_name

t = pa.types
_ALIKE = (
    lambda of: t.is_integer(of) or t.is_floating(of) or t.is_decimal(of),
    lambda of: t.is_string(of) or t.is_large_string(of) or t.is_string_view(of),
    lambda of: t.is_binary(of) or t.is_large_binary(of) or t.is_fixed_size_binary(of),
    t.is_boolean,
    t.is_date,
    t.is_time,
    t.is_timestamp,
    t.is_duration,
)
"""Within each, values are cast and checked."""


class Unfit(Exception):
    """A column has a type whose values are no values of the other; says which, and why."""


class Fitted(NamedTuple):
    """Rows that fit, in their order, and why the others do not, by row."""

    batch: pa.RecordBatch
    wrong: Mapping[int, str]


def fit(batch: pa.RecordBatch, to: pa.Schema) -> Fitted:
    """Return rows with the columns of a schema; one that is not there is null."""
    try:
        return Fitted(_fit(batch, to), {})
    except Unfit as error:
        return Fitted(empty(to), dict.fromkeys(range(batch.num_rows), f"{error}"))
    except pa.ArrowInvalid as error:
        if batch.num_rows <= 1:
            return Fitted(empty(to), dict.fromkeys(range(batch.num_rows), f"{error}"))
    middle = batch.num_rows // 2
    first, last = fit(batch.slice(0, middle), to), fit(batch.slice(middle), to)
    wrong = {**first.wrong, **{row + middle: why for row, why in last.wrong.items()}}
    return Fitted(one_batch(pa.Table.from_batches([first.batch, last.batch])), wrong)


def _fit(batch: pa.RecordBatch, to: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in to:
        if field.name not in batch.schema.names:
            columns.append(nulls(batch.num_rows, field.type))
            continue
        try:
            columns.append(_as(batch.column(field.name), field.type))
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(_reason(field, f"{error}")) from error
        except Unfit as error:
            raise Unfit(_reason(field, f"found {error}")) from error
    return pa.RecordBatch.from_arrays(columns, schema=to)


def _reason(field: pa.Field[Any], why: str) -> str:
    return f"field {field.name!r}: expected {type_name(field.type)}, {why}"


def _as(column: pa.Array[Any], to: pa.DataType) -> pa.Array[Any]:
    kind = column.type
    if kind == to:
        return column
    if t.is_null(kind):
        return nulls(len(column), to)
    if isinstance(column, pa.DictionaryArray):
        return _as(as_plain(column), to)
    if isinstance(to, pa.StructType) and isinstance(column, pa.StructArray):
        return _as_struct(column, to)
    if isinstance(to, pa.ListType):
        return _as_list(column, to)
    if isinstance(to, pa.MapType):
        return _as_map(column, to)
    if _is_alike(kind, to):
        return column.cast(to)
    raise Unfit(type_name(kind))


def _is_alike(one: pa.DataType, other: pa.DataType) -> bool:
    if isinstance(one, pa.TimestampType) and isinstance(other, pa.TimestampType):
        return bool(one.tz) == bool(other.tz)
    return any(alike(one) and alike(other) for alike in _ALIKE)


def _as_struct(column: pa.StructArray, to: pa.StructType) -> pa.Array[Any]:
    there = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
    fields = list(to)
    parts = [
        _as(there[field.name], field.type)
        if field.name in there
        else nulls(len(column), field.type)
        for field in fields
    ]
    return pa.StructArray.from_arrays(parts, fields=fields, mask=column.is_null())


def _as_list(column: pa.Array[Any], to: pa.ListType[Any]) -> pa.Array[Any]:
    """Return a list, or a map as a list of its pairs."""
    if isinstance(column, pa.MapArray):
        pair = pa.struct([("key", column.type.key_type), ("value", column.type.item_type)])
        column = column.cast(pa.list_(pair))
    elif isinstance(column, pa.FixedSizeListArray | pa.LargeListArray):
        column = column.cast(pa.list_(column.type.value_type))
    if not isinstance(column, pa.ListArray):
        raise Unfit(type_name(column.type))
    # Not its values: those of a slice are those of the whole, and one there may not fit.
    return listed(_offsets(column), _as(column.flatten(), to.value_type), column.is_null(), to)


def _as_map(column: pa.Array[Any], to: pa.MapType[Any, Any]) -> pa.Array[Any]:
    """Return pairs as a map, which is empty where there are none."""
    pair = pa.struct([("key", to.key_type), ("value", to.item_type)])
    lists: Any = _as_list(column, pa.list_(pair))
    keys, items = lists.flatten().flatten()
    found: pa.Array[Any] = pa.MapArray.from_arrays(_offsets(lists), keys, items).cast(to)
    return found


def counts(lists: Any) -> pa.Array[Any]:  # noqa: ANN401 - an array of lists
    """Return how many items each list has; a null has none."""
    lengths: Any = pc.list_value_length(lists)
    found: pa.Array[Any] = lengths.fill_null(0)
    return found


def _offsets(lists: Any) -> Any:  # noqa: ANN401 - an array of lists, and of int32
    """Return where each list begins among the items that are in one."""
    ends = pc.cumulative_sum(counts(lists)).cast(pa.int32())
    return pa.concat_arrays([pa.array([0], pa.int32()), ends])


def listed(
    offsets: pa.Array[Any], items: pa.Array[Any], missing: pa.Array[Any], of: pa.ListType[Any]
) -> pa.Array[Any]:
    """Return items as lists, where there are any."""
    plain = pa.Array.from_buffers(
        of, len(offsets) - 1, [None, offsets.buffers()[1]], offset=offsets.offset, children=[items]
    )
    if not pc.any(missing).as_py():
        return plain
    found: pa.Array[Any] = pc.if_else(missing, pa.scalar(None, of), plain)
    return found


def nulls(count: int, of: pa.DataType) -> pa.Array[Any]:
    """Return so many nulls."""
    found: pa.Array[Any] = pa.nulls(count, of)  # type: ignore[call-overload]  # any type will do
    return found


def as_plain(column: pa.DictionaryArray[Any, Any]) -> pa.Array[Any]:
    """Return a dictionary's values."""
    found: pa.Array[Any] = column.dictionary_decode()
    return found
