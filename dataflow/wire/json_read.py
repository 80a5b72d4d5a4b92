"""JSON values to protobuf messages, by a reader that is built once a message type.

Everything wrong is gathered, each with its path, so that a caller mends it in one go.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeAlias

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from dataflow.core.errors import Problem
from dataflow.wire.core import DURATION, TIMESTAMP
from dataflow.wire.json_fields import FLOATS, INTEGERS, holds_json, is_map, map_value
from dataflow.wire.json_times import read_duration, read_moment
from dataflow.wire.words import number, word

Problems: TypeAlias = list[Problem]
Fill: TypeAlias = Callable[[Any, Any, str, Problems], None]
"""(message, JSON value, path, problems): sets the value, or appends what is wrong with it."""
Check: TypeAlias = Callable[[Any], Any]

SHOWN_MAX = 40
"""Characters of a wrong value that an error repeats; enough to find it."""

PROBLEMS_MAX = 100
"""Nobody mends more at once, and a document of nothing but mistakes must not cost seconds."""

ENTRIES_MAX = 100_000
"""Of a list or map; their messages are made one by one."""

KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    type(None): "null",
}


class _Wrong(Exception):
    """A value does not fit; the message says what would."""


@cache
def reader(descriptor: Descriptor) -> Fill:
    """Return the function that fills a message of this type from a JSON value."""
    if descriptor.full_name == TIMESTAMP:
        return _time_reader(read_moment, "an RFC 3339 time such as 2026-05-01T12:00:00Z")
    if descriptor.full_name == DURATION:
        return _time_reader(read_duration, "a duration such as 1s, 500ms, 5m, 1h or 1d")
    return _object_reader({entry.json_name: _part(entry) for entry in descriptor.fields})


def _object_reader(parts: Mapping[str, Fill]) -> Fill:
    def fill(message: Any, value: Any, path: str, problems: Problems) -> None:  # noqa: ANN401 - any
        if type(value) is not dict:
            problems.append(Problem(path, f"expected an object, not {kind(value)}"))
            return
        for key, child in value.items():
            part = parts.get(key)
            below = f"{path}.{key}" if path else key
            if len(problems) >= PROBLEMS_MAX:
                return
            if part is None:
                problems.append(Problem(below, unknown_field(key, parts)))
            elif child is not None:
                part(message, child, below, problems)

    return fill


def unknown_field(name: str, known: Iterable[str]) -> str:
    """Return what to tell about a field that does not exist."""
    names = sorted(known)
    close = get_close_matches(name[:SHOWN_MAX], names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    there_are = f"there are {', '.join(names)}" if names else "there are none"
    return f"unknown field {name[:SHOWN_MAX]!r}; {meant}{there_are}"


def kind(value: object) -> str:
    """Return the kind of a JSON value, without the value itself, which may be a secret."""
    return KINDS.get(type(value), "a number")


def _part(entry: FieldDescriptor) -> Fill:
    name = entry.name
    if is_map(entry):
        return _map_part(entry)
    if entry.is_repeated:
        return _list_part(entry)
    if entry.message_type is not None:
        read = reader(entry.message_type)

        def fill_message(message: Any, value: Any, path: str, problems: Problems) -> None:  # noqa: ANN401 - any
            child = getattr(message, name)
            child.SetInParent()
            read(child, value, path, problems)

        return fill_message
    check = _check(entry, json=holds_json(entry))

    def fill_scalar(message: Any, value: Any, path: str, problems: Problems) -> None:  # noqa: ANN401 - any
        try:
            setattr(message, name, check(value))
        except _Wrong as wrong:
            problems.append(Problem(path, str(wrong)))

    return fill_scalar


def _list_part(entry: FieldDescriptor) -> Fill:
    name = entry.name
    read = reader(entry.message_type) if entry.message_type is not None else None
    check = _check(entry, json=holds_json(entry)) if read is None else None

    def fill(message: Any, value: Any, path: str, problems: Problems) -> None:  # noqa: ANN401 - any
        if not _fits(value, list, path, problems):
            return
        target = getattr(message, name)
        for index, item in enumerate(value):
            if len(problems) >= PROBLEMS_MAX:
                return
            if read is not None:
                read(target.add(), item, f"{path}[{index}]", problems)
            elif check is not None:
                try:
                    target.append(check(item))
                except _Wrong as wrong:
                    problems.append(Problem(f"{path}[{index}]", str(wrong)))

    return fill


def _map_part(entry: FieldDescriptor) -> Fill:
    name, value_entry = entry.name, map_value(entry)
    read = reader(value_entry.message_type) if value_entry.message_type is not None else None
    check = _check(value_entry, json=holds_json(entry)) if read is None else None

    def fill(message: Any, value: Any, path: str, problems: Problems) -> None:  # noqa: ANN401 - any
        if not _fits(value, dict, path, problems):
            return
        target = getattr(message, name)
        for key, item in value.items():
            if len(problems) >= PROBLEMS_MAX:
                return
            if read is not None:
                target[key].SetInParent()
                read(target[key], item, f"{path}.{key}", problems)
            elif check is not None:
                try:
                    target[key] = check(item)
                except _Wrong as wrong:
                    problems.append(Problem(f"{path}.{key}", str(wrong)))

    return fill


def _fits(value: Any, wanted: type, path: str, problems: Problems) -> bool:  # noqa: ANN401 - any
    if not isinstance(value, list | dict) or type(value) is not wanted:
        problems.append(Problem(path, f"expected {KINDS[wanted]}, not {kind(value)}"))
        return False
    if len(value) > ENTRIES_MAX:
        problems.append(Problem(path, f"use at most {ENTRIES_MAX} entries"))
        return False
    return True


def _time_reader(read: Callable[[str], tuple[int, int] | None], expected: str) -> Fill:
    def fill(message: Any, value: Any, path: str, problems: Problems) -> None:  # noqa: ANN401 - any
        parts = read(value) if type(value) is str else None
        if parts is None:
            problems.append(Problem(path, f"expected {expected}"))
        else:
            message.seconds, message.nanos = parts

    return fill


def _check(entry: FieldDescriptor, *, json: bool) -> Check:
    if json:
        return _json_text
    if entry.type in INTEGERS:
        return _integer(*INTEGERS[entry.type])
    if entry.enum_type is not None:
        return _enum(entry.enum_type)
    if entry.type in FLOATS:
        return _float
    if entry.type == FieldDescriptor.TYPE_BOOL:
        return _exactly(bool, "true or false")
    if entry.type == FieldDescriptor.TYPE_BYTES:
        return _bytes
    return _exactly(str, "a text")


def _integer(low: int, high: int) -> Check:
    def check(value: Any) -> int:  # noqa: ANN401 - any JSON value
        if type(value) is int:
            if low <= value <= high:
                return value
            raise _Wrong(f"use a whole number from {low} to {high}")
        raise _Wrong(f"expected a whole number, not {_seen(value)}")

    return check


def _enum(enum: EnumDescriptor) -> Check:
    words = [word(enum, value.number) for value in enum.values if value.number]

    def check(value: Any) -> int:  # noqa: ANN401 - any JSON value
        found = number(enum, value) if type(value) is str else None
        if not found:
            raise _Wrong(f"unknown {_seen(value)}, one of {', '.join(words)}")
        return found

    return check


def _exactly(wanted: type, name: str) -> Check:
    def check(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if type(value) is not wanted:
            raise _Wrong(f"expected {name}, not {kind(value)}")
        return value

    return check


def _float(value: Any) -> float:  # noqa: ANN401 - any JSON value
    if type(value) is not float and type(value) is not int:
        raise _Wrong(f"expected a number, not {kind(value)}")
    return float(value)


def _bytes(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    try:
        return b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise _Wrong("expected bytes as base64") from None


def _json_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if type(value) is not dict:
        raise _Wrong(f"expected an object, not {kind(value)}")
    if not value:
        return ""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise _Wrong("holds a whole number of more than 64 bits; write it as a text") from None


def _seen(value: object) -> str:
    return repr(value[:SHOWN_MAX]) if isinstance(value, str) else kind(value)
