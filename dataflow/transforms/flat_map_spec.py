"""The ``flatMap`` transform as people configure it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from dataflow.connect import Options, Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import typed
from dataflow.connect.types import Kind, ListType, Type
from dataflow.transforms.naming import Name, named_badly, unknown


class FlatMapOptions(Options):
    """Which column holds many, and what goes out beside each item."""

    column: Name = Field(
        description="A list, or with a delimiter a text: a row goes out for each item."
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1_000,
        description="What stands between the items of a text, taken as it is, as in ', '.",
    )
    into: Name | None = Field(
        None,
        description="The name of the items' column; the list's by default, whose place it takes.",
    )
    keep_parent: bool = Field(
        default=True, description="Whether the other columns of the record go out beside each item."
    )
    keep: tuple[Name, ...] | None = Field(
        None, description="The other columns that go out, if not all; needs keepParent."
    )
    empty: Literal["drop", "null"] = Field(
        "drop",
        description="A record without items (an empty list, an empty text, NULL) is filtered, or"
        " goes out once with NULL for an item.",
    )
    items_max: int = Field(
        100_000,
        ge=1,
        le=100_000_000,
        description="Items of one record; one with more is refused, for it may be a mistake.",
    )


def problems(options: FlatMapOptions, types: Mapping[str, Type] | None) -> Sequence[Problem]:
    """Return what is wrong with the options, also with columns where they are known."""
    found = [*unknown("options.column", options.column, types)]
    if types is not None and options.column in types:
        found += _no_items(options, types[options.column])
    for name in options.keep or ():
        found += unknown("options.keep", name, types)
    if options.keep is not None and not options.keep_parent:
        found.append(Problem("options.keep", "keepParent is false; leave one of both out"))
    if options.column in (options.keep or ()):
        message = f"{options.column!r} goes out as its items; copy it in a map before"
        found.append(Problem("options.keep", message))
    into = item_name(options)
    found += named_badly("options.into", options.into or "")
    if types is not None and into != options.column and into in kept(options, types):
        found.append(Problem("options.into", f"there is a column {into!r} already; choose another"))
    return found


def item_name(options: FlatMapOptions) -> str:
    """Return the name of the items' column."""
    return options.into or options.column


def kept(options: FlatMapOptions, names: Mapping[str, object]) -> Sequence[str]:
    """Return the columns that go out, in their order; the list's stands for its items'."""
    others = () if not options.keep_parent else options.keep if options.keep is not None else names
    return [name for name in names if name in others or name == options.column]


def _no_items(options: FlatMapOptions, of: Type) -> Sequence[Problem]:
    is_text = of.kind is Kind.STRING
    if of.kind is Kind.NULL or (options.delimiter is None and isinstance(of, ListType)):
        return []
    if options.delimiter is None:
        remedy = "give the delimiter of its items" if is_text else "name a list"
        return [Problem("options.column", f"{options.column!r} is of type {of}; {remedy}")]
    if is_text:
        return []
    remedy = "leave it out for a list" if isinstance(of, ListType) else "name a text"
    return [Problem("options.delimiter", f"{options.column!r} is of type {of}; {remedy}")]


def _check(
    _: TransformStep, options: FlatMapOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    return problems(options, typed(columns))


def _schema(options: FlatMapOptions, columns: Mapping[str, str]) -> Mapping[str, str] | None:
    types = typed(columns)
    if types is None:
        return None
    of = types[options.column]
    item = of.item if isinstance(of, ListType) else of
    into = item_name(options)
    return {
        into if name == options.column else name: str(item)
        if name == options.column
        else columns[name]
        for name in kept(options, columns)
    }


SPEC = TransformSpec(
    name="flatMap",
    summary="A row for each item of a list or of a delimited text.",
    options=FlatMapOptions,
    open="dataflow.transforms.flat_map:open_flat_map",
    check=_check,
    schema=_schema,
    lanes=True,
)
