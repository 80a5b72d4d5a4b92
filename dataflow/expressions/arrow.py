"""Types to Arrow and back, and columns to the one form that the kernels take.

Arrow stores one and the same text as string, large_string, string_view or a dictionary; kernels
know the first two, and not all mixtures of them. So a column is cast to the form of its type
when it is first read: 25 µs for 100,000 large strings, 300 µs for views, 600 µs for a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa

from dataflow.core.errors import Code
from dataflow.expressions import vector
from dataflow.expressions.errors import ExpressionError
from dataflow.expressions.types import (
    NESTED,
    DecimalType,
    DurationType,
    Kind,
    ListType,
    OpaqueType,
    StructType,
    TimestampType,
    TimeType,
    Type,
)
from dataflow.expressions.vector import Array

DECIMAL128_PRECISION_MAX: Final = 38  # decimal256 beyond: slower, and some kernels refuse it

_PLAIN: Final[Mapping[Kind, pa.DataType]] = {
    Kind.NULL: pa.null(),
    Kind.BOOL: pa.bool_(),
    Kind.INT8: pa.int8(),
    Kind.INT16: pa.int16(),
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.UINT8: pa.uint8(),
    Kind.UINT16: pa.uint16(),
    Kind.UINT32: pa.uint32(),
    Kind.UINT64: pa.uint64(),
    Kind.FLOAT32: pa.float32(),
    Kind.FLOAT64: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.BYTES: pa.binary(),
    Kind.DATE: pa.date32(),
}
_FROM_PLAIN: Final[Mapping[pa.DataType, Kind]] = {
    **{arrow: kind for kind, arrow in _PLAIN.items()},
    pa.float16(): Kind.FLOAT32,
    pa.large_string(): Kind.STRING,
    pa.string_view(): Kind.STRING,
    pa.large_binary(): Kind.BYTES,
    pa.binary_view(): Kind.BYTES,
    pa.date64(): Kind.DATE,
}
_TIMES: Final[Mapping[str, pa.DataType]] = {
    "s": pa.time32("s"),
    "ms": pa.time32("ms"),
    "us": pa.time64("us"),
    "ns": pa.time64("ns"),
}


def to_arrow(of: Type) -> pa.DataType:
    """Return the Arrow type that values of this type are computed and given back in.

    Raises:
        ExpressionError: an opaque type, or an interval of months: Arrow's own has no arithmetic.
    """
    match of:
        case DecimalType():
            wide = of.precision > DECIMAL128_PRECISION_MAX
            return (pa.decimal256 if wide else pa.decimal128)(of.precision, of.scale)
        case TimeType():
            return _TIMES[of.unit]
        case TimestampType():
            return _temporal(pa.timestamp, of.unit, of.zone or None)
        case DurationType():
            return _temporal(pa.duration, of.unit)
        case ListType():
            return pa.list_(to_arrow(of.item))
        case StructType():
            return pa.struct([(name, to_arrow(item)) for name, item in of.fields])
        case _ if of.kind in _PLAIN:
            return _PLAIN[of.kind]
        case _:
            raise ExpressionError(f"no column can be of type {of}", text="", at=0)


def from_arrow(arrow: pa.DataType) -> Type:
    """Return the type of an Arrow type; one that expressions can't compute with is opaque."""
    kind = _FROM_PLAIN.get(arrow)
    if kind is not None:
        return Type(kind)
    for recognize in _RECOGNIZERS:
        found = recognize(arrow)
        if found is not None:
            return found
    return OpaqueType(str(arrow))


def normal(column: Array, of: Type) -> Array:
    """Return a column in the one form of its type, without a copy where it has it already.

    Raises:
        ExpressionError: the column is of another type than the expression was compiled for.
    """
    if of.kind is Kind.OPAQUE:
        return column
    target = to_arrow(of)
    if column.type == target:
        return column
    if from_arrow(column.type) != of:
        raise ExpressionError(
            f"the column is {column.type} now, and was {of} when the expression was compiled",
            text="",
            at=0,
            code=Code.SOURCE_CHANGED,
        )
    if isinstance(column, pa.DictionaryArray) and of.kind not in NESTED:
        column = column.dictionary_decode()
    return vector.cast(column, target, safe=False)


def _temporal(make: Callable[..., pa.DataType], *parameters: str | None) -> pa.DataType:
    return make(*parameters)


def _decimal(arrow: pa.DataType) -> Type | None:
    if not pa.types.is_decimal(arrow):
        return None
    # a scale outside of 0..precision has no name that users could write
    fits = 0 <= arrow.scale <= arrow.precision
    return DecimalType(arrow.precision, arrow.scale) if fits else None


def _moment(arrow: pa.DataType) -> Type | None:
    if isinstance(arrow, pa.TimestampType):
        return TimestampType(arrow.unit, arrow.tz or "")
    if isinstance(arrow, pa.Time32Type | pa.Time64Type):
        return TimeType(arrow.unit)
    return DurationType(arrow.unit) if isinstance(arrow, pa.DurationType) else None


def _bytes(arrow: pa.DataType) -> Type | None:
    return Type(Kind.BYTES) if isinstance(arrow, pa.FixedSizeBinaryType) else None


def _dictionary(arrow: pa.DataType) -> Type | None:
    if not isinstance(arrow, pa.DictionaryType):
        return None
    value = from_arrow(arrow.value_type)
    return None if value.kind in NESTED else value


def _list(arrow: pa.DataType) -> Type | None:
    # a cast from list_view answers with empty lists (pyarrow 26.0.1), so views stay opaque
    if isinstance(arrow, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        return ListType(from_arrow(arrow.value_type))
    return None


def _struct(arrow: pa.DataType) -> Type | None:
    if not isinstance(arrow, pa.StructType):
        return None
    fields = tuple((field.name, from_arrow(field.type)) for field in arrow)
    distinct = len({name for name, _ in fields}) == len(fields)
    return StructType(fields) if distinct else None


_RECOGNIZERS: Final = (_decimal, _moment, _bytes, _dictionary, _list, _struct)
