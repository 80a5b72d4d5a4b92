"""JSON schemas of messages, as ``dataflow.wire.json`` shows and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from dataflow.wire.core import DURATION, TIMESTAMP
from dataflow.wire.json_fields import FLOATS, INTEGERS, holds_json, is_map, map_value
from dataflow.wire.words import word

Schema: TypeAlias = dict[str, Any]

STEPS = {"Source": "source", "Transform": "transform", "Sink": "sink"}
"""Messages whose ``options`` are those of a connector or transform of this kind."""

WELL_KNOWN: Mapping[str, Schema] = {
    TIMESTAMP: {"type": "string", "format": "date-time", "examples": ["2026-05-01T12:00:00Z"]},
    DURATION: {
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]{1,9})?(us|ms|s|m|h|d)$",
        "examples": ["1s", "500ms", "5m"],
    },
}


class Schemas:
    """Gathers the schema of each message that is asked for, and of those within it."""

    def __init__(self, comments: Mapping[str, str], options: Mapping[str, Any]) -> None:
        self._comments = comments
        self._options = {
            kind: [f"{kind}Options.{name}" for name in sorted(_of_kind(options, kind))]
            for kind in STEPS.values()
        }
        self.components: Schema = {}
        for kind in STEPS.values():
            for name, schema in _of_kind(options, kind).items():
                self.components |= _hoisted(f"{kind}Options.{name}", schema)

    def reference(self, message: Descriptor) -> Schema:
        """Return a reference to a message's schema, which is made if it is not there yet."""
        if message.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[message.full_name])
        if message.name not in self.components:
            self.components[message.name] = {}
            self.components[message.name] = self._message(message)
        return {"$ref": f"#/components/schemas/{message.name}"}

    def field(self, entry: FieldDescriptor) -> Schema:
        """Return the schema of a field, with its comment."""
        if is_map(entry):
            value = self._value(map_value(entry), json=holds_json(entry))
            schema: Schema = {"type": "object", "additionalProperties": value}
        elif entry.is_repeated:
            items = self._value(entry, json=holds_json(entry))
            schema = {"type": "array", "items": items}
        else:
            schema = self._value(entry, json=holds_json(entry))
        return self._described(entry.full_name, schema)

    def _message(self, message: Descriptor) -> Schema:
        properties = {entry.json_name: self.field(entry) for entry in message.fields}
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return self._described(message.full_name, schema)

    def _value(self, entry: FieldDescriptor, *, json: bool) -> Schema:
        if json:
            kind = STEPS.get(entry.containing_type.name if entry.containing_type else "", "")
            names = self._options.get(kind, [])
            choices = [{"$ref": f"#/components/schemas/{name}"} for name in names]
            return {"anyOf": choices} if choices else {"type": "object"}
        if entry.message_type is not None:
            return self.reference(entry.message_type)
        if entry.enum_type is not None:
            return self._enum(entry.enum_type)
        if entry.type in INTEGERS:
            low, high = INTEGERS[entry.type]
            return {"type": "integer", "minimum": low, "maximum": high}
        if entry.type in FLOATS:
            return {"type": "number"}
        if entry.type == FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        if entry.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return {"type": "string"}

    def _enum(self, enum: EnumDescriptor) -> Schema:
        words = [word(enum, value.number) for value in enum.values if value.number]
        return self._described(enum.full_name, {"type": "string", "enum": words})

    def _described(self, full_name: str, schema: Schema) -> Schema:
        comment = self._comments.get(full_name)
        return {**schema, "description": comment} if comment else schema


def _hoisted(name: str, schema: Schema) -> Schema:
    """Return a schema and its own definitions as components, which refer to each other."""
    definitions = schema.get("$defs", {})
    rest = {key: value for key, value in schema.items() if key != "$defs"}
    found = {name: rest, **{f"{name}.{key}": value for key, value in definitions.items()}}
    return {key: _referring(value, name) for key, value in found.items()}


def _referring(value: Any, name: str) -> Any:  # noqa: ANN401 - any part of a schema
    if isinstance(value, dict):
        return {
            key: f"#/components/schemas/{name}.{child.removeprefix('#/$defs/')}"
            if key == "$ref" and isinstance(child, str)
            else _referring(child, name)
            for key, child in value.items()
        }
    if isinstance(value, list):
        return [_referring(child, name) for child in value]
    return value


def _of_kind(options: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return the schemas of one kind, by the name of the connector: ``file source`` is one."""
    return {
        name.removesuffix(f" {kind}"): schema
        for name, schema in options.items()
        if name.endswith(f" {kind}")
    }
