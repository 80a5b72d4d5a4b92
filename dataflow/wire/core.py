"""Protobuf messages to core dataclasses and back, by field names.

A message and its dataclass are twins: same field names, nested twins, ``repeated`` as a tuple, a
``map`` as a mapping, an enum as the ``StrEnum`` of its words, ``Timestamp`` as an aware
``datetime``, ``Duration`` as a ``timedelta``, a ``oneof`` as a union of twins named like its
cases. An unset message is None where the dataclass allows it, else the twin's defaults. A
converter is built once a pair of types; fields that only one side has are left alone.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from dataflow.wire.kept import KEPT, Encode, once
from dataflow.wire.words import number, snake, word

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Decode: TypeAlias = Callable[[Any], Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TIMESTAMP, DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"


def to_core(message: Message, cls: type[T]) -> T:
    """Return the dataclass that a message stands for."""
    twin: Any = cls
    decoded: T = _decoder(twin, message.DESCRIPTOR)(message)
    return decoded


def to_message(value: object, cls: type[M]) -> M:
    """Return the message that a dataclass stands for."""
    message = cls()
    twin: Any = type(value)
    _encoder(twin, message.DESCRIPTOR)(value, message)
    return message


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def _bare(hint: Any) -> tuple[Any, bool]:  # noqa: ANN401 - a type annotation can be anything
    """Return a hint without ``| None``, and whether it had it."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
        optional = len(rest) < len(typing.get_args(hint))
        return (rest[0] if len(rest) == 1 else hint), optional
    return hint, False


# --- message to dataclass ------------------------------------------------------------------------


@cache
def _decoder(cls: Any, descriptor: Descriptor) -> Decode:  # noqa: ANN401 - any twin
    parts: list[tuple[str, Decode]] = []
    for field in fields(cls):
        hint, optional = _bare(_hints(cls)[field.name])
        if field.name in descriptor.fields_by_name:
            entry = descriptor.fields_by_name[field.name]
            parts.append((field.name, _field_decoder(entry, hint, optional=optional)))
        elif field.name in descriptor.oneofs_by_name:
            parts.append((field.name, _case_decoder(descriptor, field.name, hint)))

    if len(parts) < len(fields(cls)):
        return lambda message: cls(**{name: part(message) for name, part in parts})
    in_order = [part for _, part in parts]
    return lambda message: cls(*[part(message) for part in in_order])


def _field_decoder(entry: FieldDescriptor, hint: Any, *, optional: bool) -> Decode:  # noqa: ANN401 - a hint
    name = entry.name
    if _is_map(entry):
        value = _map_value(entry)
        one = _one_decoder(value, _bare(typing.get_args(hint)[1])[0])
        return lambda message: {k: one(v) for k, v in getattr(message, name).items()}
    if entry.is_repeated:
        one = _one_decoder(entry, _bare(typing.get_args(hint)[0])[0])
        return lambda message: tuple(map(one, getattr(message, name)))
    if entry.message_type is None and entry.enum_type is None:
        return attrgetter(name)
    one = _one_decoder(entry, hint)
    if optional and entry.message_type:
        return lambda message: one(getattr(message, name)) if message.HasField(name) else None
    if optional and entry.enum_type:
        return lambda message: one(getattr(message, name)) if getattr(message, name) else None
    return lambda message: one(getattr(message, name))


def _one_decoder(entry: FieldDescriptor, hint: Any) -> Decode:  # noqa: ANN401 - a hint
    if entry.message_type is not None:
        if entry.message_type.full_name == TIMESTAMP:
            return _to_datetime
        if entry.message_type.full_name == DURATION:
            return _to_timedelta
        return _decoder(hint, entry.message_type)
    if entry.enum_type is not None:
        members: dict[int, StrEnum] = {
            value.number: hint(text)
            for value in entry.enum_type.values
            if (text := word(entry.enum_type, value.number)) in set(hint)
        }
        members.setdefault(0, next(iter(hint)))
        return members.__getitem__
    return lambda value: value


def _case_decoder(descriptor: Descriptor, name: str, union: Any) -> Decode:  # noqa: ANN401 - a hint
    cases = {snake(cls.__name__): cls for cls in typing.get_args(union)}
    decoders = {
        entry.name: _decoder(cases[entry.name], entry.message_type)
        for entry in descriptor.oneofs_by_name[name].fields
    }

    def decode(message: Any) -> Any:  # noqa: ANN401 - any twin
        case = message.WhichOneof(name)
        return decoders[case](getattr(message, case))

    return decode


def _to_datetime(stamp: Any) -> datetime:  # noqa: ANN401 - generated types are not imported here
    return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def _to_timedelta(duration: Any) -> timedelta:  # noqa: ANN401 - as above
    return timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1000)


# --- dataclass to message ------------------------------------------------------------------------


@cache
def _encoder(cls: Any, descriptor: Descriptor) -> Encode:  # noqa: ANN401 - any twin
    return _fields_encoder(cls, descriptor, [field.name for field in fields(cls)])


