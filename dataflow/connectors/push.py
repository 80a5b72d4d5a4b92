"""The ``push`` source as people configure it: records sent to the server. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dataflow.connect import (
    Model,
    OnError,
    Options,
    Pinned,
    Position,
    Problem,
    Rejected,
    SourceSpec,
    SourceStep,
)
from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import DecimalType, Kind, parse_type

COLUMNS_MAX = 10_000
"""A bound on what one spec can make a parser allocate; wide tables have hundreds."""

BUFFER_BYTES, BUFFER_BYTES_MIN, BUFFER_BYTES_MAX = 1 << 30, 1 << 20, 1 << 40
"""A gigabyte is an hour of 3,000 records of 100 B a second."""

_UNWRITTEN = {Kind.NULL, Kind.DURATION, Kind.INTERVAL}
_DECIMAL128 = 38


def _columns(given: Any) -> Any:  # noqa: ANN401 - what people wrote, before it is checked
    """Take the list form of a schema, whose order no JSON library can lose, as a mapping."""
    if not isinstance(given, list):
        return given
    names = [item.get("name") if isinstance(item, dict) else None for item in given]
    known = all(isinstance(item, dict) and item.keys() == {"name", "type"} for item in given)
    if not known or len(set(map(str, names))) != len(names):
        raise ValueError("use a list of {name, type}, each name once")
    return {item["name"]: item["type"] for item in given}


class PushOptions(Options):
    """What may be pushed, and how much may wait."""

    types: Annotated[dict[str, str], BeforeValidator(_columns)] = Field(
        {},
        alias="schema",
        max_length=COLUMNS_MAX,
        description="Types by column, or a list of {name, type}. A record that does not fit is"
        " refused, with its batch. By default as in the first batch.",
    )
    buffer_bytes: int = Field(
        BUFFER_BYTES,
        ge=BUFFER_BYTES_MIN,
        le=BUFFER_BYTES_MAX,
        description="How much may wait to be processed; beyond it senders are told to slow down.",
    )


class PushPosition(Position):
    """The offset of the next record."""

    offset: int = Field(default=0, ge=0)


class PushColumn(Model):
    """A column, and its type as expressions name it."""

    name: str
    type: str


class PushPinned(Pinned):
    """The columns of every record of a lineage."""

    columns: tuple[PushColumn, ...]


def check(step: SourceStep, options: PushOptions) -> Sequence[Problem]:
    """Return what is wrong with options that each look right alone."""
    problems = []
    if step.connection_string:
        message = "leave it empty: records come by POST /api/v1/pipelines/{id}/batches"
        problems.append(Problem("connectionString", message))
    if options.on_error in {OnError.SKIP, OnError.DEAD_LETTER}:
        message = "a batch with a bad record is refused as a whole, so that its sender can mend it"
        problems.append(Problem("options.onError", message))
    for name, text in options.types.items():
        problem = "the engine adds such a column" if name in HIDDEN else _type_problem(text)
        if problem:
            problems.append(Problem(f"options.schema.{name}", problem))
    return problems


def _type_problem(text: str) -> str:
    try:
        of = parse_type(text)
    except Rejected as error:
        return error.message
    if of.kind in _UNWRITTEN:
        return f"a pushed record cannot hold {of}"
    wide = isinstance(of, DecimalType) and of.precision > _DECIMAL128
    return f"use at most {_DECIMAL128} digits" if wide else ""


def _schema(options: PushOptions) -> Mapping[str, str] | None:
    return options.types or None


SPEC = SourceSpec(
    name="push",
    summary="Records sent to the server, durable before they are acknowledged.",
    options=PushOptions,
    open="dataflow.connectors.push_source:open_source",
    position=PushPosition,
    pinned=PushPinned,
    check=check,
    schema=_schema,
)
