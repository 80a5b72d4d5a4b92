"""The one table from errors to statuses."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

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
from dataflow.server.errors import EDGE, TABLE, EdgeError, failure, rpc_details

HTTP_BY_RPC = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "DATA_LOSS": 500,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""As google/rpc/code.proto maps them."""


def _incident() -> str:
    return "i-1"


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_status(code: Code) -> None:
    """A code without one would end a call in an unexpected error."""
    status = TABLE[code]
    expected = 413 if code is Code.TOO_LARGE else HTTP_BY_RPC[status.grpc.name]
    assert status.http == expected


@pytest.mark.parametrize(
    ("code", "rpc", "http"),
    [
        (Code.INVALID, "INVALID_ARGUMENT", 400),
        (Code.UNKNOWN_PIPELINE, "NOT_FOUND", 404),
        (Code.UNKNOWN_VERSION, "NOT_FOUND", 404),
        (Code.PIPELINE_EXISTS, "ALREADY_EXISTS", 409),
        (Code.FORBIDDEN_TRANSITION, "FAILED_PRECONDITION", 400),
        (Code.POSITION_REQUIRED, "FAILED_PRECONDITION", 400),
        (Code.COMMAND_ID_REUSED, "INVALID_ARGUMENT", 400),
        (Code.TOO_LARGE, "RESOURCE_EXHAUSTED", 413),
        (Code.RECORD_REJECTED, "INVALID_ARGUMENT", 400),
        (Code.SOURCE_CHANGED, "FAILED_PRECONDITION", 400),
        (Code.SINK_CHANGED, "FAILED_PRECONDITION", 400),
        (Code.STATE_CHANGED, "FAILED_PRECONDITION", 400),
        (Code.PERMISSION, "PERMISSION_DENIED", 403),
        (Code.BATCH_TIMED_OUT, "DEADLINE_EXCEEDED", 504),
    ],
)
def test_what_the_caller_must_change_is_told_as_it_is(code: Code, rpc: str, http: int) -> None:
    """Each by its own status, so that a program can tell them apart."""
    told = failure(Rejected("said", code=code, field="f"), _incident)
    assert (told.code, told.message, told.problems) == (code, "f: said", (Problem("f", "said"),))
    assert (told.status.grpc.name, told.status.http, told.retryable) == (rpc, http, False)


@pytest.mark.parametrize(
    ("error", "rpc", "http"),
    [
        (Unavailable("said"), "RESOURCE_EXHAUSTED", 429),
        (Unavailable("said", code=Code.OUTCOME_UNKNOWN), "UNAVAILABLE", 503),
        (Unavailable("said", code=Code.NOT_OWNER), "UNAVAILABLE", 503),
        (Unavailable("said", code=Code.STORAGE), "UNAVAILABLE", 503),
        (Waiting("said"), "UNAVAILABLE", 503),
        (Fenced("said"), "UNAVAILABLE", 503),
    ],
)
def test_what_may_be_asked_again_says_so(error: DataFlowError, rpc: str, http: int) -> None:
    """A client retries these with the same command id, and no others."""
    told = failure(error, _incident)
    assert (told.status.grpc.name, told.status.http, told.retryable) == (rpc, http, True)


@pytest.mark.parametrize(
    ("error", "code", "http"),
    [
        (Corrupted("/var/secret"), "CORRUPTED", 500),
        (Rejected("/var/secret", code=Code.INTERNAL), "INTERNAL", 500),
        (ValueError("/var/secret"), "INTERNAL", 500),
    ],
)
def test_what_the_caller_cannot_help_is_told_as_an_incident(
    error: Exception, code: str, http: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its text may name what nobody outside should see; the log holds it."""
    told = failure(error, _incident)
    assert (told.code, told.status.http) == (code, http)
    assert "secret" not in told.message
    assert "i-1" in told.message
    assert caplog.records[0].exc_info is not None


def test_every_problem_of_a_document_is_told() -> None:
    """And a problem without a place stands in the message alone."""
    told = failure(Invalid([Problem("a", "x"), Problem("", "y"), Problem("b", "z")]), _incident)
    assert [problem.field for problem in told.problems] == ["a", "b"]
    assert told.message == "a: x; y; b: z"


def test_the_first_error_of_a_group_is_told() -> None:
    """Tasks fail in groups."""
    group = ExceptionGroup("", [Rejected("said"), ValueError("other")])
    assert failure(group, _incident).code == Code.INVALID


def test_a_deadline_is_told_as_one_that_may_be_asked_again() -> None:
    """The command may have been carried out."""
    told = failure(TimeoutError(), _incident)
    assert (told.code, told.status.http, told.retryable) == ("DEADLINE_EXCEEDED", 504, True)


@pytest.mark.parametrize("code", [code for code in EDGE if code != "DEADLINE_EXCEEDED"])
def test_errors_of_the_edge_have_client_statuses(code: str) -> None:
    """They never reached the platform."""
    told = failure(EdgeError(code, "said"), _incident)
    assert HTTPStatus(400) <= told.status.http < HTTPStatus(500)
    assert told.message == "said"


def test_details_are_a_google_rpc_status() -> None:
    """Client libraries of every language read it."""
    error = Unavailable("full", field="f", retry_after=timedelta(seconds=2))
    status = status_pb2.Status.FromString(rpc_details(failure(error, _incident)))
    assert (status.code, status.message) == (code_pb2.RESOURCE_EXHAUSTED, "f: full")
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for packed, target in zip(status.details, (info, bad, retry), strict=True):
        assert packed.Unpack(target)
    assert (info.reason, info.domain) == ("BUSY", "dataflow")
    assert bad.field_violations[0].field == "f"
    assert retry.retry_delay.seconds == 2
