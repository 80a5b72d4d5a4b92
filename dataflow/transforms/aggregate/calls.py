"""One aggregate as people write it, ``avg(price * quantity)``: read and typed, without Arrow.

Results have DuckDB's types but for the sum of whole numbers, which is an int64 here (there it has
128 bits, which no sink stores).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dataflow.connect.expressions import Expression, ExpressionError, check, listing, parse
from dataflow.connect.types import DecimalType, Kind, Type, parse_type

COLLECTED_MAX = 1_000
"""Values in one list where its call does not say how many: a page of text, no table."""
COLLECTED_LIMIT = 1_000_000

DECIMAL_DIGITS = 38
"""Of the numbers that are computed with; Arrow's wider decimals are not."""

_CALL = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)
_PARAMETER = re.compile(r"(.*),\s*(\d+(?:\.\d+)?|\.\d+)\s*", re.DOTALL)

INT64, FLOAT64 = Type(Kind.INT64), Type(Kind.FLOAT64)
WHOLE = frozenset(Kind(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64))
FLOATING = frozenset({Kind.FLOAT32, Kind.FLOAT64})
NUMBERS = WHOLE | FLOATING | {Kind.DECIMAL}
_NO_VALUES = frozenset({Kind.LIST, Kind.STRUCT, Kind.OPAQUE, Kind.INTERVAL, Kind.NULL})
VALUES = frozenset(Kind) - _NO_VALUES
"""What can be compared and is stored in one piece."""


def _sum(of: Type) -> Type:
    if isinstance(of, DecimalType):
        return DecimalType(DECIMAL_DIGITS, of.scale)
    return FLOAT64 if of.kind in FLOATING else INT64


@dataclass(frozen=True, slots=True)
class Function:
    """What a function takes and what comes of it.

    Attributes:
        takes: the kinds of its argument; none if it may have none.
        result: its type, given the argument's.
        parameter: what its second argument is called; empty where it has none.
        needed: whether that must be given.
    """

    takes: frozenset[Kind]
    result: Callable[[Type], Type]
    parameter: str = ""
    needed: bool = False


FUNCTIONS: Mapping[str, Function] = {
    "count": Function(frozenset(Kind), lambda _: INT64),
    "sum": Function(NUMBERS | {Kind.BOOL}, _sum),
    "avg": Function(NUMBERS | {Kind.BOOL}, lambda _: FLOAT64),
    "min": Function(VALUES, lambda of: of),
    "max": Function(VALUES, lambda of: of),
    "first": Function(VALUES, lambda of: of),
    "last": Function(VALUES, lambda of: of),
    "collect": Function(VALUES, lambda of: parse_type(f"list<{of}>"), "how many values at most"),
    "approx_distinct": Function(VALUES, lambda _: INT64),
    "quantile": Function(NUMBERS, lambda _: FLOAT64, "which quantile, from 0 to 1", needed=True),
}


@dataclass(frozen=True, slots=True)
class Call:
    """An aggregate that has been read.

    Attributes:
        name: the column it makes.
        function: a name in ``FUNCTIONS``.
        argument: None of ``count()`` alone.
        parameter: the second argument, where the function has one.
    """

    name: str
    function: str
    argument: Expression | None
    parameter: float = 0.0

    def type(self, columns: Mapping[str, Type]) -> Type:
        """Return the type of the result.

        Raises:
            ExpressionError: the argument does not fit these columns, or the function.
        """
        function = FUNCTIONS[self.function]
        if self.argument is None:
            return INT64
        of = check(self.argument, columns)
        too_wide = isinstance(of, DecimalType) and of.precision > DECIMAL_DIGITS
        if (of.kind not in function.takes or too_wide) and self.function != "count":
            raise _error(f"{self.function}() has no value of {of}; convert it: CAST(… AS …)")
        return function.result(of)


def read(name: str, text: str) -> Call:
    """Return what the text of one aggregate says.

    Raises:
        ExpressionError: it is no call of one of the functions, or an argument is none.
    """
    found = _CALL.fullmatch(text)
    if found is None:
        raise _error(
            "write one function of an expression, as in sum(a * b); a map behind this"
            " step computes with results"
        )
    word, inner = found[1].lower(), found[2]
    function = FUNCTIONS.get(word)
    if function is None:
        raise _error(f"unknown function {found[1]!r}, one of {listing(FUNCTIONS)}")
    parameter = 0.0
    if function.parameter:
        inner, parameter = _parameter(word, function, inner)
    if word == "count" and inner.strip() in {"", "*"}:
        return Call(name, word, None)
    if not inner.strip():
        raise _error(f"{word}() of what? Write {word}(a), with a column or an expression")
    # blanks in place of what stands before keep the places in messages those of the whole text
    return Call(name, word, parse(" " * found.start(2) + inner), parameter)


def _parameter(word: str, function: Function, inner: str) -> tuple[str, float]:
    found = _PARAMETER.fullmatch(inner)
    if found is None:
        if function.needed:
            raise _error(f"{word}(x, …) needs a number: {function.parameter}")
        return inner, COLLECTED_MAX
    value = float(found[2])
    if word == "quantile" and not 0 <= value <= 1:
        raise _error("a quantile is from 0 to 1, as in 0.95")
    if word == "collect" and not (value.is_integer() and 1 <= value <= COLLECTED_LIMIT):
        raise _error(f"collect takes from 1 to {COLLECTED_LIMIT:,} values")
    return found[1], value


def _error(message: str) -> ExpressionError:
    return ExpressionError(message, text="", at=0)