@cache
def _sharing_encoder(cls: Any, descriptor: Descriptor) -> Encode:  # noqa: ANN401 - any twin
    shared = KEPT[cls]
    own = [field.name for field in fields(cls) if field.name not in shared]
    encode_own = _fields_encoder(cls, descriptor, own)
    encode_shared = once(shared, _fields_encoder(cls, descriptor, shared))

    def encode(value: Any, message: Any) -> None:  # noqa: ANN401 - any twin
        encode_own(value, message)
        encode_shared(value, message)

    return encode


def _fields_encoder(cls: Any, descriptor: Descriptor, names: Sequence[str]) -> Encode:  # noqa: ANN401 - any twin
    known = [n for n in names if n in descriptor.fields_by_name or n in descriptor.oneofs_by_name]
    plain = [name for name in known if _is_plain(descriptor.fields_by_name.get(name))]
    parts = [
        (name, _part_encoder(descriptor, name, _bare(_hints(cls)[name])[0]))
        for name in known
        if name not in plain
    ]

    def encode(value: Any, message: Any) -> None:  # noqa: ANN401 - any twin
        for name in plain:
            child = getattr(value, name)
            if child is not None:
                setattr(message, name, child)
        for name, part in parts:
            child = getattr(value, name)
            if child is not None:
                part(child, message)

    return encode


def _part_encoder(descriptor: Descriptor, name: str, hint: Any) -> Encode:  # noqa: ANN401 - a hint
    entry = descriptor.fields_by_name.get(name)
    if entry is None:
        return _case_encoder(descriptor, hint)
    if _is_map(entry):
        return _map_encoder(entry, _bare(typing.get_args(hint)[1])[0])
    if entry.is_repeated:
        return _repeated_encoder(entry, _bare(typing.get_args(hint)[0])[0])
    if entry.message_type is not None:
        encode = _message_encoder(entry, hint)

        def set_message(value: Any, message: Any) -> None:  # noqa: ANN401 - any twin
            child = getattr(message, name)
            child.SetInParent()
            encode(value, child)

        return set_message
    if entry.enum_type is None:
        raise TypeError(f"{entry.full_name} is set as it is")
    numbers = {member: number(entry.enum_type, member) or 0 for member in hint}
    return lambda value, message: setattr(message, name, numbers[value])


def _map_encoder(entry: FieldDescriptor, hint: Any) -> Encode:  # noqa: ANN401 - a hint
    name = entry.name
    value_entry = _map_value(entry)
    if value_entry.message_type is None:

        def set_values(value: Mapping[str, Any], message: Any) -> None:  # noqa: ANN401 - any twin
            target = getattr(message, name)
            for key, one in value.items():  # a map's own update is three times as slow
                target[key] = one

        return set_values
    encode = _message_encoder(value_entry, hint)

    def set_entries(value: Mapping[str, Any], message: Any) -> None:  # noqa: ANN401 - any twin
        target = getattr(message, name)
        for key, child in value.items():
            encode(child, target[key])  # which asking for has made

    return set_entries


def _repeated_encoder(entry: FieldDescriptor, hint: Any) -> Encode:  # noqa: ANN401 - a hint
    name = entry.name
    if entry.message_type is None:
        return lambda value, message: getattr(message, name).extend(value)
    encode = _message_encoder(entry, hint)

    def add(value: Any, message: Any) -> None:  # noqa: ANN401 - any twin
        target = getattr(message, name)
        for child in value:
            encode(child, target.add())

    return add


def _message_encoder(entry: FieldDescriptor, hint: Any) -> Encode:  # noqa: ANN401 - a hint
    match entry.message_type:
        case None:
            raise TypeError(f"{entry.full_name} is no message")
        case Descriptor(full_name=name) if name == TIMESTAMP:
            return _from_datetime
        case Descriptor(full_name=name) if name == DURATION:
            return _from_timedelta
        case descriptor if hint in KEPT:
            return _sharing_encoder(hint, descriptor)
        case descriptor:
            return _encoder(hint, descriptor)


def _case_encoder(descriptor: Descriptor, union: Any) -> Encode:  # noqa: ANN401 - a hint
    encoders = {}
    for cls in typing.get_args(union):
        name = snake(cls.__name__)
        encoders[cls] = name, _encoder(cls, descriptor.fields_by_name[name].message_type)

    def encode(value: Any, message: Any) -> None:  # noqa: ANN401 - any twin
        name, part = encoders[type(value)]
        child = getattr(message, name)
        child.SetInParent()
        part(value, child)

    return encode


def _from_datetime(value: datetime, message: Any) -> None:  # noqa: ANN401 - as above
    _from_timedelta(value - EPOCH, message)


def _from_timedelta(value: timedelta, message: Any) -> None:  # noqa: ANN401 - as above
    microseconds = value // MICROSECOND
    message.seconds = microseconds // 1_000_000
    message.nanos = microseconds % 1_000_000 * 1000


def _map_value(entry: FieldDescriptor) -> FieldDescriptor:
    if entry.message_type is None:
        raise TypeError(f"{entry.full_name} is no map")
    return entry.message_type.fields_by_name["value"]


def _is_map(entry: FieldDescriptor) -> bool:
    return bool(entry.message_type and entry.message_type.GetOptions().map_entry)


def _is_plain(entry: FieldDescriptor | None) -> bool:
    """Tell whether a field's value is set as it is."""
    return entry is not None and not (entry.is_repeated or entry.message_type or entry.enum_type)
