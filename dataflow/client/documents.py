"""Specs as callers write them: a mapping in the API's JSON form, a core dataclass, or a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from dataflow.client.messages import (
    Command,
    CreatePipelineRequest,
    PipelineSpec,
    UpdatePipelineRequest,
)
from dataflow.core.errors import Problem, Rejected
from dataflow.core.spec import PipelineSpec as CoreSpec
from dataflow.core.spec import Position
from dataflow.v1 import pipeline_pb2
from dataflow.wire.core import to_message
from dataflow.wire.json import from_value, read_value

M = TypeVar("M", bound=Message)

Spec: TypeAlias = (
    Mapping[str, Any] | CoreSpec | PipelineSpec | CreatePipelineRequest | UpdatePipelineRequest
)
"""A mapping is the body of ``POST /api/v1/pipelines``; options are objects, durations ``1s``."""

POSITIONS = {
    Position.UNSPECIFIED: pipeline_pb2.POSITION_UNSPECIFIED,
    Position.KEEP: pipeline_pb2.POSITION_KEEP,
    Position.BEGINNING: pipeline_pb2.POSITION_BEGINNING,
    Position.LATEST: pipeline_pb2.POSITION_LATEST,
}


def request(spec: Spec, cls: type[M]) -> M:
    """Return a request that holds a spec.

    Raises:
        Invalid: a mapping that is no such document, with every problem.
        TypeError: something else, such as the name of a file.
    """
    if isinstance(spec, CoreSpec):
        return to_message(spec, cls)
    if isinstance(spec, Mapping):
        return from_value(dict(spec), cls)
    if not isinstance(spec, Message):
        raise TypeError(f"a spec is a mapping, a PipelineSpec or a message, not {spec!r:.80}")
    return _shared(spec, cls)


def read(spec: Spec, cls: type[M]) -> tuple[M, Sequence[Problem]]:
    """Return a request that holds all of a spec that fits, and what does not."""
    if isinstance(spec, Mapping):
        return read_value(dict(spec), cls)
    return request(spec, cls), ()


def create_command(spec: Spec, *, pipeline_id: str = "", command_id: str = "") -> Command:
    """Return the command that makes a pipeline, for a bulk."""
    created = request(spec, CreatePipelineRequest)
    created.pipeline_id = pipeline_id or created.pipeline_id
    created.command_id = command_id or created.command_id
    return Command(create=created)


def update_command(
    pipeline_id: str,
    spec: Spec,
    *,
    position: Position = Position.UNSPECIFIED,
    command_id: str = "",
) -> Command:
    """Return the command that replaces a pipeline's spec, for a bulk.

    Raises:
        Rejected: the spec names another pipeline.
    """
    updated = request(spec, UpdatePipelineRequest)
    if updated.pipeline_id not in ("", pipeline_id):
        raise Rejected(f"the document is of {updated.pipeline_id!r}", field="pipelineId")
    updated.pipeline_id = pipeline_id
    updated.position = POSITIONS[position] or updated.position
    updated.command_id = command_id or updated.command_id
    return Command(update=updated)


def duration(length: timedelta | None) -> Duration | None:
    """Return a duration as a message has it."""
    if length is None:
        return None
    message = Duration()
    message.FromTimedelta(length)
    return message


def _shared(message: Message, cls: type[M]) -> M:
    """Return a message with what the two have in common: fields of the same name and type."""
    target = cls()
    for entry, value in message.ListFields():
        twin = cls.DESCRIPTOR.fields_by_name.get(entry.name)
        if twin is None:
            raise Rejected(f"{cls.DESCRIPTOR.name} has no such field", field=entry.json_name)
        _set(target, entry.name, value)
    return target


def _set(target: Message, name: str, value: Any) -> None:  # noqa: ANN401 - any field's value
    field = getattr(target, name)
    if isinstance(value, Message):
        field.CopyFrom(value)
    elif hasattr(field, "MergeFrom"):
        field.MergeFrom(value)  # repeated fields and maps
    else:
        setattr(target, name, value)
