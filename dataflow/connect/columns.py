"""The columns that a source's options declare, and those that it pins. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator

from dataflow.connect.model import Model
from dataflow.connect.types import DecimalType, Type, parse_type
from dataflow.core.errors import Rejected

COLUMNS_MAX = 10_000
"""A bound on what one spec or one batch can make a parser allocate; wide tables have hundreds."""

TAKEN = "the engine adds such a column"
"""What is wrong with a column whose name is in ``HIDDEN``."""

_DECIMAL128 = 38


class PinnedColumn(Model):
    """A column, and its type as expressions name it."""

    name: str
    type: str


def _mapped(given: Any) -> Any:  # noqa: ANN401 - what people wrote, before it is checked
    """Take the list form of a schema, whose order no JSON library can lose, as a mapping."""
    if not isinstance(given, list):
        return given
    names = [item.get("name") if isinstance(item, dict) else None for item in given]
    known = all(isinstance(item, dict) and item.keys() == {"name", "type"} for item in given)
    if not known or len(set(map(str, names))) != len(names):
        raise ValueError("use a list of {name, type}, each name once")
    return {item["name"]: item["type"] for item in given}


ColumnTypes = Annotated[dict[str, str], BeforeValidator(_mapped)]
"""Names of types by column, written as a mapping or as a list of ``{name, type}``."""


def type_problem(text: str, impossible: Callable[[Type], str]) -> str:
    """Return what is wrong with a declared type, or nothing.

    Args:
        text: the type as people write it.
        impossible: says why a source has no values of a type, or nothing.
    """
    try:
        of = parse_type(text)
    except Rejected as error:
        return error.message
    wide = isinstance(of, DecimalType) and of.precision > _DECIMAL128
    return impossible(of) or (f"use at most {_DECIMAL128} digits" if wide else "")
