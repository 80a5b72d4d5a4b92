"""Protobuf messages to JSON and back, as people expect it.

camelCase names, 64-bit integers as numbers, enums as the lower-case words of the product
(``dead-letter``), durations as ``1s`` or ``500ms``, moments by RFC 3339, connectors' options as
objects. Reading is strict: an unknown field, a key given twice and a wrong type are errors that
name their path, all at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar, cast

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dataflow.core.errors import Invalid, Problem
from dataflow.wire.json_fields import INTEGERS
from dataflow.wire.json_read import PROBLEMS_MAX, Problems, reader, unknown_field
from dataflow.wire.json_write import writer

M = TypeVar("M", bound=Message)

SAFE_DIGITS = 40
"""More than any 64-bit integer has, and few enough to convert at once."""

DEPTH_MAX = 64
"""Objects and lists within each other: no spec comes near, and a recursive reader stays safe."""


def dump(message: Message) -> bytes:
    """Return a message as JSON."""
    return orjson.dumps(writer(message.DESCRIPTOR)(message))


def parse(text: bytes | bytearray, cls: type[M]) -> M:
    """Return the message that JSON stands for.

    Raises:
        Invalid: with every problem; text that is no JSON names its line and column.
    """
    return _flawless(*read(text, cls))


def from_value(value: object, cls: type[M]) -> M:
    """Return the message that a JSON value stands for; raises ``Invalid`` with every problem."""
    return _flawless(*read_value(value, cls))


def read(text: bytes | bytearray, cls: type[M]) -> tuple[M, Sequence[Problem]]:
    """Return a message with all that fits, and what does not: so that the rest is checked too.

    Raises:
        Invalid: the text is no JSON, with its line and column; too deep.
    """
    value, twice = _loads(text)
    message, problems = read_value(value, cls)
    return message, [*twice, *problems]


def read_value(value: object, cls: type[M]) -> tuple[M, Sequence[Problem]]:
    """Return a message with all of a JSON value that fits, and what does not."""
    message = cls()
    problems: Problems = []
    reader(message.DESCRIPTOR)(message, value, "", problems)
    return message, problems


def joined(unread: Sequence[Problem], found: Sequence[Problem]) -> Sequence[Problem]:
    """Return what could not be read and what is wrong with the rest.

    A value that was not read is missing in the rest, which says nothing new about its field.
    """
    if len(unread) >= PROBLEMS_MAX or any(not problem.field for problem in unread):
        return unread  # reading has ended early
    fields = tuple(problem.field for problem in unread)
    below = tuple(f"{field}{mark}" for field in fields for mark in ".[")
    rest = [p for p in found if p.field not in fields and not p.field.startswith(below)]
    return [*unread, *rest]


def _flawless(message: M, problems: Sequence[Problem]) -> M:
    if problems:
        raise Invalid(problems)
    return message


def fill_from_query(message: Message, parameters: Sequence[tuple[str, str]]) -> None:
    """Set fields from the text parameters of an URL; a repeated field takes each of its name.

    Raises:
        Invalid: with every problem, by the parameter's name.
    """
    fields = cast("Sequence[FieldDescriptor]", message.DESCRIPTOR.fields)
    known = {entry.json_name: entry for entry in fields}
    problems: Problems = []
    values: dict[str, Any] = {}
    for key, text in parameters:
        entry = known.get(key)
        if entry is None:
            problems.append(Problem(key, unknown_field(key, known)))
        elif entry.is_repeated:
            values.setdefault(key, []).append(_typed(entry, text))
        elif key in values:
            problems.append(Problem(key, "given twice"))
        else:
            values[key] = _typed(entry, text)
    reader(message.DESCRIPTOR)(message, values, "", problems)
    if problems:
        raise Invalid(problems)


def _typed(entry: FieldDescriptor, text: str) -> object:
    """Return a parameter's text as the JSON value it stands for, or as it is for the error."""
    if entry.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    if entry.type in INTEGERS and text.removeprefix("-").isdecimal() and text.isascii():
        return int(text[:SAFE_DIGITS])
    return text


def loads(text: bytes | bytearray) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value, strictly: no key twice, no NaN, at most ``DEPTH_MAX`` deep.

    orjson judges the text, because its errors have positions and it takes neither NaN nor half a
    surrogate; the standard library reads it, because it shows each pair and keeps large integers.

    Raises:
        Invalid: the text is no JSON, with its line and column; a key is there twice; too deep.
    """
    value, twice = _loads(text)
    if twice:
        raise Invalid(twice)
    return value


def _loads(text: bytes | bytearray) -> tuple[Any, Problems]:
    """Return a JSON value with the last of each key, and the keys that are there twice."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid([Problem("", f"not JSON: {error}")]) from None
    if text.count(b"{") + text.count(b"[") > DEPTH_MAX and _deep(value):
        raise Invalid([Problem("", f"more than {DEPTH_MAX} objects or lists within each other")])
    twice: Problems = []
    decoder = json.JSONDecoder(object_pairs_hook=partial(_object, twice))
    return decoder.decode(text.decode()), twice


def _deep(value: object) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for outer in level
            for child in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[attr-defined]  # containers only
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _object(problems: Problems, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
        room = PROBLEMS_MAX - len(problems)
        problems += [Problem(n, "given twice in one object") for n in twice[:room]]
    return value
