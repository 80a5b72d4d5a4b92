"""The ``aggregate`` step as a pipeline is checked against it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataflow.connect import Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import ExpressionError, typed
from dataflow.connect.transform import HIDDEN, MAIN
from dataflow.connect.types import DecimalType, Kind, TimestampType, Type
from dataflow.transforms.aggregate.calls import DECIMAL_DIGITS, read
from dataflow.transforms.aggregate.options import LATE, AggregateOptions, WindowOptions
from dataflow.transforms.key_columns import key_problems, time_problems

PANES_MAX = 10_000
"""Windows that one row is in: beyond, a window takes longer to add up than its slide lasts."""

_LENGTHS: Mapping[str, frozenset[str]] = {
    "tumbling": frozenset({"size"}),
    "sliding": frozenset({"size", "slide"}),
    "session": frozenset({"gap"}),
}


def schema_of(options: AggregateOptions, types: Mapping[str, Type]) -> dict[str, Type]:
    """Return the columns that go out, where ``problems_of`` finds nothing wrong."""
    columns = {name: types[name] for name in options.group_by}
    window = options.window
    if window is not None:
        of = types[window.time_column]
        bound = TimestampType(zone=of.zone if isinstance(of, TimestampType) else "")
        columns |= {window.start_column: bound, window.end_column: bound}
    for name, text in options.aggregates.items():
        columns[name] = read(name, text).type(types)
    if options.emit == "early":
        columns[options.final_column] = Type(Kind.BOOL)
    return columns


def problems_of(options: AggregateOptions, types: Mapping[str, Type] | None) -> Sequence[Problem]:
    """Return all that is wrong with the options, with the columns that come in, if known."""
    found = [*_calls(options, types), *_names(options), *_keys(options, types)]
    if options.window is not None:
        found += _window(options.window)
        found += time_problems("window.timeColumn", options.window.time_column, types)
    if options.emit == "early" and options.early_interval is None:
        found.append(Problem("options.earlyInterval", "say how often: 10s"))
    if options.emit == "close" and options.early_interval is not None:
        found.append(Problem("options.earlyInterval", "needs emit: early"))
    return found


def _calls(options: AggregateOptions, types: Mapping[str, Type] | None) -> Iterator[Problem]:
    for name, text in options.aggregates.items():
        try:
            call = read(name, text)
            if types is not None:
                call.type(types)
        except ExpressionError as error:
            yield Problem(f"options.aggregates.{name}", error.message)


def _names(options: AggregateOptions) -> Iterator[Problem]:
    taken = {*HIDDEN, *options.group_by}
    made = []
    if options.window is not None:
        made.append(("window.startColumn", options.window.start_column))
        made.append(("window.endColumn", options.window.end_column))
    made += [(f"aggregates.{name}", name) for name in options.aggregates]
    if options.emit == "early":
        made.append(("finalColumn", options.final_column))
    for path, name in made:
        if name in taken:
            yield Problem(f"options.{path}", f"another column is named {name!r}")
        taken.add(name)


def _keys(options: AggregateOptions, types: Mapping[str, Type] | None) -> Iterator[Problem]:
    yield from key_problems("groupBy", options.group_by, types)
    for at, name in enumerate(options.group_by):
        if types is not None and _is_wide(types.get(name)):
            message = f"{name!r} has more than {DECIMAL_DIGITS} digits; cast it in a map before"
            yield Problem(f"options.groupBy[{at}]", message)


def _is_wide(of: Type | None) -> bool:
    return isinstance(of, DecimalType) and of.precision > DECIMAL_DIGITS


def _window(window: WindowOptions) -> Iterator[Problem]:
    needed = _LENGTHS[window.type]
    for name in ("size", "slide", "gap"):
        path, given = f"options.window.{name}", getattr(window, name) is not None
        if name in needed and not given:
            yield Problem(path, f"a {window.type} window needs it, as in 1h")
        elif given and name not in needed:
            yield Problem(path, f"a {window.type} window has none")
    if window.type == "sliding" and window.size is not None and window.slide is not None:
        if window.size % window.slide or window.slide > window.size:
            yield Problem("options.window.slide", "size must be a multiple of it")
        elif window.size / window.slide > PANES_MAX:
            yield Problem("options.window.slide", f"a row is in {PANES_MAX:,} windows at most")


def _check(
    _: TransformStep, options: AggregateOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    return problems_of(options, typed(columns))


def _schema(options: AggregateOptions, columns: Mapping[str, str]) -> Mapping[str, str] | None:
    types = typed(columns)
    if types is None or problems_of(options, types):
        return None
    return {name: str(of) for name, of in schema_of(options, types).items()}


SPEC = TransformSpec(
    name="aggregate",
    summary="Groups of rows to one row each: whole, or by windows of event time.",
    options=AggregateOptions,
    open="dataflow.transforms.aggregate.operator:open_aggregate",
    check=_check,
    schema=_schema,
    outputs=lambda options: (MAIN,) if options.window is None else (MAIN, LATE),
)
