"""The functions on numbers. Whole numbers go in and come out as int64, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from dataflow.expressions.arithmetic import arithmetic
from dataflow.expressions.bound import Apply, Bound, Constant
from dataflow.expressions.errors import Source
from dataflow.expressions.signatures import (
    INTEGER_LITERAL,
    NUMBER,
    REAL,
    Function,
    function,
)
from dataflow.expressions.tree import Call
from dataflow.expressions.types import BOOL, INT64, INTEGERS, UINT64
from dataflow.expressions.widen import cast

DIGITS_MAX = 30  # past the 17 digits of a float64 nothing changes; keeps 10^n within a decimal


def _digits(value: object) -> str:
    fits = isinstance(value, int) and abs(value) <= DIGITS_MAX
    return "" if fits else f"rounds to between -{DIGITS_MAX} and {DIGITS_MAX} digits"


def _whole(op: str) -> Function:
    """Return a function that changes no whole number."""

    def rule(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
        node = NUMBER.check(source, call.name, args[0])
        if node.type.kind in INTEGERS:
            return node if node.type == UINT64 else cast(node, INT64)
        return Apply(node.type, op, (node,), call.at)

    return Function(1, 1, rule)


def _round(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    node = NUMBER.check(source, call.name, args[0])
    digits: Bound = Constant(INT64, 0, call.at)
    if len(args) > 1:
        digits = replace(INTEGER_LITERAL, complaint=_digits).check(source, call.name, args[1])
    if node.type.kind in INTEGERS and node.type != UINT64:
        node = cast(node, INT64)
    return Apply(node.type, "round", (node, digits), call.at)


def _abs(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    node = NUMBER.check(source, call.name, args[0])
    if node.type == UINT64:
        return node
    node = cast(node, INT64) if node.type.kind in INTEGERS else node
    return Apply(node.type, "abs", (node,), call.at)


def _mod(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return arithmetic(source, Call("%", call.args, call.at, call.width, call.depth), args)


NUMBER_FUNCTIONS: Final[Mapping[str, Function]] = {
    "abs": Function(1, 1, _abs),
    "round": Function(1, 2, _round),
    "floor": _whole("floor"),
    "ceil": _whole("ceil"),
    "mod": Function(2, 2, _mod),
    "sign": function("sign", NUMBER, result=INT64),
    "sqrt": function("sqrt", REAL),
    "power": function("power", REAL, REAL),
    "exp": function("exp", REAL),
    "ln": function("ln", REAL),
    "log10": function("log10", REAL),
    "is_nan": function("is_nan", REAL, result=BOOL),
}
