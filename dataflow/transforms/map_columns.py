"""What a ``map`` does to columns, by their names and types alone; no rows and no Arrow here.

Followed when a pipeline is created, where the columns are known by then, and again with those of
the first batch: the same problems come out of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataflow.connect import Problem
from dataflow.connect.expressions import (
    Expression,
    ExpressionError,
    check,
    parse,
    quoted,
)
from dataflow.connect.types import Kind, Type, parse_type
from dataflow.transforms.map_options import MapOptions
from dataflow.transforms.naming import named_badly, unknown

ANY = Type(Kind.NULL)
"""Of a column with a problem: it goes with everything, so that one mistake is reported once."""

CONSTANT_KINDS: Mapping[type, Kind] = {
    bool: Kind.BOOL,
    int: Kind.INT64,
    float: Kind.FLOAT64,
    str: Kind.STRING,
}


@dataclass(frozen=True, slots=True)
class Computed:
    """A column and the expression that makes it."""

    name: str
    expression: Expression


class Columns:
    """Follows the options in the order in which they apply, gathering every problem.

    Attributes:
        problems: all that is wrong, by the path below the step.
        types: the columns that go out, in their order; of no meaning if there are problems or
            the incoming columns are not known.
        computed: what to compute, each over the columns that come in and those before it.
        renamed: whole columns, old name to new.
        extracted: fields taken out of columns, by the old names.
        cast: conversions that change something, by the new names.
    """

    def __init__(self, options: MapOptions, types: Mapping[str, Type] | None) -> None:
        self.problems: list[Problem] = []
        self.types = dict(types or {})
        self.computed: list[Computed] = []
        self.renamed: dict[str, str] = {}
        self.extracted: list[Computed] = []
        self.cast: list[Computed] = []
        self._known = types is not None
        self._compute(options.compute)
        self._rename(options.rename)
        self._cast(options.cast)
        for name, value in options.constants.items():
            self._may_be_named(f"constants.{name}", name)
            self.types[name] = Type(CONSTANT_KINDS[type(value)])
        self._drop(options.drop)
        if options.keep is not None:
            self._keep(options.keep)

    def _compute(self, compute: Mapping[str, str]) -> None:
        for name, text in compute.items():
            path = f"compute.{name}"
            self._may_be_named(path, name)
            made, of = self._parsed(path, name, text)
            if made is not None:
                self.computed.append(made)
            self.types[name] = of

    def _parsed(self, path: str, name: str, text: str) -> tuple[Computed | None, Type]:
        try:
            expression = parse(text)
            of = check(expression, self.types) if self._known else ANY
        except ExpressionError as error:
            self._add(path, error.message)
            return None, ANY
        return Computed(name, expression), of

    def _rename(self, rename: Mapping[str, str]) -> None:
        taken: dict[str, Type] = {}
        for old, new in rename.items():
            path = f"rename.{old}"
            self._may_be_named(path, new)
            if old in self.types:
                self.renamed[old] = new
            elif "." in old:
                text = ".".join(map(quoted, old.removeprefix("$.").split(".")))
                made, of = self._parsed(path, new, text)
                self.extracted += [made] if made else []
                taken[new] = of
            else:
                self._must_exist(path, old)
        names = [self.renamed.get(name, name) for name in self.types]
        every = [*names, *taken] if self._known else list(rename.values())
        for name in sorted({name for name in every if every.count(name) > 1}):
            self._add("rename", f"two columns would be named {name!r}; rename the other one too")
        self.types = {**dict(zip(names, self.types.values(), strict=True)), **taken}

    def _cast(self, cast: Mapping[str, str]) -> None:
        for name, text in cast.items():
            path = f"cast.{name}"
            try:
                target = parse_type(text)
            except ExpressionError as error:
                self._add(path, error.message)
                continue
            if not self._must_exist(path, name) or self.types[name] == target:
                continue
            expression = parse(f"CAST({quoted(name)} AS {target})")
            try:
                check(expression, self.types)
            except ExpressionError as error:
                remedy = f"; {error.remedy}" if error.remedy else ""
                self._add(path, f"{error.problem}{remedy}")
            self.cast.append(Computed(name, expression))
            self.types[name] = target

    def _drop(self, drop: Iterable[str]) -> None:
        for name in drop:
            if self._must_exist("drop", name):
                del self.types[name]
        if self._known and not self.types:
            self._add("drop", "no column would be left")

    def _keep(self, keep: Iterable[str]) -> None:
        kept: dict[str, Type] = {}
        for name in keep:
            if name in kept:
                self._add("keep", f"{name!r} is named twice")
            kept[name] = self.types[name] if self._must_exist("keep", name) else ANY
        self.types = kept

    def _may_be_named(self, option: str, name: str) -> None:
        self.problems += named_badly(f"options.{option}", name)

    def _must_exist(self, option: str, name: str) -> bool:
        self.problems += unknown(f"options.{option}", name, self.types if self._known else None)
        return name in self.types

    def _add(self, option: str, message: str) -> None:
        self.problems.append(Problem(f"options.{option}", message))
