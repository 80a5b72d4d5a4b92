"""Avro schemas as types of columns, and as what lies on the wire.

| Avro | column |
|---|---|
| boolean, string, bytes | bool, string, bytes |
| int, long, float, double | int32, int64, float32, float64 |
| enum; fixed | string; bytes |
| record, array | struct, list |
| map | list of structs of key and value |
| union with null | what else is in it, or null |
| decimal to 38 digits, date, time-*, timestamp-*, local-timestamp-* | the same |
| uuid | string |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from dataflow.connectors.kafka.registry.client import Schema

_PLAIN: Mapping[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL: Mapping[tuple[str, str], pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "timestamp-nanos"): pa.timestamp("ns", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("long", "local-timestamp-nanos"): pa.timestamp("ns"),
}
_DIGITS_MAX = 38
_DECIMAL_BYTES = 16


class Unreadable(Exception):
    """A schema has what no column can hold; says what, and where."""


@dataclass(frozen=True, slots=True)
class Avro:
    """A type of Avro.

    Attributes:
        kind: its name without logic.
        arrow: the type of a column of it.
        null_at: null's place in the union that it is in; -1 where it is never null.
        parts: of a record its fields, of an array or map its items.
    """

    kind: str
    arrow: pa.DataType
    null_at: int = -1
    size: int = 0
    symbols: Sequence[str] = ()
    names: Sequence[str] = ()
    parts: Sequence[Avro] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)
    name: str = ""


def parsed(schema: Schema) -> Avro:
    """Return a registered schema, what it refers to included.

    Raises:
        Unreadable: it is no Avro schema of a record, or holds what no column can.
    """
    known: dict[str, Any] = {}
    try:
        for text in schema.references.values():
            _name_all(json.loads(text), "", known)
        given = json.loads(schema.text)
        _name_all(given, "", known)
        found = _Parsing(known).of(given, "", "", ())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"no Avro schema: {error!r}") from error
    if found.kind != "record" or found.null_at >= 0:
        raise Unreadable(f"{schema.text:.80} is no record")
    if not found.parts:
        raise Unreadable("a record without fields")
    return found


def _full(given: Mapping[str, Any], space: str) -> tuple[str, str]:
    """Return a named type's full name, and the namespace within it."""
    name: str = given["name"]
    if "." in name:
        return name, name.rpartition(".")[0]
    space = given.get("namespace", space)
    return (f"{space}.{name}" if space else name), space


def _name_all(given: Any, space: str, known: dict[str, Any]) -> None:  # noqa: ANN401 - JSON
    """Take note of all named types."""
    if isinstance(given, list):
        for one in given:
            _name_all(one, space, known)
    elif isinstance(given, dict):
        if given.get("type") in {"record", "error", "enum", "fixed"}:
            name, space = _full(given, space)
            known[name] = {**given, "name": name, "namespace": space}
        for part in ("type", "items", "values"):
            _name_all(given.get(part), space, known)
        for one in given.get("fields", ()):
            _name_all(one["type"], space, known)


