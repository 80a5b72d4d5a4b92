"""Type rules of + - * / %, for numbers and for moments and lengths of time.

Whole numbers are computed as int64, or as uint64 where one is uint64 and none has a sign, so that
int8 + int8 can't overflow unseen. ``/`` gives float64 whatever it divides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataflow.expressions.bound import Apply, Bound, Constant
from dataflow.expressions.errors import Source
from dataflow.expressions.moments import DAY_S, Interval
from dataflow.expressions.tree import Call
from dataflow.expressions.types import (
    DATE,
    DURATION,
    FLOAT64,
    INT64,
    INTEGERS,
    NUMBERS,
    PRECISION_MAX,
    TICKS,
    TIMESTAMP,
    UINT64,
    UNITS,
    DecimalType,
    DurationType,
    Kind,
    TimestampType,
    Type,
)
from dataflow.expressions.widen import cast, exact, fit, mismatch, unify

_OPS: Final[Mapping[str, str]] = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "%": "modulo",
}
_MOMENTS: Final = frozenset({Kind.DATE, Kind.TIMESTAMP})
_LENGTHS: Final = frozenset({Kind.DURATION, Kind.INTERVAL})
_DAY_US: Final = DAY_S * 1_000_000


def arithmetic(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    """Return the typed operation.

    Raises:
        ExpressionError: the operator does not take these types.
    """
    kinds = {node.type.kind for node in args}
    if kinds <= NUMBERS | {Kind.NULL}:
        return _numbers(source, call, args)
    if call.name in {"+", "-"}:
        found = _moments(source, call, args)
        if found is not None:
            return found
    left, right = args
    error = mismatch(source, (left.type, right.type), call.at, _OPS[call.name])
    if kinds & _MOMENTS and kinds & NUMBERS:
        error = source.error(error.problem, call.at, remedy="say of what: + INTERVAL '7 days'")
    elif kinds == {Kind.STRING} and call.name == "+":
        error = source.error(error.problem, call.at, remedy="join texts with ||")
    raise error


def negate(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    """Return the typed unary minus.

    Raises:
        ExpressionError: it is no number.
    """
    (node,) = args
    if node.type.kind in INTEGERS:
        return Apply(INT64, "negate", (cast(node, INT64),), call.at)
    if node.type.kind not in NUMBERS | {Kind.NULL}:
        raise source.error(f"can't negate {node.type}", call.at)
    node = cast(node, FLOAT64) if node.type.kind is Kind.NULL else node
    return Apply(node.type, "negate", (node,), call.at)


def add_interval(source: Source, moment: Bound, length: Bound, at: int, *, sign: int = 1) -> Bound:
    """Return a date or timestamp moved by an interval or duration.

    Months first, then the rest; a day past the end of its month becomes the last one of it. A
    date stays a date if it is moved by whole days, and becomes a timestamp otherwise.
    """
    if isinstance(length, Constant) and isinstance(length.value, Interval):
        interval = length.value
        months = Constant(INT64, sign * interval.months, at)
        moment = Apply(moment.type, "add_months", (moment, months), at)
        if not interval.microseconds:
            return moment
        length = Constant(DURATION, interval.microseconds, at)
    whole_days = (
        isinstance(length, Constant)
        and isinstance(length.value, int)
        and length.type == DURATION
        and length.value % _DAY_US == 0
    )
    if moment.type.kind is Kind.DATE:
        if whole_days and isinstance(length, Constant) and isinstance(length.value, int):
            days = Constant(INT64, sign * (length.value // _DAY_US), at)
            return Apply(DATE, "add_days", (moment, days), at)
        moment = cast(moment, TIMESTAMP)
    if not isinstance(moment.type, TimestampType) or not isinstance(length.type, DurationType):
        raise mismatch(source, (moment.type, length.type), at, "add")
    length = _coarsest(length, moment.type)
    finest = length.type.unit if isinstance(length.type, DurationType) else "us"
    unit = max(moment.type.unit, finest, key=UNITS.index)
    target = TimestampType(unit, moment.type.zone)
    op = "add" if sign > 0 else "subtract"
    return Apply(target, op, (cast(moment, target), cast(length, DurationType(unit))), at)


def _coarsest(length: Bound, moment: TimestampType) -> Bound:
    """Return a length written out in the unit of the moment, if that loses nothing."""
    unit = moment.unit
    if isinstance(length, Constant) and isinstance(length.value, int) and length.type == DURATION:
        whole, rest = divmod(length.value * TICKS[unit], TICKS["us"])
        if not rest and TICKS[unit] < TICKS["us"]:
            return Constant(DurationType(unit), whole, length.at)
    return length


def _numbers(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    if call.name == "/" or all(node.type.kind is Kind.NULL for node in args):
        operands = tuple(cast(node, FLOAT64) for node in args)
        return Apply(FLOAT64, _OPS[call.name], operands, call.at)
    kinds = {node.type.kind for node in args}
    literal = any(isinstance(node, Constant) and node.literal is not None for node in args)
    if Kind.DECIMAL in kinds and (literal or not kinds & {Kind.FLOAT32, Kind.FLOAT64}):
        fitted = tuple(fit(source, node, DecimalType(1, 0)) for node in args)
        if all(node.type.kind in INTEGERS | {Kind.DECIMAL} for node in fitted):
            return _decimals(source, call, fitted)
    target, operands = unify(source, args, call.at, _OPS[call.name])
    if isinstance(target, DecimalType):
        return _decimals(source, call, operands)
    if target.kind in INTEGERS:
        target = UINT64 if target == UINT64 else INT64
        operands = tuple(cast(node, target) for node in operands)
    return Apply(target, _OPS[call.name], operands, call.at)


def _decimals(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    if call.name == "%":
        remedy = "convert one of them: CAST(… AS float64)"
        raise source.error("% takes whole numbers and floats", call.at, remedy=remedy)
    left, right = (exact(node.type) for node in args)
    if call.name == "*":
        digits, scale = left.precision + right.precision + 1, left.scale + right.scale
    else:
        scale = max(left.scale, right.scale)
        digits = max(left.precision - left.scale, right.precision - right.scale) + scale + 1
    if digits > PRECISION_MAX:
        problem = f"the result of {left} {call.name} {right} needs {digits} digits"
        remedy = f"more than {PRECISION_MAX}: CAST one of them to fewer"
        raise source.error(problem, call.at, remedy=remedy)
    operands = (cast(args[0], left), cast(args[1], right))
    return Apply(DecimalType(digits, scale), _OPS[call.name], operands, call.at)


def _with_types(args: tuple[Bound, ...]) -> tuple[Bound, ...]:
    """Return a bare NULL next to a moment as a length of time, and the other way round."""
    lengths = any(node.type.kind in _LENGTHS for node in args)
    target = TIMESTAMP if lengths else DURATION
    return tuple(cast(node, target) if node.type.kind is Kind.NULL else node for node in args)


def _moments(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound | None:
    left, right = _with_types(args)
    kinds = left.type.kind, right.type.kind
    sign = -1 if call.name == "-" else 1
    if kinds[0] in _MOMENTS and kinds[1] in _LENGTHS:
        return add_interval(source, left, right, call.at, sign=sign)
    if sign > 0 and kinds[0] in _LENGTHS and kinds[1] in _MOMENTS:
        return add_interval(source, right, left, call.at)
    if kinds == (Kind.DURATION, Kind.DURATION):
        target, operands = unify(source, args, call.at, _OPS[call.name])
        return Apply(target, _OPS[call.name], operands, call.at)
    if sign < 0 and kinds == (Kind.DATE, Kind.DATE):
        return Apply(INT64, "days_apart", args, call.at)
    if sign < 0 and set(kinds) <= _MOMENTS:
        target, operands = unify(source, args, call.at, _OPS[call.name])
        unit = target.unit if isinstance(target, TimestampType) else "us"
        result: Type = DurationType(unit)
        return Apply(result, "subtract", operands, call.at)
    return None
