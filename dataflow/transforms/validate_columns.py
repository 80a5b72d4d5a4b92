"""What a ``validate`` asks, by the names and types of columns alone; no rows and no Arrow here.

Followed when a pipeline is created, where the columns are known by then, and again with those of
the first batch: the same problems come out of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dataflow.connect import Problem
from dataflow.connect.expressions import (
    Expression,
    ExpressionError,
    check,
    listing,
    parse,
    quoted,
)
from dataflow.connect.types import Kind, Type, parse_type
from dataflow.transforms.naming import named_badly
from dataflow.transforms.validate_options import Column, ValidateOptions
from dataflow.transforms.wider import is_wider

EXACT_KINDS = frozenset({Kind.NULL, Kind.STRING})
"""From and to these a value is written or read as it is; no rounding could hide in between."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must not be false for a row.

    Attributes:
        option: which of the column's options asks it.
        said: what is wrong where it is false, behind the value.
    """

    column: str
    option: str
    holds: Expression
    said: str

    @property
    def before(self) -> bool:
        """Tell whether it is asked of what comes in, not of what the type has made of it."""
        return self.option in {"type", "nullable"}


class Columns:
    """Follows the options, gathering every problem.

    Attributes:
        problems: all that is wrong, by the path below the step.
        types: the columns that go out, in their order; of no meaning if there are problems or
            the incoming columns are not known.
        casts: columns that change their types, and how.
        rules: what is asked of each row.
        added: columns that do not come in, which go out as NULL.
    """

    def __init__(self, options: ValidateOptions, types: Mapping[str, Type] | None) -> None:
        self.problems: list[Problem] = []
        self.casts: dict[str, Expression] = {}
        self.rules: list[Rule] = []
        self.added: dict[str, Type] = {}
        self._options = options
        self._before = types
        self.types = self._kept(types or {})
        for name, column in options.columns.items():
            path = f"options.columns.{name}"
            self.problems += named_badly(path, name)
            of = self._declared(f"{path}.type", column)
            if types is not None and name not in types:
                self._missing(path, name, of)
            elif types is not None:
                self.types[name] = self._converted(f"{path}.type", name, of)
            elif of is not None:
                self.types[name] = of
            self._ask(path, name, column)

    def _kept(self, types: Mapping[str, Type]) -> dict[str, Type]:
        known = self._options.columns
        unknown = [name for name in types if name not in known]
        if unknown and self._options.unknown == "fail":
            remedy = "name them here, or let unknown be keep or drop"
            self._add("options.columns", f"unknown columns come in: {listing(unknown)}; {remedy}")
        keep = self._options.unknown == "keep"
        return {name: of for name, of in types.items() if keep or name in known}

    def _declared(self, path: str, column: Column) -> Type | None:
        if self._options.missing == "null" and not column.required:
            if column.type is None:
                self._add(path, "give the type of what is missing, or make the column required")
            if not column.nullable:
                message = "every row would be NULL where the column is missing; make it required"
                self._add(path.removesuffix("type") + "nullable", message)
        if column.type is None:
            return None
        try:
            return parse_type(column.type)
        except ExpressionError as error:
            self._add(path, error.message)
            return None

    def _missing(self, path: str, name: str, of: Type | None) -> None:
        if self._options.columns[name].required or self._options.missing == "fail":
            self._add(path, f"the column does not come in; there are {listing(self._before or ())}")
        if of is not None:
            self.types[name] = self.added[name] = of

    def _converted(self, path: str, name: str, of: Type | None) -> Type:
        """Return the type in which a column goes out; notes how it comes to be of that type."""
        before = self.types[name]
        if of is None or of == before or (self._options.widen and is_wider(before, than=of)):
            return before
        column = quoted(name)
        exact = parse(f"CAST(TRY_CAST({column} AS {of}) AS {before}) = {column}")
        try:
            cast = parse(f"CAST({column} AS {of})")
            check(cast, {name: before})
            if not EXACT_KINDS & {before.kind, of.kind}:
                check(exact, {name: before})
                self.rules.append(Rule(name, "type", exact, f"is no {of}"))
        except ExpressionError as error:
            self._add(path, f"it comes in as {before}; {error.problem}")
            return before
        self.casts[name] = cast
        return of

    def _ask(self, path: str, name: str, column: Column) -> None:
        for option, holds, said in _asked(quoted(name), column):
            try:
                rule = Rule(name, option, parse(holds), said)
                if name in self.types and name not in self.added:
                    check(rule.holds, self.types)
            except ExpressionError as error:
                self._add(f"{path}.{option}", told(error))
            else:
                self.rules += [] if name in self.added else [rule]

    def _add(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))


def told(error: ExpressionError) -> str:
    """Return what is wrong, without the place in a text that its user never wrote."""
    return f"{error.problem}; {error.remedy}" if error.remedy else error.problem


def _asked(column: str, asked: Column) -> Iterator[tuple[str, str, str]]:
    """Return the options, what each asks as an expression, and what is wrong without it."""
    if not asked.nullable:
        yield "nullable", f"{column} IS NOT NULL", "is NULL"
    if asked.min is not None:
        yield "min", f"{column} >= {_literal(asked.min)}", f"is less than {asked.min}"
    if asked.max is not None:
        yield "max", f"{column} <= {_literal(asked.max)}", f"is more than {asked.max}"
    if asked.pattern is not None:
        matches = f"regexp_matches({column}, {_literal(asked.pattern)})"
        yield "pattern", matches, f"does not match {asked.pattern}"
    if asked.enum is not None:
        values = listing([_literal(value) for value in asked.enum])
        listed = ", ".join(map(_literal, asked.enum))
        yield "enum", f"{column} IN ({listed})", f"is none of {values}"
    if asked.length_min is not None:
        least = asked.length_min
        yield "lengthMin", f"length({column}) >= {least}", f"is shorter than {least}"
    if asked.length_max is not None:
        most = asked.length_max
        yield "lengthMax", f"length({column}) <= {most}", f"is longer than {most}"


def _literal(value: float | str) -> str:
    """Return a value as an expression writes it; true is no number here."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value).upper() if isinstance(value, bool) else repr(value)
