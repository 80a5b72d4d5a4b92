"""The ``enrich`` step as people configure it, with the lookups that there are. No Arrow here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, create_model, model_validator

from dataflow.connect import (
    AskingSpec,
    Duration,
    LookupOptions,
    LookupSpec,
    OnError,
    Options,
    Problem,
    TransformSpec,
    TransformStep,
    Wanted,
)
from dataflow.connect.columns import ColumnTypes, type_problem
from dataflow.connect.expressions import typed
from dataflow.connect.types import Kind, Type
from dataflow.transforms.key_columns import key_problems
from dataflow.transforms.naming import Name, named_badly

LONGEST = timedelta(days=366)
_NESTED = frozenset({Kind.LIST, Kind.STRUCT, Kind.OPAQUE, Kind.INTERVAL, Kind.NULL, Kind.BYTES})
"""What is not read out of a text."""

Age = Annotated[Duration, Field(ge=timedelta(0), le=LONGEST)]


class EnrichOptions(Options):
    """Which columns are looked up by which keys, and where."""

    known: ClassVar[Mapping[str, LookupSpec[Any]]] = {}

    keys: tuple[Name, ...] = Field(min_length=1, description="Columns whose values are looked up.")
    columns: ColumnTypes = Field(
        min_length=1,
        description="Columns that are added and their types, as the lookup names them.",
    )
    prefix: str = Field("", max_length=100, description="Put before the names of added columns.")
    missing: Literal["null", "drop", "fail", "dead-letter"] = Field(
        "null",
        description="A row whose key is not known goes out with NULLs, is filtered, or is refused:"
        " fail and dead-letter say also what onError is.",
    )
    ttl: Age = Field(timedelta(minutes=5), description="How long an answer is kept.")
    missing_ttl: Age = Field(
        timedelta(seconds=30), description="How long it is kept that a key is not known."
    )
    cache_rows: int = Field(
        100_000, ge=0, le=100_000_000, description="Keys whose answers are kept; the oldest go."
    )
    cache_bytes: int = Field(
        64 << 20, ge=0, le=1 << 40, description="Bytes that kept answers may take."
    )

    @model_validator(mode="after")
    def _refuse_as_told(self) -> Self:
        """Let ``missing`` say what happens to refused rows, where nothing else does."""
        if self.missing not in {"fail", "dead-letter"}:
            return self
        wanted = OnError(self.missing)
        if self.on_error not in {OnError.UNSPECIFIED, wanted}:
            raise ValueError(f"missing is {wanted}, and onError {self.on_error}; give one of them")
        object.__setattr__(self, "on_error", wanted)  # before anybody sees it
        return self


def spec(lookups: Sequence[LookupSpec[Any]]) -> TransformSpec[Any]:
    """Return the spec of ``enrich`` for the lookups that there are."""
    union: Any = reduce(or_, (lookup.options for lookup in lookups))
    place = Field(discriminator="type") if len(lookups) > 1 else Field()
    described = Field(description="Where to ask: its type, and what that needs.")
    model = create_model(
        "EnrichOptions",
        __base__=EnrichOptions,
        __doc__=EnrichOptions.__doc__,
        lookup=(Annotated[union, place], described),
    )
    model.known = {lookup.name: lookup for lookup in lookups}
    return TransformSpec(
        name="enrich",
        summary="Columns that are looked up by keys: in a file, a database or over HTTP.",
        options=model,
        open="dataflow.transforms.enrich:open_enrich",
        check=_check,
        schema=_schema,
        lanes=True,
    )


SPEC = AskingSpec(name="enrich", made=spec)


def lookup_of(options: EnrichOptions) -> tuple[LookupSpec[Any], LookupOptions, Wanted]:
    """Return who is asked, how, and for what."""
    lookup: LookupOptions = options.lookup  # type: ignore[attr-defined]  # of the made model
    return options.known[lookup.type], lookup, Wanted(options.keys, options.columns)


def _check(
    _: TransformStep, options: EnrichOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    types = typed(columns)
    found = [*key_problems("keys", options.keys, types), *_column_problems(options, types)]
    asked, lookup, wanted = lookup_of(options)
    below = asked.check(lookup, wanted)
    return [*found, *(Problem(f"options.lookup.{each.field}", each.message) for each in below)]


def _column_problems(options: EnrichOptions, types: Mapping[str, Type] | None) -> Iterator[Problem]:
    for name, text in options.columns.items():
        path, out = f"options.columns.{name}", options.prefix + name
        yield from named_badly(path, out)
        if message := type_problem(text, _impossible):
            yield Problem(path, message)
        if types is not None and out in types:
            message = f"{out!r} comes in already; give a prefix, or drop it in a map before"
            yield Problem(path, message)


def _impossible(of: Type) -> str:
    return f"no lookup answers with {of}" if of.kind in _NESTED else ""


def _schema(options: EnrichOptions, columns: Mapping[str, str]) -> Mapping[str, str]:
    added = {options.prefix + name: text for name, text in options.columns.items()}
    return {**columns, **added}
