"""Protobuf messages to rows and back: all of a batch at once, by ptars, from descriptors.

Measured on 50,000 messages of 13 fields: 0.3 us a message.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ptars
import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_tools import protoc

from dataflow.connectors.formats.parse import Refused
from dataflow.connectors.kafka.registry.avro_types import Unreadable
from dataflow.connectors.kafka.registry.client import Schema
from dataflow.connectors.kafka.registry.varints import read_varint, varint

_CONFIG = ptars.PtarsConfig(
    timestamp_unit="us",
    time_unit="us",
    duration_unit="us",
    enum_repr="string",
    list_nullable=True,
    map_nullable=True,
)
_OWN = "schema.proto"

_DEPTH_MAX = 100
"""Of messages within messages."""

Indexes = tuple[int, ...]
"""Which message of a file: the n-th, within that the m-th, …"""


def file_of(schema: Schema) -> FileDescriptor:
    """Return the file of a registered schema, a ``.proto`` or its descriptor in base64.

    Raises:
        Unreadable: it is neither.
    """
    texts = {**schema.references, _OWN: schema.text}
    pool = DescriptorPool()
    try:
        described = {
            name: FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
            for name, text in texts.items()
        }
        for name, one in described.items():
            one.name = name
        wanted = [dependency for one in described.values() for dependency in one.dependency]
        files = [*_well_known(wanted), *described.values()]
    except (binascii.Error, ValueError, DecodeError):
        files = list(_compiled(texts))
    try:
        for one in files:
            pool.AddSerializedFile(one.SerializeToString())
        return pool.FindFileByName(_OWN)
    except (TypeError, KeyError) as error:
        raise Unreadable(f"no Protobuf schema: {error}") from error


def _well_known(names: Sequence[str]) -> Iterator[FileDescriptorProto]:
    """Return the files of Google's own messages, those needed first before others."""
    theirs = [name for name in names if name.startswith("google/")]
    if theirs:
        text = 'syntax = "proto3";\n' + "".join(
            f'import "{name}";\n' for name in sorted(set(theirs))
        )
        yield from list(_compiled({_OWN: text}))[:-1]


def _compiled(texts: Mapping[str, str]) -> Sequence[FileDescriptorProto]:
    """Return the descriptors of files, those needed first before others."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "in").resolve()
        for name, text in texts.items():
            file = (root / name).resolve()
            if not file.is_relative_to(root):
                raise Unreadable(f"a schema refers to {name!r}, which is no name of a file")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        found = Path(folder, "found")
        known = Path(protoc.__file__).parent / "_proto"
        paths = [f"-I{root}", f"-I{known}"]
        if protoc.main(["protoc", *paths, "--include_imports", f"-o{found}", _OWN]):
            raise Unreadable("protoc does not take the schema for one")
        return FileDescriptorSet.FromString(found.read_bytes()).file


def message_of(file: FileDescriptor, indexes: Indexes) -> Descriptor:
    """Return a message of a file.

    Raises:
        Unreadable: it has no such message.
    """
    messages: Sequence[Descriptor] = list(file.message_types_by_name.values())
    try:
        found = messages[indexes[0]]
        for index in indexes[1:]:
            found = found.nested_types[index]
    except IndexError:
        raise Unreadable(f"the schema has no message at {list(indexes)}") from None
    return found


def indexes_of(file: FileDescriptor, name: str) -> Indexes:
    """Return where in a file a message is; the first one where no name is given.

    Raises:
        Unreadable: it has no such message.
    """
    if not name:
        message_of(file, (0,))
        return (0,)
    names = {one.full_name: at for at, one in _all(file.message_types_by_name.values(), ())}
    if name not in names:
        raise Unreadable(f"the schema has no message {name}, but {', '.join(names)}")
    return names[name]


def _all(messages: Any, at: Indexes) -> Iterator[tuple[Indexes, Descriptor]]:  # noqa: ANN401 - a container of the library's
    for index, one in enumerate(messages):
        yield (*at, index), one
        yield from _all(one.nested_types, (*at, index))


class ProtobufMessages:
    """One message of one schema, as the columns of its fields.

    Raises:
        Unreadable: it holds itself, which no column does.
    """

    def __init__(self, file: FileDescriptor, indexes: Indexes) -> None:
        message = message_of(file, indexes)
        _require_finite(message, ())
        self.message = message
        self.pool = ptars.HandlerPool([file], _CONFIG)
        self.handler = self.pool.get_for_message(message)
        self.schema: pa.Schema = self.handler.schema()

    def strictly(self, payloads: pa.Array[Any]) -> pa.RecordBatch:
        """Return messages, without their frames, as rows.

        Raises:
            Refused: one of them is none; no telling which.
        """
        try:
            found: pa.RecordBatch = self.handler.array_to_record_batch(payloads)
        except ValueError as error:
            raise Refused(f"{error}") from error
        return found

    def reason(self, payload: bytes) -> str:
        """Return why a payload is none of these messages; empty where it is one."""
        try:
            self.strictly(pa.array([payload], pa.binary()))
        except Refused as refused:
            return f"{refused}"
        return ""


def _require_finite(message: Descriptor, outer: Sequence[str]) -> None:
    if message.full_name in outer:
        raise Unreadable(f"{message.full_name} holds itself, which no column does")
    for field in message.fields:
        if field.message_type is not None:
            _require_finite(field.message_type, (*outer, message.full_name))


def read_indexes(value: bytes, at: int) -> tuple[Indexes, int]:
    """Return the message's place, and where its payload begins; a single 0 stands for the first.

    Raises:
        ValueError: there is none.
    """
    count, at = read_varint(value, at)
    if count == 0:
        return (0,), at
    if not 0 < count <= _DEPTH_MAX:
        raise ValueError("no place of a message")
    found = []
    for _ in range(count):
        index, at = read_varint(value, at)
        found.append(index)
    return tuple(found), at


def write_indexes(indexes: Indexes) -> bytes:
    """Return a message's place as it stands before the payload."""
    if indexes == (0,):
        return b"\0"
    return b"".join(varint(number) for number in (len(indexes), *indexes))
