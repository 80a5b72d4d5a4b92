"""The options of ``validate``: what is asked of columns, and of which columns there are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, StrictStr

from dataflow.connect import Model, Options
from dataflow.transforms.map_options import Constant, int64
from dataflow.transforms.naming import Name

LENGTH_MAX = 1 << 31
ENUM_MAX = 10_000
"""Values of one enumeration; more of them belong in a table that is joined."""

Bound = Annotated[
    Annotated[StrictInt, AfterValidator(int64)]
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    | StrictStr,
    Field(description="A number; for a date, a moment or a text write it as a text."),
]


class Column(Model):
    """What is asked of one column; NULL passes everything but ``nullable``."""

    type: str | None = Field(
        None,
        description="The type in which the column goes out, as in int64; a value that cannot be had"
        " in it without loss is refused.",
    )
    required: bool = Field(
        default=False, description="Whether the pipeline fails where the column does not come in."
    )
    nullable: bool = Field(default=True, description="Whether the column may hold NULL.")
    min: Bound | None = Field(None, description="The least value.")
    max: Bound | None = Field(None, description="The greatest value.")
    pattern: str | None = Field(
        None,
        min_length=1,
        description="An expression of RE2 that is found in the text; ^ and $ ask for all of it.",
    )
    enum: tuple[Constant, ...] | None = Field(
        None, min_length=1, max_length=ENUM_MAX, description="The values that there may be."
    )
    length_min: int | None = Field(
        None, ge=0, le=LENGTH_MAX, description="Of a text in characters, of a list in items."
    )
    length_max: int | None = Field(
        None, ge=0, le=LENGTH_MAX, description="Of a text in characters, of a list in items."
    )


class ValidateOptions(Options):
    """Rows that do not fit are refused, each with everything that is wrong with it."""

    columns: dict[Name, Column] = Field(min_length=1, description="What is asked, by column.")
    unknown: Literal["keep", "drop", "fail"] = Field(
        "keep", description="What happens to columns that are not named here."
    )
    missing: Literal["fail", "null"] = Field(
        "fail",
        description="What happens where a column that is not required does not come in: the"
        " pipeline fails, or the column goes out as NULLs of its type, behind the others.",
    )
    widen: bool = Field(
        default=False,
        description="Whether a column that comes in a wider type than its own (int64 for int32)"
        " goes out in that; otherwise each value has to fit.",
    )
