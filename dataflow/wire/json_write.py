"""Protobuf messages to JSON values, by a writer that is built once a message type.

Scalars, lists and maps are always there, also when empty; a message that is not set and an enum
that is not specified are left out. JSON text inside a message is shown as the value it stands for.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from dataflow.wire.core import DURATION, TIMESTAMP, word
from dataflow.wire.json_fields import holds_json, is_map, map_value
from dataflow.wire.json_times import show_duration, show_moment

Show: TypeAlias = Callable[[Any], Any]
Put: TypeAlias = Callable[[Any, dict[str, Any]], None]


@cache
def writer(descriptor: Descriptor) -> Show:
    """Return the function that shows a message of this type as a JSON value for orjson."""
    if descriptor.full_name == TIMESTAMP:
        return lambda moment: show_moment(moment.seconds, moment.nanos)
    if descriptor.full_name == DURATION:
        return lambda duration: show_duration(duration.seconds, duration.nanos)
    plain, others = [], []
    for entry in descriptor.fields:
        put = _put(entry)
        if put is None:
            plain.append((entry.json_name, entry.name))
        else:
            others.append(put)

    def show(message: Any) -> dict[str, Any]:  # noqa: ANN401 - any generated message
        out = {key: getattr(message, name) for key, name in plain}
        for put in others:
            put(message, out)
        return out

    return show


def _put(entry: FieldDescriptor) -> Put | None:
    """Return how a field gets into its object; None where its value is shown as it is."""
    key, name = entry.json_name, entry.name
    if is_map(entry):
        one = _one(map_value(entry), json=holds_json(entry)) or _same

        def put_map(message: Any, out: dict[str, Any]) -> None:  # noqa: ANN401 - any message
            out[key] = {k: one(v) for k, v in getattr(message, name).items()}

        return put_map
    one_or_none = _one(entry, json=holds_json(entry))
    if entry.is_repeated:
        one = one_or_none or _same

        def put_list(message: Any, out: dict[str, Any]) -> None:  # noqa: ANN401 - any message
            out[key] = [one(item) for item in getattr(message, name)]

        return put_list
    if entry.has_presence:
        return _put_present(key, name, one_or_none or _same)
    if one_or_none is None:
        return None
    return _put_value(key, name, one_or_none)


def _put_present(key: str, name: str, one: Show) -> Put:
    def put(message: Any, out: dict[str, Any]) -> None:  # noqa: ANN401 - any message
        if message.HasField(name):
            out[key] = one(getattr(message, name))

    return put


def _put_value(key: str, name: str, one: Show) -> Put:
    def put(message: Any, out: dict[str, Any]) -> None:  # noqa: ANN401 - any message
        value = one(getattr(message, name))
        if value is not None:
            out[key] = value

    return put


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
