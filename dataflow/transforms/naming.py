"""What options may call columns. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from dataflow.connect import Problem
from dataflow.connect.expressions import listing
from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import Type

Name = Annotated[str, Field(min_length=1, max_length=1_000)]


def named_badly(option: str, name: str) -> Sequence[Problem]:
    """Return what is wrong with a new column's name."""
    if name not in HIDDEN:
        return []
    return [Problem(option, f"{name!r} is a name of the engine's own; choose another")]


def unknown(option: str, name: str, types: Mapping[str, Type] | None) -> Sequence[Problem]:
    """Return what is wrong with naming a column that comes in; ``types`` where they are known."""
    if named := named_badly(option, name):
        return named
    if types is None or name in types:
        return []
    return [Problem(option, f"unknown column {name!r}; there are {listing(types)}")]