class _Parsing:
    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def of(self, given: Any, space: str, at: str, outer: Sequence[str]) -> Avro:  # noqa: ANN401 - JSON
        """Return a type; ``at`` is the path of its field, ``outer`` the records around it."""
        if isinstance(given, list):
            return self._union(given, space, at, outer)
        if isinstance(given, str):
            if given in _PLAIN:
                return Avro(given, _PLAIN[given])
            name = given if "." in given or not space else f"{space}.{given}"
            return self._named(self._known.get(name) or self._known[given], at, outer)
        kind = given["type"]
        if isinstance(kind, dict | list):
            return self.of(kind, space, at, outer)
        if kind in {"record", "error", "enum", "fixed"}:
            name, space = _full(given, space)
            return self._named({**given, "name": name, "namespace": space}, at, outer)
        if kind == "array":
            item = self._item(given["items"], space, at, outer)
            return Avro("array", pa.list_(item.arrow), parts=[item])
        if kind == "map":
            item = self._item(given["values"], space, at, outer)
            pair = pa.struct([("key", pa.string()), ("value", item.arrow)])
            return Avro("map", pa.list_(pair), parts=[item])
        return self._logical(given, kind) if kind in _PLAIN else self.of(kind, space, at, outer)

    def _item(self, given: Any, space: str, at: str, outer: Sequence[str]) -> Avro:  # noqa: ANN401 - JSON
        item = self.of(given, space, f"{at}[]", outer)
        if _is_nothing(item):
            raise Unreadable(f"field {at!r}: items of no bytes")
        return item

    def _union(self, given: Sequence[Any], space: str, at: str, outer: Sequence[str]) -> Avro:
        others = [one for one in given if one not in ("null", {"type": "null"})]
        if len(given) != 2 or len(others) != 1:  # noqa: PLR2004 - null and another one
            message = f"field {at!r}: a union of several types, which no column holds"
            raise Unreadable(f"{message}; read it with format bytes")
        return replace(self.of(others[0], space, at, outer), null_at=1 - given.index(others[0]))

    def _named(self, given: Mapping[str, Any], at: str, outer: Sequence[str]) -> Avro:
        name, kind = given["name"], given["type"]
        if kind == "enum":
            return Avro(kind, pa.string(), symbols=given["symbols"], name=name)
        if kind == "fixed":
            found = self._logical(given, "fixed")
            return replace(found, size=given["size"], name=name)
        if name in outer:
            raise Unreadable(f"field {at!r}: {name} holds itself, which no column does")
        fields = given["fields"]
        names = [one["name"] for one in fields]
        inner = (*outer, name)
        parts = [
            self.of(one["type"], given["namespace"], f"{at}.{one['name']}".lstrip("."), inner)
            for one in fields
        ]
        defaults = {one["name"]: one["default"] for one in fields if "default" in one}
        arrow = pa.struct([(n, part.arrow) for n, part in zip(names, parts, strict=True)])
        return Avro("record", arrow, names=names, parts=parts, defaults=defaults, name=name)

    def _logical(self, given: Mapping[str, Any], kind: str) -> Avro:
        logic = given.get("logicalType", "")
        plain = pa.binary() if kind == "fixed" else _PLAIN[kind]
        if logic == "decimal" and kind in {"bytes", "fixed"}:
            digits, scale = given["precision"], given.get("scale", 0)
            if digits > _DIGITS_MAX or given.get("size", 0) > _DECIMAL_BYTES:
                raise Unreadable(f"a decimal of {digits} digits; {_DIGITS_MAX} at most")
            return Avro(kind, pa.decimal128(digits, scale))
        return Avro(kind, _LOGICAL.get((kind, logic), plain))


def _is_nothing(of: Avro) -> bool:
    """Tell whether a value takes no bytes: a claim of a million million such would never end."""
    if of.null_at >= 0:
        return False
    return of.kind == "null" or (of.kind == "record" and all(map(_is_nothing, of.parts)))


def wire(of: Avro, names: Iterator[int]) -> Any:  # noqa: ANN401 - JSON
    """Return a schema of the same bytes that polars reads: it knows no maps, and not all enums.

    Args:
        of: a type.
        names: for what has to be named.
    """
    match of.kind:
        case "enum":
            found: Any = "int"
        case "array":
            found = {"type": "array", "items": wire(of.parts[0], names)}
        case "map":
            fields = [("key", "string"), ("value", wire(of.parts[0], names))]
            found = {"type": "array", "items": _record(fields, names)}
        case "record":
            parts = zip(of.names, of.parts, strict=True)
            found = _record(
                [(n, wire(one, names)) for n, one in parts if not _is_nothing(one)], names
            )
        case _:
            found = {"type": of.kind}
            if of.kind == "fixed":
                found |= {"name": f"n{next(names)}", "size": of.size}
            if isinstance(of.arrow, pa.Decimal128Type):
                digits = {"precision": of.arrow.precision, "scale": of.arrow.scale}
                found |= {"logicalType": "decimal", **digits}
    if of.null_at < 0:
        return found
    return ["null", found] if of.null_at == 0 else [found, "null"]


def _record(fields: Sequence[tuple[str, Any]], names: Iterator[int]) -> Mapping[str, Any]:
    named = [{"name": name, "type": of} for name, of in fields]
    return {"type": "record", "name": f"n{next(names)}", "fields": named}
