"""Protobuf messages to JSON values, by a writer that is built once a message type.

Scalars, lists and maps are always there, also when empty; a message that is not set and an enum
that is not specified are left out. JSON text inside a message is shown as the value it stands for.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from dataflow.wire.core import DURATION, TIMESTAMP
from dataflow.wire.json_fields import holds_json, is_map, map_value
from dataflow.wire.json_times import show_duration, show_moment
from dataflow.wire.words import word

Show: TypeAlias = Callable[[Any], Any]
Part: TypeAlias = tuple[str, str, Show | None, bool]
"""A field: its key, its name, how it is shown (None: as it is), and whether it may be unset."""


@cache
def writer(descriptor: Descriptor) -> Show:
    """Return the function that shows a message of this type as a JSON value for orjson."""
    if descriptor.full_name == TIMESTAMP:
        return lambda moment: show_moment(moment.seconds, moment.nanos)
    if descriptor.full_name == DURATION:
        return lambda duration: show_duration(duration.seconds, duration.nanos)
    return _object_writer([_part(entry) for entry in descriptor.fields])


def _object_writer(parts: Sequence[Part]) -> Show:
    def show(message: Any) -> dict[str, Any]:  # noqa: ANN401 - any generated message
        out = {}
        for key, name, one, may_be_unset in parts:
            if one is None:
                out[key] = getattr(message, name)
            elif not may_be_unset:
                value = one(getattr(message, name))
                if value is not None:
                    out[key] = value
            elif message.HasField(name):
                out[key] = one(getattr(message, name))
        return out

    return show


def _part(entry: FieldDescriptor) -> Part:
    if is_map(entry):
        one = _one(map_value(entry), json=holds_json(entry)) or _same
        return (
            entry.json_name,
            entry.name,
            lambda values: {key: one(value) for key, value in values.items()},
            False,
        )
    single = _one(entry, json=holds_json(entry))
    if entry.is_repeated:
        each = single or _same
        return entry.json_name, entry.name, lambda values: [each(v) for v in values], False
    if entry.has_presence:
        return entry.json_name, entry.name, single or _same, True
    return entry.json_name, entry.name, single, False


def _one(entry: FieldDescriptor, *, json: bool) -> Show | None:
    if json:
        return _show_json
    if entry.message_type is not None:
        return writer(entry.message_type)
    if entry.enum_type is not None:
        return _words(entry.enum_type)
    if entry.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: b64encode(value).decode()
    return None


def _words(enum: EnumDescriptor) -> Show:
    return lambda value: word(enum, value) if value else None


def _show_json(text: str) -> Any:  # noqa: ANN401 - a value for orjson
    """Return JSON text as it stands; text that is no JSON as a string, so nothing is hidden."""
    if not text:
        return {}
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return orjson.Fragment(text)


def _same(value: Any) -> Any:  # noqa: ANN401 - any scalar
    return value
