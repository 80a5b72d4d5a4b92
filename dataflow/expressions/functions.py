"""All functions of the language, by lower-case name; nothing else can be called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataflow.expressions.bound import Apply, Bound, Constant
from dataflow.expressions.errors import Source
from dataflow.expressions.number_functions import NUMBER_FUNCTIONS
from dataflow.expressions.operators import choice, comparable
from dataflow.expressions.signatures import Function
from dataflow.expressions.temporal_functions import TEMPORAL_FUNCTIONS
from dataflow.expressions.text_functions import TEXT_FUNCTIONS
from dataflow.expressions.tree import Call
from dataflow.expressions.types import NULL, Kind
from dataflow.expressions.widen import unify


def _if(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return choice(source, args[:1], args[1:], call.at)


def _coalesce(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    target, same = unify(source, args, call.at, "choose between")
    if target.kind is Kind.NULL:
        return Constant(NULL, None, call.at)
    return Apply(target, "coalesce", same, call.at)


def _nullif(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    same = comparable(source, args, call.at)
    return Apply(same[0].type, "nullif", same, call.at)


def _extreme(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    same = comparable(source, args, call.at)
    if same[0].type.kind in {Kind.BOOL, Kind.BYTES}:
        problem = f"{call.name}() takes numbers, texts, dates and times, not {same[0].type}"
        raise source.error(problem, call.at)
    return Apply(same[0].type, call.name.lower(), same, call.at)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "if": Function(3, 3, _if),
    "coalesce": Function(1, None, _coalesce),
    "ifnull": Function(2, 2, _coalesce),
    "nullif": Function(2, 2, _nullif),
    "greatest": Function(1, None, _extreme),
    "least": Function(1, None, _extreme),
    **NUMBER_FUNCTIONS,
    **TEXT_FUNCTIONS,
    **TEMPORAL_FUNCTIONS,
}
