"""What the ``file`` source refuses before it starts, and what it declares. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from dataflow.connect import Problem, Rejected, SourceStep
from dataflow.connect.columns import TAKEN, type_problem
from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import Kind, Type
from dataflow.connectors.file.source_options import (
    FileSourceOptions,
    Format,
    format_of,
    local_path,
)

ONLY: Mapping[str, frozenset[str]] = {
    "header": frozenset({"csv"}),
    "columns": frozenset({"csv", "text"}),
    "delimiter": frozenset({"csv"}),
    "quote": frozenset({"csv"}),
    "encoding": frozenset({"csv", "json", "text"}),
    "null_values": frozenset({"csv"}),
    "types": frozenset({"csv", "json"}),
    "other_columns": frozenset({"csv", "json"}),
    "compression": frozenset({"csv", "json", "text"}),
    "infer_rows": frozenset({"csv", "json"}),
}
"""Which formats an option means something for; elsewhere it is refused, not ignored."""

_UNREADABLE = {Kind.LIST, Kind.STRUCT, Kind.NULL, Kind.DURATION, Kind.INTERVAL}


def check(step: SourceStep, options: FileSourceOptions) -> Sequence[Problem]:
    """Return what is wrong with options that each look right alone."""
    try:
        name = local_path(step.connection_string)
    except Rejected as error:
        return error.problems
    kind = format_of(name, options)
    return [
        *_inapplicable(kind, options),
        *_column_problems(options),
        *_type_problems(kind, options),
    ]


def declared(options: FileSourceOptions) -> Mapping[str, str] | None:
    """Return the columns, where the options name every one that there will be."""
    if options.format == "text":
        return {(options.columns or ("line",))[0]: "string"}
    if options.columns is not None:
        known = options.types if options.types.keys() == set(options.columns) else None
        return {name: known[name] for name in options.columns} if known else None
    closed = options.other_columns != "infer" or (options.header is False and options.types)
    return options.types if options.types and closed else None


def _inapplicable(kind: Format | None, options: FileSourceOptions) -> Sequence[Problem]:
    if kind is None:
        return ()
    aliases = {n: f.alias or n for n, f in FileSourceOptions.model_fields.items()}
    return [
        Problem(f"options.{aliases[name]}", f"means nothing for {kind}, only for {_list(kinds)}")
        for name, kinds in ONLY.items()
        if name in options.model_fields_set and kind not in kinds
    ]


def _list(kinds: frozenset[str]) -> str:
    return ", ".join(sorted(kinds))


def _column_problems(options: FileSourceOptions) -> Sequence[Problem]:
    problems = []
    if options.quote == options.delimiter:
        problems.append(Problem("options.quote", "must differ from the delimiter"))
    columns = options.columns or ()
    if len(set(columns)) != len(columns):
        problems.append(Problem("options.columns", "a name is used twice"))
    if columns and options.header:
        message = "names come from the header; leave columns out, or set header to false"
        problems.append(Problem("options.columns", message))
    for path, names in (("columns", columns), ("schema", options.types)):
        taken = [f"options.{path}.{name}" for name in names if name in HIDDEN]
        problems += [Problem(field, TAKEN) for field in taken]
    unknown = [name for name in options.types if columns and name not in columns]
    problems += [Problem(f"options.schema.{n}", "no such name in columns") for n in unknown]
    if options.other_columns != "infer" and not options.types:
        message = "says what to do with columns beyond schema, and there is no schema"
        problems.append(Problem("options.otherColumns", message))
    return problems


def _type_problems(kind: Format | None, options: FileSourceOptions) -> Sequence[Problem]:
    problems = []
    for name, text in options.types.items():
        if problem := type_problem(text, partial(_impossible, kind)):
            problems.append(Problem(f"options.schema.{name}", problem))
    return problems


def _impossible(kind: Format | None, of: Type) -> str:
    nested = of.kind in {Kind.LIST, Kind.STRUCT}
    untimely = of.kind is Kind.TIME and kind == "json"  # Arrow has no cast from text to it
    if untimely or (of.kind in _UNREADABLE and not (nested and kind == "json")):
        return f"a file of {kind or 'text'} cannot hold {of}"
    return ""
