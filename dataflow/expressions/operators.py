"""Type rules of the operators: what each takes, what it gives, which kernel computes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataflow.expressions.arithmetic import arithmetic, negate
from dataflow.expressions.bound import Apply, Bound, Constant
from dataflow.expressions.errors import Source
from dataflow.expressions.signatures import TEXT, TEXT_LITERAL, Rule
from dataflow.expressions.tree import Call
from dataflow.expressions.types import BOOL, INT64, INTEGERS, NESTED, NULL, Kind, ListType, Type
from dataflow.expressions.widen import cast, unify

_COMPARISONS: Final = {
    "=": "equal",
    "<>": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}


def boolean(source: Source, node: Bound, purpose: str) -> Bound:
    """Return the node as a condition.

    Raises:
        ExpressionError: it is no bool.
    """
    if node.type.kind not in {Kind.BOOL, Kind.NULL}:
        remedy = "compare it with something, as in … <> 0"
        raise source.error(f"{purpose} needs a bool, not {node.type}", node.at, remedy=remedy)
    return cast(node, BOOL)


def comparable(
    source: Source, args: tuple[Bound, ...], at: int, action: str = "compare"
) -> tuple[Bound, ...]:
    """Return the nodes as one type that has an order.

    Raises:
        ExpressionError: the types don't go together, or have no order.
    """
    target, same = unify(source, args, at, action)
    if target.kind is Kind.NULL:  # any type that has an order will do
        return tuple(cast(node, BOOL) for node in same)
    if target.kind in NESTED | {Kind.OPAQUE, Kind.INTERVAL}:
        remedy = "" if target.kind is not Kind.STRUCT else "take one field of it: a.b"
        raise source.error(f"can't {action} values of type {target}", at, remedy=remedy)
    return same


def choice(
    source: Source, conditions: tuple[Bound, ...], values: tuple[Bound, ...], at: int
) -> Bound:
    """Return the first value whose condition is true; the value past the last one otherwise.

    Raises:
        ExpressionError: a condition that is no bool, values that have no type in common.
    """
    target, same = unify(source, values, at, "choose between")
    checked = tuple(boolean(source, node, "a condition") for node in conditions)
    if target.kind is Kind.NULL:
        return Constant(NULL, None, at)
    return Apply(target, "case", interleaved(checked, same), at)


def interleaved(conditions: tuple[Bound, ...], values: tuple[Bound, ...]) -> tuple[Bound, ...]:
    """Return condition, value, condition, value, …, and the value of the rest."""
    pairs = zip(conditions, values, strict=False)
    return (*(node for pair in pairs for node in pair), values[-1])


def _logic(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    checked = tuple(boolean(source, node, call.name.upper()) for node in args)
    return Apply(BOOL, call.name, checked, call.at)


def _comparison(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return Apply(BOOL, _COMPARISONS[call.name], comparable(source, args, call.at), call.at)


def _several(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return Apply(BOOL, call.name, comparable(source, args, call.at), call.at)


def _is_null(_source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return Apply(BOOL, "is_null", args, call.at)


def _like(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    text = TEXT.check(source, call.name.upper(), args[0])
    if isinstance(args[1], Constant) and args[1].value is None:
        return Constant(BOOL, None, call.at)
    pattern = TEXT_LITERAL.check(source, call.name.upper(), args[1])
    escape = (*args[2:], Constant(TEXT.type, "", call.at))[0]
    if not isinstance(escape, Constant) or len(str(escape.value)) > 1:
        raise source.error("ESCAPE needs one character", escape.at)
    written = pattern.value if isinstance(pattern, Constant) else ""
    if escape.value and str(written).replace(str(escape.value) * 2, "").endswith(str(escape.value)):
        raise source.error("the pattern ends in its escape character", pattern.at)
    return Apply(BOOL, call.name, (text, pattern, escape), call.at)


def _case(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return choice(source, args[:-1:2], (*args[1:-1:2], args[-1]), call.at)


def _case_of(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    operand, *tests = comparable(source, (args[0], *args[1:-1:2]), call.at)
    target, values = unify(source, (*args[2:-1:2], args[-1]), call.at, "choose between")
    if target.kind is Kind.NULL:
        return Constant(NULL, None, call.at)
    return Apply(target, "case_of", (operand, *interleaved(tuple(tests), values)), call.at)


def _join(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    for node in args:
        if node.type.kind not in {Kind.STRING, Kind.NULL}:
            remedy = "convert it: CAST(… AS string), or use concat(), which converts"
            raise source.error(f"|| joins texts, not {node.type}", node.at, remedy=remedy)
    checked = tuple(TEXT.check(source, "||", node) for node in args)
    return Apply(TEXT.type, "join", checked, call.at)


def _element(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    base, index = args
    if not isinstance(base.type, ListType):
        raise source.error(f"[…] takes an item of a list, not of {base.type}", call.at)
    if index.type.kind not in INTEGERS:
        raise source.error(f"an index is a whole number, not {index.type}", index.at)
    return Apply(base.type.item, "element", (base, cast(index, INT64)), call.at)


def field(base: Bound, name: str, at: int, item: Type) -> Bound:
    """Return a field of a struct."""
    return Apply(item, "field", (base, Constant(TEXT.type, name, at)), at)


OPERATORS: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("+", "-", "*", "/", "%"), arithmetic),
    "negate": negate,
    **dict.fromkeys(("and", "or", "not"), _logic),
    **dict.fromkeys(_COMPARISONS, _comparison),
    **dict.fromkeys(("between", "in", "distinct"), _several),
    "is null": _is_null,
    **dict.fromkeys(("like", "ilike"), _like),
    "case": _case,
    "case_of": _case_of,
    "||": _join,
    "[]": _element,
}
