"""CAST and TRY_CAST: a kernel for each pair of types, and the rows that it can't convert.

Text is read as Arrow reads it; only if that fails are the rows trimmed and tidied and read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial as bind
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.expressions import vector
from dataflow.expressions.arrow import DECIMAL128_PRECISION_MAX, to_arrow
from dataflow.expressions.errors import shown
from dataflow.expressions.kernels.calendar import floor_divide
from dataflow.expressions.kernels.step import Builder, Evaluate, Part, Step, partial
from dataflow.expressions.types import (
    FLOATS,
    INTEGER_BOUNDS,
    INTEGERS,
    NUMBERS,
    PRECISION_MAX,
    TICKS,
    DecimalType,
    DurationType,
    Kind,
    TimestampType,
    TimeType,
    Type,
)
from dataflow.expressions.vector import Array, Datum
from dataflow.expressions.widen import exact

Convert: TypeAlias = "Callable[[Datum], Array]"

_DAY: Final = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = r"(?:[01][0-9]|2[0-3])(?::?[0-5][0-9](?::?[0-5][0-9](?:\.[0-9]+)?)?)?"
_ZONE: Final = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_FLOAT: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
# What can be read at all: all that the kernels take, and more. The rest is bad for sure.
_SHAPES: Final[Mapping[Kind, str]] = {
    **dict.fromkeys(INTEGERS, r"[+-]?[0-9]+|0[xX][0-9a-fA-F]+"),
    **dict.fromkeys(FLOATS, rf"{_FLOAT}|(?i:[+-]?(?:nan|inf|infinity))"),
    Kind.DECIMAL: _FLOAT,
    Kind.BOOL: r"(?i:true|false)|0|1",
    Kind.DATE: _DAY,
    Kind.TIME: _CLOCK,
    Kind.TIMESTAMP: rf"{_DAY}(?:[ T]{_CLOCK}{_ZONE})?",
}
_CLOCKED: Final = (TimestampType, TimeType, DurationType)
_FRACTION_DIGITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _cast(step: Step) -> Evaluate:
    source, target = step.operands[0].type, step.node.type
    if source.kind is Kind.STRING:
        return _converted(step, ("'", 0, f"' is no {target}"))
    return _converted(step, (0, f" does not fit in {target}"))


def _try_cast(step: Step) -> Evaluate:
    return _converted(step, None)


def _converted(step: Step, complaint: Sequence[Part] | None) -> Evaluate:
    if isinstance(step.node.type, TimestampType):
        _require_zone(step, step.node.type)
    convert, bad = _conversion(step.operands[0].type, step.node.type)
    suspect = None if bad is None else lambda values: bad(values[0])
    return partial(lambda values: convert(values[0]), step, complaint, suspect)


def _require_zone(step: Step, of: TimestampType) -> None:
    """Refuse a zone that the time zone database lacks; Arrow would with the first row."""
    try:
        vector.local_clock(vector.cast(vector.ZERO, to_arrow(of)))
    except pa.ArrowInvalid as error:
        remedy = "as in 'Europe/Berlin', 'UTC' or '+02:00'"
        problem = f"no time zone {shown(of.zone)}"
        raise step.source.error(problem, step.node.at, remedy=remedy) from error


def _conversion(source: Type, target: Type) -> tuple[Convert, Convert | None]:
    """Return what converts a column, and what finds the rows it can't convert, where that pays."""
    if source.kind is Kind.STRING and target.kind in _SHAPES:
        return _from_text(target), _misshapen(target.kind)
    if source.kind in NUMBERS and target.kind in NUMBERS:
        return _numbers(source, target)
    return _moments(source, target, bind(vector.cast, target=to_arrow(target))), None


def _numbers(source: Type, target: Type) -> tuple[Convert, Convert | None]:
    plain = bind(vector.cast, target=to_arrow(target))
    if target.kind in FLOATS:
        return bind(vector.cast, target=to_arrow(target), safe=False), None
    if target.kind in INTEGERS:
        suspect = None if source.kind is Kind.DECIMAL else _outside(source, target)
        convert = plain if source.kind in INTEGERS else lambda value: plain(vector.trunc(value))
        return convert, suspect
    if isinstance(source, DecimalType) and isinstance(target, DecimalType):
        return _rescale(source, target), None
    if isinstance(target, DecimalType) and source.kind in FLOATS:
        rounded = vector.rounded(target.scale)
        return lambda value: plain(rounded(value)), None
    # the kernel wants room for every value of the type, whichever values there are
    whole = to_arrow(exact(source))
    return lambda value: plain(vector.cast(value, whole)), None


def _from_text(target: Type) -> Convert:
    read = _READERS.get(target.kind, _read)(target)
    tidy = _tidier(target)

    def convert(value: Datum) -> Array:
        try:
            return read(value)
        except pa.ArrowInvalid:
            return read(tidy(value))

    return convert


def _read(target: Type) -> Convert:
    return bind(vector.cast, target=to_arrow(target))


