"""The ``push`` source as people configure it: records sent to the server. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from dataflow.connect import (
    OnError,
    Options,
    Pinned,
    Position,
    Problem,
    SourceSpec,
    SourceStep,
)
from dataflow.connect.columns import (
    COLUMNS_MAX,
    TAKEN,
    ColumnTypes,
    PinnedColumn,
    type_problem,
)
from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import Kind, Type

BUFFER_BYTES, BUFFER_BYTES_MIN, BUFFER_BYTES_MAX = 1 << 30, 1 << 20, 1 << 40
"""A gigabyte is an hour of 3,000 records of 100 B a second."""

_UNWRITTEN = {Kind.NULL, Kind.DURATION, Kind.INTERVAL}


class PushOptions(Options):
    """What may be pushed, and how much may wait."""

    types: ColumnTypes = Field(
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


class PushPinned(Pinned):
    """The columns of every record of a lineage."""

    columns: tuple[PinnedColumn, ...]


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
        problem = TAKEN if name in HIDDEN else type_problem(text, _impossible)
        if problem:
            problems.append(Problem(f"options.schema.{name}", problem))
    return problems


def _impossible(of: Type) -> str:
    return f"a pushed record cannot hold {of}" if of.kind in _UNWRITTEN else ""


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
