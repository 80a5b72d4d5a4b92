"""Which type can be cast to which; how it is done is the affair of ``kernels.casts``."""

from __future__ import annotations

from typing import Final

from dataflow.expressions.types import (
    INTEGERS,
    NUMBERS,
    Kind,
    ListType,
    StructType,
    Type,
)

_TEXT_READS: Final = NUMBERS | {
    Kind.BOOL,
    Kind.BYTES,
    Kind.DATE,
    Kind.TIME,
    Kind.TIMESTAMP,
}
_TARGETS: Final = {
    Kind.STRING: _TEXT_READS,
    Kind.BYTES: frozenset({Kind.STRING}),
    Kind.BOOL: INTEGERS | {Kind.STRING},
    Kind.DATE: frozenset({Kind.TIMESTAMP, Kind.STRING}),
    Kind.TIME: frozenset({Kind.STRING}),
    Kind.TIMESTAMP: frozenset({Kind.DATE, Kind.TIME, Kind.STRING}),
    **dict.fromkeys(NUMBERS, NUMBERS | {Kind.STRING}),
    **dict.fromkeys(INTEGERS, NUMBERS | {Kind.STRING, Kind.BOOL}),
}
_REMEDIES: Final = {
    (Kind.TIMESTAMP, "number"): "write epoch_ms(…)",
    (Kind.DATE, "number"): "write epoch_ms(…)",
    ("number", Kind.TIMESTAMP): "write from_epoch_ms(…)",
    ("number", Kind.DATE): "write CAST(from_epoch_ms(…) AS date)",
    (Kind.DURATION, "number"): "write date_diff('second', a, b) instead of b - a",
    (Kind.STRUCT, Kind.STRING): "take one field of it: a.b",
}


def castable(source: Type, target: Type) -> bool:
    """Return whether a CAST from one type to the other has a meaning."""
    if isinstance(source, ListType) and isinstance(target, ListType):
        return castable(source.item, target.item)
    if isinstance(source, StructType) and isinstance(target, StructType):
        same = [name for name, _ in source.fields] == [name for name, _ in target.fields]
        pairs = zip(source.fields, target.fields, strict=False)
        return same and all(castable(one, two) for (_, one), (_, two) in pairs)
    if source == target or source.kind is Kind.NULL:
        return target.kind is not Kind.NULL or source == target
    if source.kind is target.kind:
        return source.kind not in {Kind.OPAQUE, Kind.INTERVAL}
    return target.kind in _TARGETS.get(source.kind, frozenset())


def remedy(source: Type, target: Type) -> str:
    """Return what to write instead of a CAST that has no meaning, or an empty text."""
    return _REMEDIES.get((_family(source), _family(target)), "")


def _family(of: Type) -> Kind | str:
    return "number" if of.kind in NUMBERS else of.kind
