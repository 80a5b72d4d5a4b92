"""From a request to the command that the platform carries out, and from its answer back.

The path of every command, so it is kept short: some 5 us beside the spec itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from dataflow.core import commands as c
from dataflow.core import ids
from dataflow.core.answers import Answer
from dataflow.core.errors import Code, Invalid, Rejected
from dataflow.core.spec import Position
from dataflow.core.state import Status
from dataflow.server.call import COMMAND_KEY, Call
from dataflow.server.checker import Checker
from dataflow.server.errors import Failure, NewId
from dataflow.server.specs import Validate, id_problems, wrong
from dataflow.v1 import event_pb2, pipeline_pb2
from dataflow.wire.core import EPOCH, to_core
from dataflow.wire.words import number, word

M = TypeVar("M", bound=Message)

STOP_DEADLINE_DEFAULT = timedelta(seconds=30)
STOP_DEADLINE_MAX = timedelta(days=1)
"""A stop that may take longer than a day is no stop."""

REASON_LENGTH_MAX = 1_000
"""Characters; a reason stands in the audit trail for ever, twice, and in every answer after it."""

MICROSECOND = timedelta(microseconds=1)

STATUS = {status: number(event_pb2.Status.DESCRIPTOR, status) or 0 for status in Status}
POSITION = {
    value: Position(word(pipeline_pb2.Position.DESCRIPTOR, value))
    for value in pipeline_pb2.Position.values()
}


class Commands:
    """Turns requests into commands."""

    def __init__(self, validate: Validate, new_id: NewId) -> None:
        self._validate = validate
        self._checked = Checker(validate)
        self._new_id = new_id
        self._bodies: Mapping[type[Message], Callable[[Any], c.UserCommand]] = {
            pipeline_pb2.CreatePipelineRequest: self._create,
            pipeline_pb2.UpdatePipelineRequest: self._update,
            pipeline_pb2.StartPipelineRequest: lambda _: c.StartPipeline(),
            pipeline_pb2.StopPipelineRequest: _stop,
            pipeline_pb2.PausePipelineRequest: lambda r: c.PausePipeline(_reason(r)),
            pipeline_pb2.ResumePipelineRequest: lambda _: c.ResumePipeline(),
            pipeline_pb2.ResetPipelineRequest: lambda _: c.ResetPipeline(),
            pipeline_pb2.RollbackPipelineRequest: _rollback,
            pipeline_pb2.ReplayPipelineRequest: _replay,
            pipeline_pb2.DeletePipelineRequest: lambda _: c.DeletePipeline(),
        }

    def command(self, request: Any, call: Call) -> c.Command:  # noqa: ANN401 - any request with a command id
        """Return the command that a request asks for. The request loses its command id.

        Raises:
            Rejected: with every problem of the request.
        """
        if request.command_id and call.command_id not in {"", request.command_id}:
            message = f"is {request.command_id[:80]!r} here and another in {COMMAND_KEY}"
            raise Rejected(message, field="commandId")
        command = ids.command_id(request.command_id or call.command_id or self._new_id())
        request.ClearField("command_id")
        creates = type(request) is pipeline_pb2.CreatePipelineRequest
        if creates and not request.pipeline_id:
            pipeline = ids.derived_pipeline_id(call.actor, command)
        elif creates:
            self._check_id(request)
            pipeline = ids.PipelineId(request.pipeline_id)
        else:
            pipeline = known(request.pipeline_id)
        body = self._bodies[type(request)](request)
        return c.Command(pipeline, command, call.actor, body, digest(request))

    def _check_id(self, request: pipeline_pb2.CreatePipelineRequest) -> None:
        """Refuse an id that is none, and tell what else is wrong."""
        if id_problems(request):
            raise Invalid(wrong(request, (), self._validate))

    def _create(self, request: pipeline_pb2.CreatePipelineRequest) -> c.UserCommand:
        return c.CreatePipeline(self._checked(request))

    def _update(self, request: pipeline_pb2.UpdatePipelineRequest) -> c.UserCommand:
        position = POSITION.get(request.position)
        if position is None:
            raise Rejected(f"there is no position {request.position}", field="position")
        return c.UpdatePipeline(self._checked(request), position)


def digest(request: Message) -> bytes:
    """Return what tells two payloads under one command id apart."""
    payload = request.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.name.encode() + b"\0" + payload).digest()


def known(text: str) -> ids.PipelineId:
    """Return the id of a pipeline that there can be.

    Raises:
        Rejected: INVALID without one, UNKNOWN_PIPELINE for what no pipeline can be called.
    """
    if not text:
        raise Rejected("missing; name a pipeline", field="pipelineId")
    if not ids.PIPELINE_ID.fullmatch(text):
        raise Rejected(
            f"there is no pipeline {text[:80]!r}; ids are lower-case letters, digits and hyphens",
            code=Code.UNKNOWN_PIPELINE,
            field="pipelineId",
        )
    return ids.PipelineId(text)


def _stop(request: pipeline_pb2.StopPipelineRequest) -> c.UserCommand:
    return c.StopPipeline(reason=_reason(request), deadline=stop_deadline(request))


def _reason(request: pipeline_pb2.StopPipelineRequest | pipeline_pb2.PausePipelineRequest) -> str:
    if len(request.reason) > REASON_LENGTH_MAX:
        raise Rejected(f"use at most {REASON_LENGTH_MAX} characters", field="reason")
    return request.reason


def stop_deadline(request: pipeline_pb2.StopPipelineRequest) -> timedelta:
    """Return how long a stop may take, as asked or by default.

    Raises:
        Rejected: it is negative or beyond ``STOP_DEADLINE_MAX``.
    """
    if not request.HasField("deadline"):
        return STOP_DEADLINE_DEFAULT
    seconds = request.deadline.seconds + request.deadline.nanos / 1e9
    if not 0 <= seconds <= STOP_DEADLINE_MAX.total_seconds():
        raise Rejected("use 0s to 1d", field="deadline")
    return timedelta(seconds=seconds)


def _rollback(request: pipeline_pb2.RollbackPipelineRequest) -> c.UserCommand:
    if request.version < 1:
        what = "use the number of a version, 1 or more" if request.version else "missing"
        raise Rejected(f"{what}; list the versions to see those there are", field="version")
    return c.RollbackPipeline(
        version=ids.Version(request.version), with_checkpoint=request.with_checkpoint
    )


def _replay(request: pipeline_pb2.ReplayPipelineRequest) -> c.UserCommand:
    if request.sequence < 0:
        raise Rejected("use the number of an event, 1 or more", field="sequence")
    if request.sequence and request.HasField("time"):
        raise Rejected("give either sequence or time, not both", field="time")
    try:
        return to_core(request, c.ReplayPipeline)
    except OverflowError:
        raise Rejected("use a time in the years 1 to 9999", field="time") from None


def response(answer: Answer, cls: type[M]) -> M:
    """Return the answer to one command as its own response message."""
    message: Any = cls()
    message.pipeline_id = answer.pipeline_id
    message.status = STATUS[answer.status]
    message.message = answer.message
    microseconds = (answer.time - EPOCH) // MICROSECOND
    stamp = message.timestamp
    stamp.seconds = microseconds // 1_000_000
    stamp.nanos = microseconds % 1_000_000 * 1000
    message.changed = answer.changed
    if _tells_version(cls.DESCRIPTOR):
        message.version = answer.version
    done: M = message
    return done


@cache
def _tells_version(response: Descriptor) -> bool:
    return "version" in response.fields_by_name


def refusal(told: Failure) -> pipeline_pb2.Refusal:
    """Return a failure as an answer in bulk tells it."""
    return pipeline_pb2.Refusal(
        code=told.code,
        message=told.message,
        problems=[
            pipeline_pb2.FieldProblem(field=p.field, message=p.message) for p in told.problems
        ],
        retryable=told.retryable,
    )
