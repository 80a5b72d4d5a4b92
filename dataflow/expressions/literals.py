"""Numbers as written, to values: what fits no type is said so, never rounded unseen."""

from __future__ import annotations

import math
from typing import Final

from dataflow.expressions.errors import Source, shown
from dataflow.expressions.lexer import Token
from dataflow.expressions.tree import Literal
from dataflow.expressions.types import FLOAT64, INT64, INTEGER_BOUNDS, UINT64, Kind, Type

_INT64_LEAST, _INT64_MOST = INTEGER_BOUNDS[Kind.INT64]
_UINT64_MOST: Final = INTEGER_BOUNDS[Kind.UINT64][1]
_DIGITS_MAX: Final = len(str(_UINT64_MOST))  # longer ones are not even converted


def number(source: Source, token: Token) -> tuple[Type, object, str]:
    """Return type, value and text of a number.

    Raises:
        ExpressionError: it fits neither 64 bits nor a float64.
    """
    text = token.value
    if not text.isdecimal():
        value = float(text)
        if math.isinf(value):
            problem = f"{shown(text)} is too large for a float64"
            raise source.error(problem, token.at, width=token.width)
        return FLOAT64, value, text
    digits = text.lstrip("0") or "0"
    if len(digits) > _DIGITS_MAX or int(digits) > _UINT64_MOST:
        remedy = (
            f"write it as a float: {shown(text + '.0')}" if len(text) <= _DIGITS_MAX * 2 else ""
        )
        problem = f"{shown(text)} does not fit in 64 bits"
        raise source.error(problem, token.at, width=token.width, remedy=remedy)
    whole = int(digits)
    return (INT64 if whole <= _INT64_MOST else UINT64), whole, digits


def negative(source: Source, literal: Literal) -> tuple[Type, object, str]:
    """Return type, value and text of a number with its sign turned.

    Raises:
        ExpressionError: it does not fit in 64 bits.
    """
    text = literal.text.removeprefix("-") if literal.text.startswith("-") else "-" + literal.text
    if isinstance(literal.value, int):
        value = -literal.value
        if not _INT64_LEAST <= value <= _UINT64_MOST:
            problem = f"{shown(text)} does not fit in 64 bits"
            raise source.error(problem, literal.at, width=literal.width)
        return (INT64 if value <= _INT64_MOST else UINT64), value, text
    return FLOAT64, -literal.value if isinstance(literal.value, float) else None, text
