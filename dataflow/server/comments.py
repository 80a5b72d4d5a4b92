"""The comments of proto/, which are the words of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

PACKAGE = "dataflow."

MESSAGE, ENUM, SERVICE = 4, 5, 6
FIELD, NESTED = 2, 3
MEMBER = 2
"""Numbers of fields in descriptor.proto: of a file, of a message, of an enum or a service."""


def read_comments() -> Mapping[str, str]:
    """Return the leading comment of everything in proto/ that has one, by full name."""
    content = resources.files("dataflow.v1").joinpath("descriptors.binpb").read_bytes()
    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(content).file:
        if file.package.startswith(PACKAGE):
            found |= _comments(file)
    return found


def _comments(file: FileDescriptorProto) -> Mapping[str, str]:
    names = dict(_names(file))
    return {
        names[path]: " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments and (path := tuple(location.path)) in names
    }


def _names(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    for index, message in enumerate(file.message_type):
        yield from _message_names(message, (MESSAGE, index), f"{file.package}.{message.name}")
    groups: list[tuple[int, Sequence[Any], str]] = [
        (ENUM, file.enum_type, "value"),
        (SERVICE, file.service, "method"),
    ]
    for number, group, members in groups:
        for index, entry in enumerate(group):
            full_name = f"{file.package}.{entry.name}"
            yield (number, index), full_name
            for place, member in enumerate(getattr(entry, members)):
                yield (number, index, MEMBER, place), f"{full_name}.{member.name}"


def _message_names(
    message: DescriptorProto, path: tuple[int, ...], full_name: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, full_name
    for index, entry in enumerate(message.field):
        yield (*path, FIELD, index), f"{full_name}.{entry.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message_names(nested, (*path, NESTED, index), f"{full_name}.{nested.name}")
