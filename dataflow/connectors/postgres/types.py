"""Arrow's types as PostgreSQL's, and which of those takes what another holds.

Arrow                          PostgreSQL
int8, int16, uint8             smallint
int32, uint16                  integer
int64, uint32                  bigint
uint64                         numeric(20,0)
float16, float32               real
float64                        double precision
bool                           boolean
string                         text
binary                         bytea
decimal(p, s)                  numeric(p,s)
date32, date64                 date
time32, time64                 time without time zone
timestamp                      timestamp without time zone
timestamp with a zone          timestamp with time zone
duration                       interval
uuid                           uuid
list of one of those           an array of it
list of lists, struct, map     jsonb
dictionary                     what its values are
null                           text

A table that is there may have other types: values are given as text, and the server reads them as
the column's type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from dataflow.connect import Rejected

t = pa.types

JSON, UUID, NUMERIC = "jsonb", "uuid", "numeric"
JSON_TYPES = ("json", "jsonb")
INTEGERS = ("smallint", "integer", "bigint")
DIGITS_MAX = 1000
"""Of a numeric with a precision."""

_SCALARS: Mapping[pa.DataType, str] = {
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint16(): "integer",
    pa.uint32(): "bigint",
    pa.uint64(): "numeric(20,0)",
    pa.float16(): "real",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.string(): "text",
    pa.large_string(): "text",
    pa.string_view(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
    pa.binary_view(): "bytea",
    pa.date32(): "date",
    pa.date64(): "date",
    pa.null(): "text",
}

_WIDER: Mapping[str, frozenset[str]] = {
    "smallint": frozenset({"integer", "bigint", "real", "double precision", NUMERIC}),
    "integer": frozenset({"bigint", "double precision", NUMERIC}),
    "bigint": frozenset({NUMERIC}),
    "real": frozenset({"double precision"}),
    "character varying": frozenset({"text"}),
    "character": frozenset({"text"}),
}
"""Type -> those that hold all its values, each as it was."""

_PARTS = re.compile(r"(?P<name>[a-z ]+?)(?:\((?P<digits>\d+)(?:,(?P<scale>-?\d+))?\))?")


def column_type(field: pa.Field[pa.DataType]) -> str:
    """Return the type of a column that is created for a field.

    Raises:
        Rejected: there is none.
    """
    found = _of(field.type)
    if found is None:
        raise Rejected(
            f"column {field.name!r} is {field.type}, which PostgreSQL has no type for; cast it, or"
            " drop it, in a map transform",
            field="options.table",
        )
    return found


def _of(kind: pa.DataType) -> str | None:  # noqa: C901 - one arm a family of types
    if found := _SCALARS.get(kind):
        return found
    match kind:
        case pa.DictionaryType():
            return _of(kind.value_type)
        case pa.UuidType():
            return UUID
        case pa.BaseExtensionType():
            return JSON if kind.extension_name == "arrow.json" else _of(kind.storage_type)
        case pa.ListType() | pa.LargeListType() | pa.FixedSizeListType():
            inner = _of(kind.value_type)
            nested = inner is None or inner == JSON or inner.endswith("[]")
            return JSON if nested else f"{inner}[]"
        case pa.StructType() | pa.MapType():
            return JSON
        case pa.FixedSizeBinaryType() if not t.is_decimal(kind):
            return "bytea"
        case _ if t.is_decimal(kind):
            return f"numeric({kind.precision},{kind.scale})" if kind.scale >= 0 else NUMERIC
        case _ if t.is_time(kind):
            return "time without time zone"
        case pa.TimestampType():
            return f"timestamp {'with' if kind.tz else 'without'} time zone"
        case _ if t.is_duration(kind):
            return "interval"
        case _:
            return None


def widened(existing: str, wanted: str) -> str:
    """Return what a column has to become to hold ``wanted`` too; empty if that is not wider."""
    old, new = _PARTS.fullmatch(existing), _PARTS.fullmatch(wanted)
    if old is None or new is None or existing == wanted:
        return ""
    if old["name"] == new["name"] == NUMERIC:
        return _wider_numeric(old, new)
    return wanted if new["name"] in _WIDER.get(old["name"], ()) else ""


def _wider_numeric(old: re.Match[str], new: re.Match[str]) -> str:
    if old["digits"] is None:
        return ""
    if new["digits"] is None:
        return NUMERIC
    scales = int(old["scale"] or 0), int(new["scale"] or 0)
    whole = max(int(old["digits"]) - scales[0], int(new["digits"]) - scales[1])
    wide = f"{NUMERIC}({whole + max(scales)},{max(scales)})"
    return "" if wide == old[0] or whole + max(scales) > DIGITS_MAX else wide
