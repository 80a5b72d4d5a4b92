"""One type for several values: widening, and literals that take the type of what they meet.

A literal is 'of its own type' only where nothing else decides: next to an int8 column ``5`` is an
int8, next to a decimal ``9.99`` is exactly that, next to a timestamp ``'2024-01-01'`` is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from dataflow.expressions.bound import Apply, Bound, Constant
from dataflow.expressions.errors import ExpressionError, Source, shown
from dataflow.expressions.moments import parse_date, parse_time, parse_timestamp
from dataflow.expressions.types import (
    DATE,
    FLOAT32,
    FLOAT64,
    INTEGER_BOUNDS,
    INTEGERS,
    NULL,
    NUMBERS,
    PRECISION_MAX,
    UNITS,
    UNSIGNED,
    DecimalType,
    DurationType,
    Kind,
    ListType,
    StructType,
    TimestampType,
    TimeType,
    Type,
)

_FLOAT32_EXACT_MAX = 2**24  # integers up to here are exact in a float32
_MOMENTS = {Kind.DATE, Kind.TIMESTAMP}


def common(left: Type, right: Type) -> Type | None:
    """Return the narrowest type that holds both, or None if nothing does."""
    if left == right or right.kind is Kind.NULL:
        return left
    if left.kind is Kind.NULL:
        return right
    if left.kind in NUMBERS and right.kind in NUMBERS:
        return _number(left, right)
    if {left.kind, right.kind} == _MOMENTS:
        return left if left.kind is Kind.TIMESTAMP else right
    return _parametric(left, right)


def unify(
    source: Source, nodes: Sequence[Bound], at: int, action: str
) -> tuple[Type, tuple[Bound, ...]]:
    """Return one type and the nodes, all of that type; of nothing but NULLs it is NULL.

    Args:
        source: the text, to blame.
        nodes: at least one.
        at: where to point if the types don't go together.
        action: what is done with them, for that message: ``compare``.

    Raises:
        ExpressionError: the types don't go together.
    """
    firm = [node.type for node in nodes if not _is_literal(node)]
    target = _join(source, firm, at, action)
    fitted = [fit(source, node, target) for node in nodes]
    target = _join(source, [node.type for node in fitted], at, action)
    return target, tuple(cast(node, target) for node in fitted)


def fit(source: Source, node: Bound, target: Type) -> Bound:
    """Return a literal as the target's type, or of its family; anything else as it is.

    Raises:
        ExpressionError: a text that should be a date or a time and is none.
    """
    if not isinstance(node, Constant) or node.literal is None:
        return node
    if isinstance(node.value, str):
        return _text_as(source, node, node.value, target)
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        return node
    found = _number_as(node.value, node.literal, target)
    return Constant(found[0], found[1], node.at, node.literal) if found else node


def cast(node: Bound, target: Type, *, lenient: bool = False, at: int | None = None) -> Bound:
    """Return the node as that type, by a conversion unless it is of it already.

    Args:
        node: what to convert.
        target: the type.
        lenient: whether what can't be converted becomes NULL instead of a fault.
        at: where the text asks for it; None blames the node itself.
    """
    if node.type == target:
        return node
    if isinstance(node, Constant):
        if node.value is None:
            return Constant(target, None, node.at)
        if target == FLOAT64 and isinstance(node.value, int) and node.type.kind in NUMBERS:
            return Constant(target, float(node.value), node.at)
    op = "try_cast" if lenient else "cast"
    return Apply(target, op, (node,), node.at if at is None else at)


def exact(kind: Type) -> DecimalType:
    """Return the decimal type that holds every value of an integer or decimal type."""
    if isinstance(kind, DecimalType):
        return kind
    return DecimalType(len(str(INTEGER_BOUNDS[kind.kind][1])), 0)


def mismatch(source: Source, types: tuple[Type, Type], at: int, action: str) -> ExpressionError:
    """Return the error of two types that don't go together, with what to do about it."""
    left, right = types
    kinds = {left.kind, right.kind}
    remedy = ""
    if Kind.STRING in kinds and kinds & NUMBERS:
        remedy = "convert one of them: CAST(… AS float64), or put the number in quotes"
    elif Kind.STRING in kinds and len(kinds) > 1:
        remedy = f"convert the text: CAST(… AS {right if left.kind is Kind.STRING else left})"
    elif left.kind is right.kind is Kind.DECIMAL:
        remedy = f"more than {PRECISION_MAX} digits together: CAST one of them to fewer"
    elif Kind.BOOL in kinds and kinds & NUMBERS:
        remedy = "convert the bool: CAST(… AS int64)"
    return source.error(f"can't {action} {left} and {right}", at, remedy=remedy)


