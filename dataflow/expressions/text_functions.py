"""The functions on text. Positions and lengths count characters, from 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from dataflow.expressions.bound import Apply, Bound
from dataflow.expressions.errors import Source
from dataflow.expressions.signatures import (
    INTEGER_LITERAL,
    TEXT,
    TEXT_LITERAL,
    Function,
    Parameter,
    function,
)
from dataflow.expressions.tree import Call
from dataflow.expressions.types import BOOL, INT64, STRING, Kind
from dataflow.expressions.widen import cast

PAD_MAX = 1_000  # characters: wider than any column of a report; 100 MB for 100,000 rows

_SPOKEN: Final = frozenset(Kind) - {
    Kind.BYTES,
    Kind.DURATION,
    Kind.INTERVAL,
    Kind.LIST,
    Kind.OPAQUE,
    Kind.STRUCT,
}


def _start(value: object) -> str:
    return "" if value else "counts from 1, or from -1 at the end"


def _count(value: object) -> str:
    return "" if isinstance(value, int) and value >= 0 else "needs a length of 0 or more"


def _width(value: object) -> str:
    fits = isinstance(value, int) and 0 <= value <= PAD_MAX
    return "" if fits else f"pads to between 0 and {PAD_MAX:,} characters"


def _one_character(value: object) -> str:
    return "" if len(str(value)) == 1 else "pads with one character"


def _not_empty(value: object) -> str:
    return "" if value else "needs a separator of at least one character"


def _rewrite(value: object) -> str:
    bad = re.search(r"\\(?:[^0-9\\]|\Z)", re.sub(r"\\\\", "", str(value)))
    return r"refers to a group as \1 and writes a backslash as \\" if bad else ""


def _flags(value: object) -> str:
    return "" if value in {"", "i"} else "knows one flag: 'i', to ignore case"


def _concat(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    for node in args:
        if node.type.kind not in _SPOKEN:
            raise source.error(f"concat() can't write {node.type} as text", node.at)
    return Apply(STRING, "concat", tuple(cast(node, STRING) for node in args), call.at)


def _length(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
    kinds = frozenset({Kind.STRING, Kind.BYTES, Kind.LIST})
    node = Parameter("text, bytes or a list", kinds, STRING).check(source, call.name, args[0])
    op = {Kind.STRING: "length", Kind.BYTES: "byte_length"}.get(node.type.kind, "list_length")
    return Apply(INT64, op, (node,), call.at)


_SLICE: Final = function(
    "substring",
    TEXT,
    replace(INTEGER_LITERAL, complaint=_start),
    replace(INTEGER_LITERAL, complaint=_count),
    optional=1,
)
_PADDING: Final = (
    TEXT,
    replace(INTEGER_LITERAL, complaint=_width),
    replace(TEXT_LITERAL, complaint=_one_character),
)

TEXT_FUNCTIONS: Final[Mapping[str, Function]] = {
    "lower": function("lower", TEXT),
    "upper": function("upper", TEXT),
    "trim": function("trim", TEXT, TEXT_LITERAL, optional=1),
    "ltrim": function("ltrim", TEXT, TEXT_LITERAL, optional=1),
    "rtrim": function("rtrim", TEXT, TEXT_LITERAL, optional=1),
    "reverse": function("reverse", TEXT),
    "length": Function(1, 1, _length),
    "substr": _SLICE,
    "substring": _SLICE,
    "replace": function("replace", TEXT, TEXT_LITERAL, TEXT_LITERAL),
    "contains": function("contains", TEXT, TEXT_LITERAL, result=BOOL),
    "starts_with": function("starts_with", TEXT, TEXT_LITERAL, result=BOOL),
    "ends_with": function("ends_with", TEXT, TEXT_LITERAL, result=BOOL),
    "position": function("position", TEXT_LITERAL, TEXT, result=INT64),
    "concat": Function(1, None, _concat),
    "split_part": function(
        "split_part",
        TEXT,
        replace(TEXT_LITERAL, complaint=_not_empty),
        replace(INTEGER_LITERAL, complaint=_start),
    ),
    "lpad": function("lpad", *_PADDING, optional=1),
    "rpad": function("rpad", *_PADDING, optional=1),
    "regexp_matches": function(
        "regexp_matches",
        TEXT,
        TEXT_LITERAL,
        replace(TEXT_LITERAL, complaint=_flags),
        optional=1,
        result=BOOL,
    ),
    "regexp_replace": function(
        "regexp_replace", TEXT, TEXT_LITERAL, replace(TEXT_LITERAL, complaint=_rewrite)
    ),
}
