"""The ``generator`` source as people configure it. Imports no Arrow.

For tests and benchmarks: rows that depend on the seed and their number alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from dataflow.connect import Duration, Model, Options, Position, Problem, SourceSpec, SourceStep

ROWS_MAX = 10**15
"""Thirty years at a million rows a second."""

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

Name = Annotated[str, Field(min_length=1, max_length=200, description="of the column")]


class Sequential(Model):
    """Count up from ``start``: the row's own number by default."""

    name: Name
    kind: Literal["sequence"]
    start: int = Field(default=0, ge=-ROWS_MAX, le=ROWS_MAX)


class Integer(Model):
    """Draw a whole number between ``min`` and ``max``, both included."""

    name: Name
    kind: Literal["integer"]
    min: int = Field(default=0, ge=INT64_MIN, le=INT64_MAX)
    max: int = Field(default=1_000_000, ge=INT64_MIN, le=INT64_MAX)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class Float(Model):
    """Draw a number from ``min`` up to, but not including, ``max``."""

    name: Name
    kind: Literal["float"]
    min: float = Field(default=0.0, allow_inf_nan=False, ge=-1e150, le=1e150)
    max: float = Field(default=1.0, allow_inf_nan=False, ge=-1e150, le=1e150)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class Choice(Model):
    """Draw one of a few texts."""

    name: Name
    kind: Literal["choice"]
    choices: tuple[str, ...] = Field(min_length=1, max_length=1_000)


class Text(Model):
    """Draw ``length`` hexadecimal digits."""

    name: Name
    kind: Literal["string"]
    length: int = Field(default=16, ge=1, le=1_024)


class Timestamp(Model):
    """Go forward from ``start`` by ``step`` a row."""

    name: Name
    kind: Literal["timestamp"]
    start: AwareDatetime = datetime(2026, 1, 1, tzinfo=UTC)
    step: Duration = timedelta(seconds=1)


Column = Annotated[
    Sequential | Integer | Float | Choice | Text | Timestamp, Field(discriminator="kind")
]

DEFAULT_COLUMNS: tuple[Sequential | Integer | Float | Choice | Text | Timestamp, ...] = (
    Sequential(name="id", kind="sequence"),
    Timestamp(name="time", kind="timestamp"),
    Choice(name="country", kind="choice", choices=("DE", "FR", "GB", "JP", "US")),
    Float(name="amount", kind="float", max=1_000.0),
)
"""An order, roughly: a key, a moment, something to group by and something to add up."""


class GeneratorOptions(Options):
    """What rows, how many, how fast."""

    rows: int = Field(default=0, ge=0, le=ROWS_MAX, description="How many; 0 never ends.")
    rows_per_second: int = Field(
        default=0, ge=0, le=1_000_000_000, description="How fast; 0 is as fast as they are taken."
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**63 - 1,
        description="Another seed, other rows; the same one, the same rows.",
    )
    columns: tuple[Column, ...] = Field(
        default=DEFAULT_COLUMNS, min_length=1, max_length=200, description="What a row is made of."
    )


class GeneratorPosition(Position):
    """The number of the next row."""

    row: int = Field(default=0, ge=0)


_TYPES: Mapping[str, str] = {
    "sequence": "int64",
    "integer": "int64",
    "float": "float64",
    "choice": "string",
    "string": "string",
    "timestamp": "timestamptz",
}


def _check(step: SourceStep, options: GeneratorOptions) -> Sequence[Problem]:
    problems = []
    if step.connection_string:
        problems.append(Problem("connectionString", "leave it empty: rows are made, not read"))
    counted = Counter(column.name for column in options.columns)
    problems += [
        Problem("options.columns", f"two columns are named {name!r}")
        for name, count in counted.items()
        if count > 1
    ]
    return problems


def _schema(options: GeneratorOptions) -> Mapping[str, str]:
    return {column.name: _TYPES[column.kind] for column in options.columns}


SPEC = SourceSpec(
    name="generator",
    summary="Made-up rows at a rate, the same ones for the same seed.",
    options=GeneratorOptions,
    open="dataflow.connectors.generator_source:open_source",
    position=GeneratorPosition,
    check=_check,
    schema=_schema,
)
