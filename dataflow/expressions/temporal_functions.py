"""The functions on dates and times. A timestamp with a zone is read by the clocks of that zone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from dataflow.expressions.arithmetic import add_interval
from dataflow.expressions.bound import Apply, Bound, Constant
from dataflow.expressions.errors import Source, listing, shown, suggestion
from dataflow.expressions.signatures import (
    TEXT,
    TEXT_LITERAL,
    Function,
    Parameter,
    function,
)
from dataflow.expressions.tree import Call
from dataflow.expressions.types import (
    INT64,
    INTEGERS,
    TIMESTAMP,
    Kind,
    TimestampType,
    TimeType,
    Type,
)
from dataflow.expressions.widen import cast, unify

UNITS: Final = (
    *("year", "quarter", "month", "week", "day"),
    *("hour", "minute", "second", "millisecond", "microsecond"),
)
PARTS: Final = (
    *("year", "quarter", "month", "week", "day", "dayofweek", "dayofyear"),
    *("hour", "minute", "second", "epoch"),
)
_PART_ALIASES: Final = {"isodow": "dayofweek", "doy": "dayofyear"}
_PARSED: Final = "YymdeHIMSpbBhaAjzFDTR%"  # what every C library reads
_CLOCK: Final = frozenset({"hour", "minute", "second"})
_FINER_THAN_DAY: Final = frozenset(UNITS[5:])

_MOMENTS: Final = frozenset({Kind.DATE, Kind.TIMESTAMP})
_LENGTHS: Final = frozenset({Kind.DURATION, Kind.INTERVAL})
MOMENT: Final = Parameter("a date or timestamp", _MOMENTS, TIMESTAMP)
MOMENT_OR_TIME: Final = Parameter("a date or a time", _MOMENTS | {Kind.TIME}, TIMESTAMP)
LENGTH: Final = Parameter("an interval, as in INTERVAL '7 days',", _LENGTHS, Type(Kind.DURATION))
INTEGER: Final = Parameter("a whole number", INTEGERS, INT64, convert=True)


def _parse_format(value: object) -> str:
    if "%f" in str(value):
        return "reads no fractions (%f): for ISO 8601 write CAST(… AS timestamp)"
    unknown = [code for code in re.findall("(?s)%(.)", str(value)) if code not in _PARSED]
    if unknown:
        return f"reads no %{unknown[0]}: it knows {listing('%' + code for code in _PARSED)}"
    return "" if "%" in str(value) else "needs a format, as in '%d.%m.%Y %H:%M'"


def _one_of(source: Source, call: Call, node: Bound, names: tuple[str, ...]) -> str:
    name = TEXT_LITERAL.check(source, call.name, node)
    word = str(name.value).lower() if isinstance(name, Constant) else ""
    word = _PART_ALIASES.get(word, word) if names is PARTS else word
    word = word if word in names else word.removesuffix("s")
    if word not in names:
        remedy = suggestion(word, names) or f"it knows: {listing(names)}"
        raise source.error(f"{call.name}() knows no {shown(word)}", node.at, remedy=remedy)
    return word


def _part_of(source: Source, call: Call, part: str, node: Bound) -> Bound:
    moment = MOMENT_OR_TIME.check(source, call.name, node)
    if isinstance(moment.type, TimeType) and part not in _CLOCK:
        raise source.error(f"a time has no {part}", node.at, remedy=f"it has {listing(_CLOCK)}")
    if moment.type.kind is Kind.DATE and part in _CLOCK | {"epoch"}:
        moment = cast(moment, TIMESTAMP)
    return Apply(INT64, "part", (Constant(TEXT.type, part, call.at), moment), call.at)


def _date_part(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return _part_of(source, call, _one_of(source, call, args[0], PARTS), args[1])


def _part(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    return _part_of(source, call, call.name.lower(), args[0])


def _date_trunc(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    unit = _one_of(source, call, args[0], UNITS)
    moment = MOMENT.check(source, call.name, args[1])
    if moment.type.kind is Kind.DATE and unit in _FINER_THAN_DAY:
        moment = cast(moment, TIMESTAMP)
    return Apply(moment.type, "trunc", (Constant(TEXT.type, unit, call.at), moment), call.at)


def _date_diff(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    unit = _one_of(source, call, args[0], UNITS)
    moments = tuple(MOMENT.check(source, call.name, node) for node in args[1:])
    target, same = unify(source, moments, call.at, "compare")
    if not isinstance(target, TimestampType) and unit in _FINER_THAN_DAY:
        same = tuple(cast(node, TIMESTAMP) for node in same)
    return Apply(INT64, "diff", (Constant(TEXT.type, unit, call.at), *same), call.at)


def _date_add(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    moment = MOMENT.check(source, call.name, args[0])
    return add_interval(source, moment, LENGTH.check(source, call.name, args[1]), call.at)


def _epoch_ms(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    moment = MOMENT.check(source, call.name, args[0])
    moment = cast(moment, TIMESTAMP) if moment.type.kind is Kind.DATE else moment
    return Apply(INT64, "epoch_ms", (moment,), call.at)


def _strptime(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    text = TEXT.check(source, call.name, args[0])
    style = replace(TEXT_LITERAL, complaint=_parse_format).check(source, call.name, args[1])
    zoned = isinstance(style, Constant) and re.search(r"(?<!%)(?:%%)*%z", str(style.value))
    return Apply(TimestampType("us", "UTC" if zoned else ""), "strptime", (text, style), call.at)


TEMPORAL_FUNCTIONS: Final[Mapping[str, Function]] = {
    "date_part": Function(2, 2, _date_part),
    "extract": Function(2, 2, _date_part),
    **{name: Function(1, 1, _part) for name in PARTS},
    "date_trunc": Function(2, 2, _date_trunc),
    "date_diff": Function(3, 3, _date_diff),
    "date_add": Function(2, 2, _date_add),
    "strptime": Function(2, 2, _strptime),
    "to_timestamp": Function(2, 2, _strptime),
    "strftime": function("strftime", MOMENT, TEXT_LITERAL, result=TEXT.type),
    "epoch_ms": Function(1, 1, _epoch_ms),
    "from_epoch_ms": function("from_epoch_ms", INTEGER, result=TimestampType("ms")),
}
