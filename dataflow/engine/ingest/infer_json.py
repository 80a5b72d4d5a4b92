"""The types of a first batch in JSON, where nobody declared any.

JSON's own and no others: int64, float64, bool, string, lists and objects. What looks like a moment
stays text, since the next batch may hold what does not; declare it to have it checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dataflow.connect.json_lines import read
from dataflow.engine.ingest.columns import DEPTH_MAX, Misfit, checked, depth
from dataflow.engine.ingest.parse_json import (
    CELLS_MAX,
    ROW,
    VALUES_MAX,
    Body,
    reason,
    records,
    require_objects,
)


def infer(body: Body) -> pa.Schema:
    """Return the schema of a first batch: JSON's own types, no dates; what is always null is text.

    Raises:
        Misfit: a record is no object, or a field is of two types.
    """
    lines = records(body)
    if not lines:
        raise Misfit("the batch holds no records")
    require_objects(lines, 0)
    schema = pa.schema([(field.name, _plain(field.type)) for field in _inferred(lines, 0)])
    if depth(schema) > DEPTH_MAX:
        raise Misfit(f"lists and objects stand in one another more than {DEPTH_MAX} deep")
    return checked(schema)


def _inferred(lines: Sequence[bytes], first: int) -> pa.Schema:
    """Return Arrow's types of all records, from parts that cannot make too many columns."""
    fields = sum(line.count(b":") for line in lines)
    if fields * len(lines) > CELLS_MAX and len(lines) > 1:
        half = len(lines) // 2
        one, other = _inferred(lines[:half], first), _inferred(lines[half:], first + half)
        try:
            return pa.unify_schemas([one, other], promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise Misfit(f"a field is of two types: {error}", record=first + half) from error
    if fields > VALUES_MAX:
        raise Misfit(f"{fields} fields are more than a record may have", record=first)
    try:
        return _without_moments(b"\n".join(lines))
    except pa.ArrowInvalid as error:
        raise _clash(lines, first, str(error)) from error


def _clash(lines: Sequence[bytes], first: int, why: str) -> Misfit:
    """Return what is wrong with the first record that contradicts itself or those before it."""
    fits, fails = 0, len(lines)
    while fails - fits > 1:
        half = (fits + fails) // 2
        try:
            read(b"\n".join(lines[:half]), None, "infer")
        except pa.ArrowInvalid:
            fails = half
        else:
            fits = half
    if not fits:
        return Misfit(ROW.sub("", why), record=first)
    inferred = _without_moments(b"\n".join(lines[:fits]))
    known = pa.schema([(field.name, _plain(field.type)) for field in inferred])
    return reason(lines[fits], first + fits, known, closed=False)


def _without_moments(payload: bytes) -> pa.Schema:
    """Return Arrow's types, with text for what looks like a moment: JSON has no such type."""
    schema = read(payload, None, "infer").schema
    return pa.schema([(field.name, _plain(field.type, null=pa.null())) for field in schema])


def _plain(of: pa.DataType, null: pa.DataType | None = None) -> pa.DataType:
    """Return a type with text for moments, and for null unless told otherwise."""
    if isinstance(of, pa.ListType):
        return pa.list_(_plain(of.value_type, null))
    if isinstance(of, pa.StructType):
        return pa.struct([(field.name, _plain(field.type, null)) for field in of])
    if pa.types.is_null(of):
        return null or pa.string()
    return pa.string() if pa.types.is_temporal(of) else of
