"""An Avro schema of rows: every field may be null, so that it can evolve."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.connect.batches import type_name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIGITS_MAX = 38
t = pa.types


def derived(schema: pa.Schema, name: str) -> str:
    """Return a record of that full name with a field for each column.

    Raises:
        Rejected: a column has no type or name in Avro.
    """
    fields = [_field(one, name.rpartition(".")[2], one.name) for one in schema]
    return json.dumps({"type": "record", "name": name, "fields": fields})


def record_name(topic: str) -> str:
    """Return a topic's name as that of a record."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", topic)
    return plain if _NAME.fullmatch(plain) else f"_{plain}"


def _field(field: pa.Field[Any], outer: str, path: str) -> dict[str, Any]:
    if not _NAME.fullmatch(field.name):
        message = f"column {path!r}: Avro has no such name; rename it in a map step"
        raise Rejected(message, field="options.registry")
    of = _type(field.type, f"{outer}_{field.name}", path)
    return {"name": field.name, "type": of if of == "null" else ["null", of], "default": None}


def _type(of: pa.DataType, name: str, path: str) -> Any:  # noqa: ANN401 - JSON
    if isinstance(of, pa.StructType):
        fields = [_field(one, name, f"{path}.{one.name}") for one in of]
        return {"type": "record", "name": name, "fields": fields}
    if isinstance(of, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        return {"type": "array", "items": ["null", _type(of.value_type, name, f"{path}[]")]}
    if isinstance(of, pa.MapType) and t.is_string(of.key_type):
        return {"type": "map", "values": ["null", _type(of.item_type, name, f"{path}[]")]}
    if (found := _plain(of) or _logical(of)) is None:
        message = f"column {path!r} is {type_name(of)}, which Avro has not; cast it in a map step"
        raise Rejected(message, field="options.registry")
    return found


def _plain(of: pa.DataType) -> str | None:
    small = {pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()}
    names = {
        "null": t.is_null(of),
        "boolean": t.is_boolean(of),
        "int": of in small,
        "long": of in {pa.int64(), pa.uint32()},
        "float": of in {pa.float16(), pa.float32()},
        "double": of == pa.float64(),
        "string": t.is_string(of) or t.is_large_string(of) or t.is_string_view(of),
        "bytes": t.is_binary(of) or t.is_large_binary(of) or t.is_fixed_size_binary(of),
    }
    return next((name for name, is_it in names.items() if is_it), None)


def _logical(of: pa.DataType) -> dict[str, Any] | None:
    if of == pa.uint64():
        return {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0}
    if isinstance(of, pa.Decimal128Type) and 0 <= of.scale <= of.precision <= _DIGITS_MAX:
        digits = {"precision": of.precision, "scale": of.scale}
        return {"type": "bytes", "logicalType": "decimal", **digits}
    if t.is_date(of):
        return {"type": "int", "logicalType": "date"}
    if isinstance(of, pa.Time32Type):
        return {"type": "int", "logicalType": "time-millis"}
    if isinstance(of, pa.Time64Type):
        return {"type": "long", "logicalType": "time-micros"}
    if isinstance(of, pa.TimestampType):
        unit = {"us": "micros", "ns": "nanos"}.get(of.unit, "millis")
        return {"type": "long", "logicalType": f"{'' if of.tz else 'local-'}timestamp-{unit}"}
    return None
