"""Dead letters made into rows again: as they were, or patched by whoever mends them.

A letter of a transform or sink has its row. One of a source has the text that could not be read:
it becomes a row if the text is a JSON object of fitting fields, or by what is set of its columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson
import pyarrow as pa

from dataflow.connect.expressions import ExpressionError, compile_expression, parse
from dataflow.core.errors import Rejected
from dataflow.engine.records import Patch
from dataflow.engine.rejects import NO_ROW
from dataflow.engine.replays import Entry, batch_of

RECORD = "record"
"""The column that expressions read of a letter that has no row: its text."""


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one input of one step, and of the same columns; all with rows, or none."""

    step: str
    input: str
    letters: Sequence[Mapping[str, Any]]
    rows: pa.RecordBatch
    """Theirs; none of them where they have none."""

    @property
    def has_rows(self) -> bool:
        """Tell whether they are rows already."""
        return self.rows.num_rows > 0


def entries(tables: Sequence[pa.Table], patch: Patch) -> Sequence[Entry]:
    """Return letters (see ``DeadLetters.tables``) as what enters the graph.

    Raises:
        Rejected: the patch does not fit; ``field`` says what of it.
    """
    merged: dict[tuple[object, ...], list[Group]] = {}
    for table in tables:
        for group in _groups(table):
            schema = group.rows.schema.serialize().to_pybytes()
            key = group.step, group.input, schema, group.has_rows
            merged.setdefault(key, []).append(group)
    return [_entry(_joined(groups), patch) for groups in merged.values()]


def _groups(table: pa.Table) -> Iterator[Group]:
    kept: Any = table.unify_dictionaries()["rows"].combine_chunks()
    batches = kept.dictionary.to_pylist()
    letters = table.drop_columns(["rows"]).to_pylist()
    for letter, which in zip(letters, kept.indices.to_pylist(), strict=True):
        letter["batch"] = which
    alike = lambda each: (each["step"], each["input"], each["batch"])  # noqa: E731 - a key
    for (step, name, which), found in groupby(letters, key=alike):
        own = list(found)
        numbers = [each["row"] for each in own if each["row"] != NO_ROW]
        rows = batch_of(batches[which]).take(pa.array(numbers, pa.int64()))
        yield Group(step, name, own, rows)


def _joined(groups: Sequence[Group]) -> Group:
    letters = [letter for group in groups for letter in group.letters]
    rows: pa.RecordBatch = pa.concat_batches([g.rows for g in groups])  # type: ignore[attr-defined]  # not in the stubs
    return Group(groups[0].step, groups[0].input, letters, rows)


def _entry(group: Group, patch: Patch) -> Entry:
    return Entry(
        step=group.step,
        input=group.input,
        letters=[letter["id"] for letter in group.letters],
        splits=[letter["split"] for letter in group.letters],
        ordinals=[letter["ordinal"] for letter in group.letters],
        rows=_patched(group, patch),
    )


def _patched(group: Group, patch: Patch) -> pa.RecordBatch:
    schema = group.rows.schema
    if patch.record:
        return _typed([_object(patch.record)], schema, "record")
    unknown = [each.column for each in patch.settings if each.column not in schema.names]
    if unknown:
        columns = ", ".join(schema.names)
        raise Rejected(f"no column of step {group.step!r}; one of {columns}", field=_of(unknown[0]))
    given = group.rows
    if not group.has_rows:
        texts = pa.array([letter["record"] for letter in group.letters], pa.large_string())
        given = pa.RecordBatch.from_pydict({RECORD: texts})
    made = {
        each.column: _set(each.column, each.expression, given, group) for each in patch.settings
    }
    if group.has_rows:
        columns_before = dict(zip(schema.names, group.rows.columns, strict=True))
        return pa.RecordBatch.from_pydict(columns_before | made, schema=schema)
    return _read_again(group, made)


def _set(column: str, text: str, given: pa.RecordBatch, group: Group) -> pa.Array[Any]:
    """Return a column by its expression, of the type that it had."""
    field = group.rows.schema.field(column)
    try:
        compiled = compile_expression(parse(text), given.schema)
        reads: dict[str, pa.Array[Any]] = {n: given.column(n) for n in sorted(compiled.columns)}
        nothing: dict[str, pa.Array[Any]] = {"": pa.nulls(given.num_rows)}
        found = compiled.evaluate_rows(pa.RecordBatch.from_pydict(reads or nothing))
        if found.faults is not None:
            at = group.letters[found.faults.rows[0].as_py() or 0]["id"]
            raise Rejected(f"letter {at}: {found.faults.messages[0]}", field=_of(column))
        values: pa.Array[Any] = found.values.cast(field.type)
    except ExpressionError as error:
        raise Rejected(error.message, code=error.code, field=_of(column)) from error
    except pa.ArrowException as error:
        raise Rejected(f"does not fit {field.type}: {error}", field=_of(column)) from error
    if values.null_count and not field.nullable:
        raise Rejected("the column takes no NULL; give a value", field=_of(column))
    return values


def _read_again(group: Group, made: Mapping[str, pa.Array[Any]]) -> pa.RecordBatch:
    """Return what a source could not read: of JSON what is not set, else NULL."""
    schema = group.rows.schema
    records = []
    for letter in group.letters:
        try:
            records.append(_object(letter["record"]))
        except Rejected:
            if not made:
                raise Rejected(
                    f"letter {letter['id']}: {group.step!r} could not read it, and it is no JSON"
                    " object; set its columns, or give the whole record",
                    field="record",
                ) from None
            records.append({})
    others = pa.schema([field for field in schema if field.name not in made])
    known = [{k: v for k, v in record.items() if k in others.names} for record in records]
    if not made:
        known = records
    columns = dict(made)
    if others.names:
        read = _typed(known, others, "record")
        columns |= dict(zip(others.names, read.columns, strict=True))
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def _object(text: str) -> dict[str, object]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"is no JSON: {error}", field="record") from error
    if not isinstance(found, dict):
        raise Rejected("is no JSON object", field="record")
    return found


def _typed(
    records: Sequence[Mapping[str, object]], schema: pa.Schema, field: str
) -> pa.RecordBatch:
    """Return JSON objects as rows.

    Raises:
        Rejected: one has a field that is no column, or a value that is not of its type.
    """
    for name in dict.fromkeys(name for record in records for name in record):
        if name not in schema.names:
            names = ", ".join(schema.names)
            raise Rejected(f"no such column; one of {names}", field=f"{field}.{name}")
    columns = {each.name: _column(records, each, field) for each in schema}
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def _column(
    records: Sequence[Mapping[str, object]], column: pa.Field[Any], field: str
) -> pa.Array[Any]:
    path = f"{field}.{column.name}"
    values = []
    for record in records:
        value = record.get(column.name)
        if value is None and not column.nullable:
            raise Rejected("missing; the column takes no NULL", field=path)
        values.append(_value(value, column.type, path))
    return pa.concat_arrays(values)


def _value(value: object, kind: pa.DataType, path: str) -> pa.Array[Any]:
    """Return a value of JSON as of a type; texts as people write numbers and moments fit too."""
    try:
        return pa.array([value], kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        if isinstance(value, str | int | float):
            try:
                return pa.array([str(value)], pa.string()).cast(kind)
            except pa.ArrowException:
                pass
        raise Rejected(f"{value!r:.120} is no {kind}", field=path) from error


def _of(column: str) -> str:
    return f"set.{column}"
