"""Records in JSON, one a line or in an array, to rows.

Lines are read as ``dataflow.connect.json_lines`` makes it safe; an array as the one field of an
object. Without a schema Arrow crashes the process on 20,000 brackets in one another (26.0.1), so
it infers only from records that orjson has read, whose depth has a limit.

A batch is parsed at once, without an object a record. Only one that is refused is looked at more
closely: halved until the first bad record stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.batches import empty, one_batch, type_name
from dataflow.connect.json_lines import count, read, tidy, written_schema
from dataflow.core.errors import Code, Rejected
from dataflow.engine.ingest.columns import (
    Misfit,
    shown,
    width,
)

CELLS_MAX = 16 << 20
"""Fields of all objects of a batch, given or not: a record without fields costs as much as one
with all, and 128 MiB are enough for a batch of 16."""

VALUES_MAX = 2 << 20
"""Objects and lists that are looked at one by one, for an error or a schema."""

ROW = re.compile(r" in row \d+$")
_ZONE = re.compile(r"(?<=\d)(Z|[+-]\d{2}(:?\d{2})?)$")
_WHITE = b" \t\r\n"
_SHOWN_MAX = 80


@dataclass(frozen=True, slots=True)
class Body:
    """What was pushed: an array of objects, or objects one a line."""

    payload: bytes
    array: bool


def parse(body: Body, schema: pa.Schema) -> pa.RecordBatch:
    """Return the records of a body.

    Raises:
        Misfit: a record is no object, or has a field or a value that the schema has not.
        Rejected: there are too many.
    """
    objects = body.payload.count(b"{")
    if objects * width(schema) > CELLS_MAX:
        cells = f"{objects} objects of {width(schema)} fields"
        raise Rejected(
            f"{cells} are more than a batch may hold; send fewer records at a time",
            code=Code.TOO_LARGE,
            field="records",
        )
    try:
        return _array(body.payload, schema) if body.array else _lines(body.payload, schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, Misfit) as error:
        raise _blamed(records(body), schema, str(error)) from error


def records(body: Body) -> Sequence[bytes]:
    """Return the records as one line each, to look at them one by one.

    Raises:
        Misfit: an array is not one.
        Rejected: there is too much to look at.
    """
    values = body.payload.count(b"{") + body.payload.count(b"[") + body.payload.count(b"\n")
    if values > VALUES_MAX:
        message = f"{values} objects, lists and lines are more than a batch may hold"
        raise Rejected(message, code=Code.TOO_LARGE, field="records")
    if not body.array:
        return [line for line in map(bytes.strip, body.payload.split(b"\n")) if line]
    try:
        found = orjson.loads(body.payload)
    except orjson.JSONDecodeError as error:
        raise Misfit(f"not a JSON array of objects: {error}") from error
    if not isinstance(found, list):
        raise Misfit(f"expected an array of objects, not {_kind(found)}")
    return [orjson.dumps(record) for record in found]


# --- parsing ---------------------------------------------------------------------------------


def _lines(payload: bytes, schema: pa.Schema) -> pa.RecordBatch:
    tidied = tidy(payload)
    if tidied is None:
        raise Misfit("not one JSON object a line")
    if not tidied:
        return empty(schema)
    tidied.decode()  # Arrow checks the bytes of strings that it keeps, and no others.
    table = read(tidied, written_schema(schema), "error")
    if table.num_rows != count(tidied):
        raise Misfit("more than one JSON object on a line")
    return _typed(table, schema)


def _array(payload: bytes, schema: pa.Schema) -> pa.RecordBatch:
    payload = payload.strip(_WHITE)
    if not payload.startswith(b"[") or not payload.endswith(b"]"):
        raise Misfit("not a JSON array of objects")
    payload.decode()
    of = pa.struct(list(written_schema(schema)))
    whole = read(b'{"r":' + payload + b"}", pa.schema([("r", pa.list_(of))]), "error")
    found = one_batch(whole).column("r")
    if len(found) != 1 or found.null_count:
        raise Misfit("not a JSON array of objects")
    items = found.flatten()  # type: ignore[attr-defined]  # it is a ListArray
    if items.null_count:
        raise Misfit("a record is null")
    return _typed(pa.Table.from_batches([pa.RecordBatch.from_struct_array(items)]), schema)


def _typed(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    columns = [pc.cast(table.column(field.name), field.type) for field in schema]
    batch = one_batch(pa.Table.from_arrays(columns, schema=schema))
    if not all(_finite(column) for column in batch.columns):
        raise Misfit("NaN and Infinity are no JSON")
    return batch


def _finite(values: pa.Array[Any]) -> bool:
    """Tell whether every number is one that JSON has: Arrow also takes NaN and Infinity."""
    if isinstance(values, pa.StructArray):
        return all(map(_finite, values.flatten()))
    if isinstance(values, pa.ListArray):
        return _finite(values.flatten())
    if not pa.types.is_floating(values.type):
        return True
    return pc.all(pc.is_finite(values), min_count=0).as_py() is not False


# --- blaming ---------------------------------------------------------------------------------


def _blamed(lines: Sequence[bytes], schema: pa.Schema, why: str) -> Misfit:
    """Return what is wrong with the first bad record."""
    first, count = 0, len(lines)
    while count > 1:
        half = count // 2
        if _fits(b"\n".join(lines[first : first + half]), schema):
            first, count = first + half, count - half
        else:
            count = half
    if not count or _fits(lines[first], schema):
        return Misfit(ROW.sub("", why))
    try:
        return reason(lines[first], first, schema)
    except Misfit as misfit:
        return misfit


def _fits(payload: bytes, schema: pa.Schema) -> bool:
    try:
        _lines(payload, schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, Misfit):
        return False
    return True


def reason(line: bytes, number: int, schema: pa.Schema, *, closed: bool = True) -> Misfit:
    """Return what is wrong with a record; other fields are wrong unless it is not ``closed``."""
    value = require_objects([line], number)[0]
    for name, given in value.items():
        if name not in schema.names:
            if not closed:
                continue
            message = f"unknown field; the source has {shown(schema)}"
            return Misfit(message, record=number, field=name)
        one = pa.schema([schema.field(name)])
        if not _fits(orjson.dumps({name: given}), one):
            expected, found = type_name(one.field(0).type), orjson.dumps(given).decode()
            message = f"expected {expected}, found {found:.{_SHOWN_MAX}}{_remedy(one, given)}"
            return Misfit(message, record=number, field=name)
    return Misfit("a field is given twice, or a number has too many digits", record=number)


def _remedy(one: pa.Schema, given: object) -> str:
    """Return what to do about a moment that is right but for its zone."""
    of = one.field(0).type
    if not isinstance(of, pa.TimestampType) or not isinstance(given, str):
        return ""
    bare = _ZONE.sub("", given)
    other = bare if of.tz is None else f"{bare}Z"
    if not _fits(orjson.dumps({one.field(0).name: other}), one):
        return ""
    if of.tz is None:
        return ", which has a zone: declare timestamptz, or leave out the zone"
    return ", which has no zone: add one, such as Z, or declare timestamp"


def require_objects(lines: Sequence[bytes], first: int) -> Sequence[dict[str, Any]]:
    """Return lines as objects.

    Raises:
        Misfit: one is none.
    """
    found = []
    for number, line in enumerate(lines, start=first):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Misfit(f"not a JSON object: {error}", record=number) from error
        if not isinstance(value, dict):
            raise Misfit(f"expected an object, not {_kind(value)}", record=number)
        found.append(value)
    return found


def _kind(value: object) -> str:
    names = {list: "an array", dict: "an object", str: "a text", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")