def _join(source: Source, types: Sequence[Type], at: int, action: str) -> Type:
    target = NULL
    for other in types:
        joined = common(target, other)
        if joined is None:
            raise mismatch(source, (target, other), at, action)
        target = joined
    return target


def _is_literal(node: Bound) -> bool:
    return isinstance(node, Constant) and node.literal is not None


def _parametric(left: Type, right: Type) -> Type | None:
    match left, right:
        case TimestampType(), TimestampType():
            return TimestampType(_finest(left.unit, right.unit), left.zone or right.zone)
        case TimeType(), TimeType():
            return TimeType(_finest(left.unit, right.unit))
        case DurationType(), DurationType():
            return DurationType(_finest(left.unit, right.unit))
        case ListType(), ListType():
            item = common(left.item, right.item)
            return ListType(item) if item else None
        case StructType(), StructType():
            return _struct(left, right)
        case _:
            return None


def _number(left: Type, right: Type) -> Type | None:
    if left.kind in INTEGERS and right.kind in INTEGERS:
        return _integer(left, right)
    if {left.kind, right.kind} <= INTEGERS | {Kind.DECIMAL}:
        one, two = exact(left), exact(right)
        scale = max(one.scale, two.scale)
        digits = max(one.precision - one.scale, two.precision - two.scale) + scale
        return DecimalType(digits, scale) if digits <= PRECISION_MAX else None
    return FLOAT64


def _integer(left: Type, right: Type) -> Type:
    least = min(INTEGER_BOUNDS[left.kind][0], INTEGER_BOUNDS[right.kind][0])
    most = max(INTEGER_BOUNDS[left.kind][1], INTEGER_BOUNDS[right.kind][1])
    kinds = UNSIGNED if least == 0 else INTEGERS - UNSIGNED
    for kind, (low, high) in INTEGER_BOUNDS.items():
        if kind in kinds and low <= least and most <= high:
            return Type(kind)
    return DecimalType(len(str(most)), 0)  # uint64 with a signed one: no integer type has both


def _struct(left: StructType, right: StructType) -> Type | None:
    if [name for name, _ in left.fields] != [name for name, _ in right.fields]:
        return None
    joined: list[tuple[str, Type]] = []
    for (name, one), (_, two) in zip(left.fields, right.fields, strict=True):
        item = common(one, two)
        if item is None:
            return None
        joined.append((name, item))
    return StructType(tuple(joined))


def _finest(left: str, right: str) -> str:
    return max(left, right, key=UNITS.index)


def _number_as(value: float, literal: str, target: Type) -> tuple[Type, object] | None:
    if isinstance(value, int):
        if target.kind in INTEGERS:
            low, high = INTEGER_BOUNDS[target.kind]
            return (target, value) if low <= value <= high else None
        if target.kind is Kind.FLOAT32 and abs(value) <= _FLOAT32_EXACT_MAX:
            return target, float(value)
    elif target == FLOAT32:
        return target, value
    if target.kind is Kind.DECIMAL and literal.lstrip("-").replace(".", "", 1).isdecimal():
        number = Decimal(literal)
        scale = max(0, -int(number.as_tuple().exponent))
        digits = max(len(number.as_tuple().digits), scale, 1)
        return (DecimalType(digits, scale), number) if digits <= PRECISION_MAX else None
    return None


def _text_as(source: Source, node: Constant, text: str, target: Type) -> Constant:
    found: tuple[Type, int] | None
    match target:
        case TimestampType():
            found = parse_timestamp(text, target.unit)
        case TimeType():
            found = parse_time(text)
        case Type(kind=Kind.DATE):
            day = parse_date(text)
            found = (DATE, day) if day is not None else parse_timestamp(text)
        case _:
            return node
    if found is None:
        remedy = "written as in 2024-05-01, 2024-05-01 13:45:00 or 13:45:00"
        problem = f"{shown(text)} is no {target}"
        raise source.error(problem, node.at, width=len(text) + 2, remedy=remedy)
    return Constant(found[0], found[1], node.at)
