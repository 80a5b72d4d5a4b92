"""What a server says, and the error that it becomes."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from dataflow.client.errors import DETAILS, WRITE_BROKE, Failed, Unreachable, from_rpc, rebuilt
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

UNAVAILABLE = {Code.OUTCOME_UNKNOWN, Code.NOT_OWNER, Code.BUSY, Code.STORAGE}


def failed(code: grpc.StatusCode, details: str = "", raw: bytes | None = None) -> DataFlowError:
    """Return the error of a call that ended with a status."""
    trailing = aio.Metadata() if raw is None else aio.Metadata((DETAILS, raw))
    return from_rpc(aio.AioRpcError(code, aio.Metadata(), trailing, details), "here:1")


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_kind(code: Code) -> None:
    """Who must act is known of each; one that is forgotten would be the caller's by mistake."""
    kinds: dict[Code, type[DataFlowError]] = {
        Code.FENCED: Fenced,
        Code.WAITING: Waiting,
        Code.CORRUPTED: Corrupted,
        Code.INTERNAL: Failed,
        **dict.fromkeys(UNAVAILABLE, Unavailable),
    }
    error = rebuilt(code, "words")
    assert (type(error), error.code) == (kinds.get(code, Rejected), code)


def test_problems_make_the_kind_more_exact() -> None:
    """One problem names its field; several are an invalid document."""
    one = rebuilt(Code.POSITION_REQUIRED, "", [Problem("position", "say keep")])
    assert (type(one), one.field, str(one)) == (Rejected, "position", "position: say keep")
    two = [Problem("a", "x"), Problem("b", "y")]
    many = rebuilt(Code.INVALID, "", two)
    assert isinstance(many, Invalid)
    assert list(many.problems) == two


@pytest.mark.parametrize(
    ("status", "details", "kind", "words"),
    [
        (
            grpc.StatusCode.UNAVAILABLE,
            "a: b: refused",
            Unreachable,
            r"cannot reach here:1 \(refused",
        ),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", Unavailable, "gave no answer in time"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "5 vs 4", Rejected, "message_bytes_max"),
        (grpc.StatusCode.UNIMPLEMENTED, "", Rejected, "may be older"),
        (grpc.StatusCode.INTERNAL, WRITE_BROKE, Unreachable, "the stream to here:1 broke"),
        (grpc.StatusCode.INTERNAL, "oops", Failed, "oops"),
        (grpc.StatusCode.UNAUTHENTICATED, "who?", Rejected, "who"),
    ],
    ids=lambda value: value.name if isinstance(value, grpc.StatusCode) else None,
)
def test_what_grpc_itself_says_is_told_with_a_remedy(
    status: grpc.StatusCode, *, details: str, kind: type[DataFlowError], words: str
) -> None:
    """It knows neither the platform's codes nor its words."""
    with pytest.raises(kind, match=words):
        raise failed(status, details)


def test_details_that_cannot_be_read_leave_the_status() -> None:
    """A proxy that mangles metadata must not hide the error behind another one."""
    assert isinstance(failed(grpc.StatusCode.NOT_FOUND, "none", b"\xff\xff"), Rejected)


def test_details_of_unknown_types_are_passed_over() -> None:
    """A newer server may say more."""
    status = Status(message="moved")
    status.details.append(Any(type_url="type.googleapis.com/a.New", value=b"?"))
    status.details.add().Pack(ErrorInfo(reason="NOT_OWNER"))
    error = failed(grpc.StatusCode.UNAVAILABLE, "", status.SerializeToString())
    assert (error.code, error.message) == (Code.NOT_OWNER, "moved")
