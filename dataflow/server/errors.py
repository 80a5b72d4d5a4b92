"""One table: an error's code to its gRPC status and its HTTP status.

Nothing else in the platform knows a status. What leaves here is a code, a message for people and
the fields concerned; what nobody expected leaves as an incident's number, and the log has the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TypeAlias

from grpc import StatusCode

from dataflow.core.errors import Code, Corrupted, DataFlowError, Problem, Rejected, Unavailable

LOG = logging.getLogger(__name__)

DOMAIN = "dataflow"
"""Of the ErrorInfo: whose codes these are."""

DETAILS_KEY = "grpc-status-details-bin"
"""Where gRPC carries a google.rpc.Status; every client library looks for it there."""

NewId: TypeAlias = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Status:
    """How an error is told over each protocol."""

    grpc: StatusCode
    http: HTTPStatus


_INVALID = Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST)
_NOT_FOUND = Status(StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND)
_CONFLICT = Status(StatusCode.ALREADY_EXISTS, HTTPStatus.CONFLICT)
_PRECONDITION = Status(StatusCode.FAILED_PRECONDITION, HTTPStatus.BAD_REQUEST)
_EXHAUSTED = Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS)
_UNAVAILABLE = Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE)
_DEADLINE = Status(StatusCode.DEADLINE_EXCEEDED, HTTPStatus.GATEWAY_TIMEOUT)
_INTERNAL = Status(StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR)

TABLE: Mapping[str, Status] = {
    Code.INVALID: _INVALID,
    Code.UNKNOWN_PIPELINE: _NOT_FOUND,
    Code.UNKNOWN_VERSION: _NOT_FOUND,
    Code.UNKNOWN_NODE: _NOT_FOUND,
    Code.UNKNOWN_SHARD: _NOT_FOUND,
    Code.NODE_DRAINING: _PRECONDITION,
    Code.NO_OTHER_NODE: _PRECONDITION,
    Code.PIPELINE_EXISTS: _CONFLICT,
    Code.FORBIDDEN_TRANSITION: _PRECONDITION,
    Code.POSITION_REQUIRED: _PRECONDITION,
    Code.COMMAND_ID_REUSED: _INVALID,
    Code.TOO_LARGE: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    Code.RECORD_REJECTED: _INVALID,
    Code.SOURCE_CHANGED: _PRECONDITION,
    Code.SINK_CHANGED: _PRECONDITION,
    Code.STATE_CHANGED: _PRECONDITION,
    Code.PERMISSION: Status(StatusCode.PERMISSION_DENIED, HTTPStatus.FORBIDDEN),
    Code.OUTCOME_UNKNOWN: _UNAVAILABLE,
    Code.NOT_OWNER: _UNAVAILABLE,
    Code.FENCED: _UNAVAILABLE,
    Code.BUSY: _EXHAUSTED,
    Code.WAITING: _UNAVAILABLE,
    Code.STORAGE: _UNAVAILABLE,
    Code.BATCH_TIMED_OUT: _DEADLINE,
    Code.WORKER_LOST: _UNAVAILABLE,
    Code.LEASE_LOST: _UNAVAILABLE,
    Code.INTERNAL: _INTERNAL,
    Code.CORRUPTED: Status(StatusCode.DATA_LOSS, HTTPStatus.INTERNAL_SERVER_ERROR),
}
"""Every code there is. HTTP statuses are those of google/rpc/code.proto, less TOO_LARGE: 413."""

DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
"""The code of a call that ran out of time here."""

EDGE: Mapping[str, Status] = {
    "UNKNOWN_PATH": Status(StatusCode.UNIMPLEMENTED, HTTPStatus.NOT_FOUND),
    "METHOD_NOT_ALLOWED": Status(StatusCode.UNIMPLEMENTED, HTTPStatus.METHOD_NOT_ALLOWED),
    "UNSUPPORTED_MEDIA_TYPE": Status(
        StatusCode.INVALID_ARGUMENT, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    ),
    "REQUEST_TIMEOUT": Status(StatusCode.DEADLINE_EXCEEDED, HTTPStatus.REQUEST_TIMEOUT),
    "FOREIGN_ORIGIN": Status(StatusCode.PERMISSION_DENIED, HTTPStatus.FORBIDDEN),
    DEADLINE_EXCEEDED: _DEADLINE,
}
"""What goes wrong before a request reaches the platform."""


class EdgeError(Exception):
    """A request that never reached the platform; ``code`` is one of ``EDGE``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a caller may see it."""

    code: str
    message: str
    status: Status
    problems: tuple[Problem, ...] = ()
    retry_after: timedelta | None = None
    retryable: bool = False


def failure(error: BaseException, new_id: NewId) -> Failure:
    """Return what a caller is told of an error; the log gets what the caller must not see."""
    match error:
        case TimeoutError():
            message = "the deadline has passed; the request may still take effect: ask again, a"
            message += " command with the same command id"
            return Failure(DEADLINE_EXCEEDED, message, _DEADLINE, retryable=True)
        case EdgeError():
            return Failure(error.code, str(error), EDGE[error.code])
        case BaseExceptionGroup():
            return failure(error.exceptions[0], new_id)
        case Corrupted() | DataFlowError(code=Code.INTERNAL):
            return _incident(error, error.code, new_id)
        case DataFlowError():
            return _expected(error)
        case _:
            return _incident(error, Code.INTERNAL, new_id)


def _expected(error: DataFlowError) -> Failure:
    problems: tuple[Problem, ...] = ()
    if isinstance(error, Rejected):
        problems = tuple(problem for problem in error.problems if problem.field)
    elif error.field:
        problems = (Problem(error.field, error.message),)
    return Failure(
        code=error.code,
        message=str(error),
        status=TABLE[error.code],
        problems=problems,
        retry_after=error.retry_after if isinstance(error, Unavailable) else None,
        retryable=isinstance(error, Unavailable),
    )


def _incident(error: BaseException, code: str, new_id: NewId) -> Failure:
    incident = new_id()
    LOG.error("incident %s", incident, exc_info=error)
    what = (
        "stored data contradicts itself" if isinstance(error, Corrupted) else "an unexpected error"
    )
    return Failure(code, f"{what}; the server's log has it as incident {incident}", TABLE[code])


def rpc_details(told: Failure) -> bytes:
    """Return the google.rpc.Status of a failure, encoded, for gRPC's trailing metadata."""
    # Imported with the first error: most processes start without one.
    from google.rpc import error_details_pb2, status_pb2  # noqa: PLC0415 - see above

    code: int = told.status.grpc.value[0]
    status = status_pb2.Status(code=code, message=told.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=told.code, domain=DOMAIN))
    if told.problems:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=p.field, description=p.message)
            for p in told.problems
        ]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    if told.retry_after:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(told.retry_after)
        status.details.add().Pack(retry)
    return status.SerializeToString()