def _read_time(target: Type) -> Convert:
    unit = target.unit if isinstance(target, TimeType) else "us"
    moment, arrow = pa.timestamp(unit), to_arrow(target)  # type: ignore[call-overload]  # unit is checked by parse_type
    day, empty = pa.scalar("1970-01-01 "), pa.scalar("")

    def read(value: Datum) -> Array:
        return vector.cast(vector.cast(vector.joined(day, value, empty), moment), arrow)

    return read


def _read_decimal(target: Type) -> Convert:
    arrow = to_arrow(target)
    widest = DecimalType(PRECISION_MAX, PRECISION_MAX // 2)
    rescale = _rescale(widest, target) if isinstance(target, DecimalType) else None

    def read(value: Datum) -> Array:
        try:
            return vector.cast(value, arrow)
        except pa.ArrowInvalid:  # more digits after the point than the type has: round them
            wide = vector.cast(value, to_arrow(widest))
            return rescale(wide) if rescale else wide

    return read


def _tidier(target: Type) -> Convert:
    """Return what makes text readable: no blanks around it, no sign or digits Arrow refuses."""
    rewrites: list[tuple[str, str]] = []
    if target.kind in INTEGERS:
        rewrites = [(r"^\+", "")]
    if isinstance(target, TimestampType | TimeType):
        digits = _FRACTION_DIGITS[target.unit]
        kept = rf"(\.[0-9]{{{digits}}})" if digits else r"()\."
        rewrites = [(rf"{kept}[0-9]+", r"\1")]
    if isinstance(target, TimestampType) and target.zone:  # no zone is read as UTC
        rewrites += [(rf"^({_DAY})$", r"\1 00:00Z"), (rf"^({_DAY}[ T]{_CLOCK})$", r"\1Z")]
    steps = [
        vector.kernel("replace_substring_regex", pc.ReplaceSubstringOptions(pattern, new))
        for pattern, new in rewrites
    ]

    def tidy(value: Datum) -> Array:
        value = vector.trimmed(value)
        for rewrite in steps:
            value = rewrite(value)
        return value

    return tidy


def _misshapen(kind: Kind) -> Convert:
    options = pc.MatchSubstringOptions(rf"\A(?:{_SHAPES[kind]})\z")
    matches = vector.kernel("match_substring_regex", options)
    return lambda value: vector.invert(matches(vector.trimmed(value)))


def _outside(source: Type, target: Type) -> Convert:
    """Return what finds the numbers out of the target's range, and those that are none."""
    low, high = INTEGER_BOUNDS[target.kind]
    if source.kind in FLOATS:
        least, most = pa.scalar(float(low)), pa.scalar(float(high) if high < 2**53 else high + 1.0)
        inclusive = high < 2**53  # else the float is one past the greatest integer

        def outside(value: Datum) -> Array:
            value = vector.trunc(vector.cast(value, pa.float64()))
            above = vector.greater(value, most) if inclusive else vector.greater_equal(value, most)
            return vector.either(
                vector.is_nan(value), vector.either(vector.less(value, least), above)
            )

        return outside
    of = to_arrow(source)
    source_low, source_high = INTEGER_BOUNDS[source.kind]
    first, last = pa.scalar(max(low, source_low), of), pa.scalar(min(high, source_high), of)
    return lambda value: vector.either(vector.less(value, first), vector.greater(value, last))


def _rescale(source: DecimalType, target: DecimalType) -> Convert:
    arrow = to_arrow(target)
    if target.scale >= source.scale:
        return bind(vector.cast, target=arrow)
    digits = min(source.precision + 1, PRECISION_MAX)  # 9.9 rounds to 10
    wide = (pa.decimal128 if digits <= DECIMAL128_PRECISION_MAX else pa.decimal256)(
        digits, source.scale
    )
    rounded = vector.rounded(target.scale)
    return lambda value: vector.cast(rounded(vector.cast(value, wide)), arrow)


def _moments(source: Type, target: Type, plain: Convert) -> Convert:
    """Return what converts between dates and times; a coarser unit rounds down."""
    if not isinstance(source, _CLOCKED) or not isinstance(target, _CLOCKED):
        return plain
    ticks = TICKS[source.unit] // TICKS[target.unit]
    if ticks <= 1:
        return plain
    middle = to_arrow(replace(source, unit=target.unit))  # in the target's unit, not yet its kind
    own, integer = _integer(to_arrow(source)), _integer(middle)

    def convert(value: Datum) -> Array:
        whole = floor_divide(vector.cast(vector.cast(value, own), pa.int64()), ticks)
        return plain(vector.cast(vector.cast(whole, integer), middle))

    return convert


def _integer(arrow: pa.DataType) -> pa.DataType:
    """Return the integers that a date or time is stored as."""
    return pa.int32() if pa.types.is_time32(arrow) else pa.int64()


_READERS: Final[Mapping[Kind, Callable[[Type], Convert]]] = {
    Kind.TIME: _read_time,
    Kind.DECIMAL: _read_decimal,
}

CASTS: Final[Mapping[str, Builder]] = {"cast": _cast, "try_cast": _try_cast}
