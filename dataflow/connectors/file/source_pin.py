"""What is fixed for a lineage: the columns and their types, from the options and a first file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Rejected, Waiting
from dataflow.connect.batches import type_name
from dataflow.connect.columns import PinnedColumn
from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.file.csv_parse import lines_of
from dataflow.connectors.file.read_arrow import arrow_schema
from dataflow.connectors.file.read_parquet import parquet_schema
from dataflow.connectors.file.scan import Blocks
from dataflow.connectors.file.source_head import Head, read_head
from dataflow.connectors.file.source_infer import csv_types, csv_width, sample
from dataflow.connectors.file.source_options import (
    WRITTEN_ONCE,
    FilePinned,
    FileSourceOptions,
    Format,
    compression_of,
)
from dataflow.connectors.file.source_stream import open_stream
from dataflow.connectors.formats.json_infer import json_types
from dataflow.connectors.formats.lines import Lines

_SAMPLE_BYTES = 1 << 20
_NO_FIELD = re.compile(rb"^[ \t]*+\{[ \t]*+\}", re.MULTILINE)


def pin(files: Sequence[Path], kind: Format, options: FileSourceOptions) -> FilePinned:
    """Fix the columns, from the first file that has a record.

    Raises:
        Waiting: a watched source has no record yet to infer a type from.
        Rejected: a file is damaged, or is not as declared.
        Unavailable: a file cannot be read at the moment.
    """
    if kind == "text":
        return _pinned(kind, {(options.columns or ("line",))[0]: "string"})
    if kind in WRITTEN_ONCE:
        return _pinned(kind, _written(files[0], kind))
    path, head, data = _first_records(files, kind, options)
    if not data and options.watch and options.other_columns == "infer":
        raise Waiting(f"{path}: has no record yet to infer types from")
    if kind == "csv":
        return _pinned(kind, _csv(path, head, data, options))
    declared = {name: to_arrow(parse_type(text)) for name, text in options.types.items()}
    others = json_types(data, declared) if options.other_columns == "infer" else {}
    if not declared and not others and _NO_FIELD.search(data):  # rows without columns are no rows
        message = f"{path}: its first records have no fields; name those that will come"
        raise Rejected(message, field="options.schema")
    return _pinned(kind, {**options.types, **{n: type_name(of) for n, of in others.items()}})


def _pinned(kind: Format, types: Mapping[str, str]) -> FilePinned:
    """Return the columns, each type by the one name that stands for all of its names."""
    spelt = types if kind in WRITTEN_ONCE else {n: str(parse_type(t)) for n, t in types.items()}
    columns = tuple(PinnedColumn(name=name, type=of) for name, of in spelt.items())
    return FilePinned(format=kind, columns=columns)


def require_pinned(path: Path, pinned: FilePinned) -> None:
    """Check that a file that is written once has the columns of the first one.

    Raises:
        Waiting: it is not there.
        Rejected: it has others, or is damaged.
    """
    was = {column.name: column.type for column in pinned.columns}
    found = _written(path, pinned.format)
    if list(found.items()) != list(was.items()):
        different = [n for n in {**was, **found} if was.get(n) != found.get(n)]
        raise Rejected(
            f"{path}: its columns are not those of the first file: "
            + (", ".join(_difference(n, was, found) for n in different) or "another order"),
            code="SOURCE_CHANGED",
        )


def _difference(name: str, was: Mapping[str, str], found: Mapping[str, str]) -> str:
    return f"{name!r} is {found.get(name, 'missing')}, was {was.get(name, 'not there')}"


def _written(path: Path, kind: Format) -> Mapping[str, str]:
    schema = arrow_schema(path) if kind == "arrow" else parquet_schema(path)
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise Rejected(f"{path}: it has a column twice: {', '.join(map(repr, twice))}")
    return {field.name: type_name(field.type) for field in schema}


def _first_records(
    files: Sequence[Path], kind: Format, options: FileSourceOptions
) -> tuple[Path, Head, bytes]:
    """Return the first file with records, and some of them; else the first with a header."""
    best: tuple[Path, Head, bytes] | None = None
    for path in files:
        head = read_head(path, kind, options)
        lines = lines_of(options) if kind == "csv" else Lines()
        stream = open_stream(path, compression_of(path.name, options), options.encoding)
        try:
            stream.skip_to(head.body)
            partial = not options.watch
            data = sample(Blocks(stream, lines, partial, _SAMPLE_BYTES), options.infer_rows)
        finally:
            stream.close()
        if data.strip():
            return path, head, data
        if best is None or (head.names and not best[1].names):
            best = path, head, b""
    if best is None:
        raise Waiting("no files")
    return best


def _csv(path: Path, head: Head, data: bytes, options: FileSourceOptions) -> Mapping[str, str]:
    names = head.names or options.columns or ()
    if not names and not options.has_header:
        width = csv_width(data, options)
        names = tuple(options.types) or tuple(f"column_{n + 1}" for n in range(width))
        if len(names) != width and data:
            raise Rejected(
                f"{path}: its first record has {width} cells, yet schema names {len(names)};"
                " name them all in columns",
                field="options.schema",
            )
    unknown = [name for name in options.types if names and name not in names]
    if unknown:
        raise Rejected(
            f"{', '.join(map(repr, unknown))}: {path} has no such column; it has"
            f" {', '.join(map(repr, names))}",
            field="options.schema",
        )
    if not names:
        return options.types
    others = [name for name in names if name not in options.types]
    if others and options.other_columns == "reject":
        raise Rejected(
            f"{path} has other columns: {', '.join(map(repr, others))}; name them, or set"
            " otherColumns to drop or infer",
            field="options.schema",
        )
    wanted = others if options.other_columns == "infer" else []
    inferred: Mapping[str, pa.DataType] = csv_types(data, names, wanted, options)
    types = {**{n: type_name(of) for n, of in inferred.items()}, **options.types}
    return {name: types[name] for name in names if name in types}
