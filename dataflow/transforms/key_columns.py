"""Columns that options name as keys or times, by their types alone. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataflow.connect import Problem
from dataflow.connect.types import Kind, Type
from dataflow.transforms.naming import unknown

NO_KEYS = frozenset({Kind.LIST, Kind.STRUCT, Kind.OPAQUE, Kind.INTERVAL})
TIMES = frozenset({Kind.TIMESTAMP, Kind.DATE})


def key_problems(
    option: str, names: Sequence[str], types: Mapping[str, Type] | None
) -> Iterator[Problem]:
    """Find keys that are named twice, not there, or of a type that no key can be of."""
    for at, name in enumerate(names):
        field = f"options.{option}[{at}]"
        if name in names[:at]:
            yield Problem(field, f"{name!r} is named twice")
        yield from unknown(field, name, types)
        if types is not None and name in types and types[name].kind in NO_KEYS:
            message = (
                f"{name!r} is {types[name]}, which no key can be; take a field of it, or cast it"
            )
            yield Problem(field, f"{message}, in a map before")


def time_problems(option: str, name: str, types: Mapping[str, Type] | None) -> Iterator[Problem]:
    """Find a column of times that is not there or holds none."""
    field = f"options.{option}"
    yield from unknown(field, name, types)
    if types is not None and name in types and types[name].kind not in TIMES:
        yield Problem(
            field, f"{name!r} is {types[name]}; give one of timestamps, or cast it in a map"
        )
