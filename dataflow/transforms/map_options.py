"""The options of ``map``, in the order in which they apply."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from pydantic import WithJsonSchema as Shown

from dataflow.connect import Options
from dataflow.transforms.naming import Name

_TEXT = {"type": "string"}
_BY_NAME = {"type": "object", "additionalProperties": _TEXT}
_IN_ORDER = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": _TEXT, "expression": _TEXT},
        "required": ["name", "expression"],
        "additionalProperties": False,
    },
}

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def _by_name(given: Any) -> Any:  # noqa: ANN401 - what people wrote, before it is checked
    """Take the list form, whose order no JSON library can lose, as a mapping."""
    if not isinstance(given, list):
        return given
    keys = {"name", "expression"}
    if not all(isinstance(item, dict) and item.keys() == keys for item in given):
        raise ValueError("use an object of name: expression, or a list of {name, expression}")
    names = [str(item["name"]) for item in given]
    if len(set(names)) != len(names):
        raise ValueError("a name is used twice; the later expression would hide the earlier one")
    return {item["name"]: item["expression"] for item in given}


InOrder = Annotated[
    dict[Name, str], BeforeValidator(_by_name), Shown({"anyOf": [_BY_NAME, _IN_ORDER]})
]
"""Expressions by the names of the columns that they make, in their order."""


def int64(given: object) -> object:
    """Refuse a whole number that no column can hold."""
    if isinstance(given, int) and not INT64_MIN <= given <= INT64_MAX:
        raise ValueError("an integer has 64 bits; write a larger number as text")
    return given


Constant = Annotated[StrictBool | StrictInt | StrictFloat | StrictStr, AfterValidator(int64)]


class MapOptions(Options):
    """How columns change; the options apply in the order in which they stand here."""

    compute: InOrder = Field(
        default_factory=dict,
        description="1. New columns by expressions over the columns that come in and those"
        " computed before; one that has the name of a column takes its place.",
    )
    rename: dict[Name, Name] = Field(
        default_factory=dict,
        description="2. New names, all at once. A path as a.b takes the field b out of the column"
        " a, which stays.",
    )
    cast: dict[Name, Name] = Field(
        default_factory=dict, description="3. Other types, by the new names, as in int64."
    )
    constants: dict[Name, Constant] = Field(
        default_factory=dict,
        description="4. Columns of one value; one that has the name of a column takes its place.",
    )
    drop: tuple[Name, ...] = Field((), description="5. Columns that do not go out.")
    keep: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        description="6. The columns that go out, in this order; all that are left by default.",
    )
