"""What a server's refusal, or its silence, is to the caller: the kinds of ``dataflow.core.errors``.

The one place where the client looks at gRPC's status codes. A server says more than a code: a
``google.rpc.Status`` in the trailing metadata, with ``ErrorInfo`` (its reason is the stable code),
``BadRequest`` (every problem, with its field) and ``RetryInfo``. What carries none of these was
said by gRPC itself, here or there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc.aio import AioRpcError

from dataflow.core.errors import (
    Code,
    Corrupted,
    DataFlowError,
    Fenced,
    Invalid,
    Problem,
    Rejected,
    Unavailable,
    Waiting,
)
from dataflow.v1.pipeline_pb2 import Refusal

DETAILS = "grpc-status-details-bin"
"""Where gRPC carries a ``google.rpc.Status``: the key that grpcio-status reads and writes."""

WRITE_BROKE = "Internal error from Core"
"""What grpc.aio (1.85) puts in the place of a stream's status where a message was being written as
the stream ended: the status that the server sent is lost then."""


class Unreachable(Unavailable):
    """No server answers at the address, or the connection broke before an answer came."""


class Failed(DataFlowError):
    """The server failed in a way it did not foresee; its log says how."""


_KINDS: dict[Code, type[DataFlowError]] = {
    Code.OUTCOME_UNKNOWN: Unavailable,
    Code.NOT_OWNER: Unavailable,
    Code.BUSY: Unavailable,
    Code.STORAGE: Unavailable,
    Code.FENCED: Fenced,
    Code.WAITING: Waiting,
    Code.CORRUPTED: Corrupted,
    Code.INTERNAL: Failed,
}
"""The kind of each code; a code that is absent is the caller's to mend."""

_CODES = {
    grpc.StatusCode.NOT_FOUND: Code.UNKNOWN_PIPELINE,
    grpc.StatusCode.ALREADY_EXISTS: Code.PIPELINE_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION: Code.FORBIDDEN_TRANSITION,
    grpc.StatusCode.PERMISSION_DENIED: Code.PERMISSION,
    grpc.StatusCode.UNAUTHENTICATED: Code.PERMISSION,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Code.TOO_LARGE,
    grpc.StatusCode.DATA_LOSS: Code.CORRUPTED,
    grpc.StatusCode.ABORTED: Code.OUTCOME_UNKNOWN,
    grpc.StatusCode.UNAVAILABLE: Code.BUSY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Code.OUTCOME_UNKNOWN,
    grpc.StatusCode.CANCELLED: Code.OUTCOME_UNKNOWN,
    grpc.StatusCode.INTERNAL: Code.INTERNAL,
    grpc.StatusCode.UNKNOWN: Code.INTERNAL,
}
"""For an answer without details, or with a code that a newer server has invented."""


def from_rpc(error: AioRpcError, server: str) -> DataFlowError:
    """Return the error that a failed call stands for."""
    status = _status(error)
    if status is None:
        return _bare(error, server)
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        for known in (info, bad, retry):
            detail.Unpack(known)  # leaves alone what is of another type
    after = retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None
    problems = [Problem(v.field, v.description) for v in bad.field_violations]
    code = _code(info.reason) or _CODES.get(error.code(), Code.INVALID)
    return rebuilt(code, status.message, problems, after)


def from_refusal(refusal: Refusal) -> DataFlowError:
    """Return the error that a refused member of a bulk stands for."""
    fallback = Code.BUSY if refusal.retryable else Code.INVALID
    problems = [Problem(p.field, p.message) for p in refusal.problems]
    return rebuilt(_code(refusal.code) or fallback, refusal.message, problems)


def rebuilt(
    code: Code,
    message: str,
    problems: Sequence[Problem] = (),
    retry_after: timedelta | None = None,
) -> DataFlowError:
    """Return the error of ``dataflow.core.errors`` that the server raised."""
    kind = _KINDS.get(code, Rejected)
    if issubclass(kind, Unavailable):
        return kind(message, code=code, retry_after=retry_after)
    if kind is not Rejected or not problems:
        return kind(message, code=code)
    if len(problems) > 1 or code is Code.INVALID:
        return Invalid(problems)
    return Rejected(problems[0].message, code=code, field=problems[0].field)


def refuse(code: Code, message: str) -> NoReturn:
    """Refuse here what the server would refuse, or could never be sent."""
    raise Rejected(message, code=code)


def _code(text: str) -> Code | None:
    return Code(text) if text in Code.__members__.values() else None


def _status(error: AioRpcError) -> Status | None:
    raw = (error.trailing_metadata() or {}).get(DETAILS)
    if not isinstance(raw, bytes):
        return None
    try:
        status: Status = Status.FromString(raw)
    except DecodeError:
        return None
    return status


def _bare(error: AioRpcError, server: str) -> DataFlowError:
    said = error.details() or error.code().name
    match error.code():
        case grpc.StatusCode.INTERNAL if said == WRITE_BROKE:
            return Unreachable(f"the stream to {server} broke")
        case grpc.StatusCode.UNAVAILABLE:
            why = said.rpartition(": ")[2]  # the connector's last word; before it stand addresses
            return Unreachable(
                f"cannot reach {server} ({why}); is the server running there, and do both sides"
                " use TLS or neither?"
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unavailable(
                f"{server} gave no answer in time; the request may still take effect, and the"
                " same command id finds out. A longer timeout may be what it needs",
                code=Code.OUTCOME_UNKNOWN,
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Rejected(
                f"the message is larger than what may be sent or received ({said}); send less at"
                " once, or raise message_bytes_max on both sides",
                code=Code.TOO_LARGE,
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            return Rejected(f"{server} does not know this request ({said}); it may be older")
        case code:
            return rebuilt(_CODES.get(code, Code.INVALID), said)
