"""What each of etcd's failures means to a caller."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import pytest

from dataflow.cluster.coordination.contract import Compacted, LeaseLost
from dataflow.cluster.coordination.etcd import errors
from dataflow.core.errors import Code, Corrupted, Rejected, Unavailable

Status = grpc.StatusCode


@dataclass(frozen=True)
class Failed:
    """A failed call."""

    status: grpc.StatusCode
    text: str

    def code(self) -> grpc.StatusCode:
        return self.status

    def details(self) -> str:
        return self.text


UNKNOWN = [
    Failed(Status.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    Failed(Status.UNAVAILABLE, "recvmsg:Connection reset by peer"),
    Failed(Status.UNAVAILABLE, "etcdserver: request timed out"),
    Failed(Status.UNAVAILABLE, "etcdserver: leader changed"),
    Failed(Status.UNAVAILABLE, "etcdserver: server stopped"),
    Failed(Status.UNKNOWN, "raft proposal dropped"),
    Failed(Status.INTERNAL, "stream terminated by RST_STREAM"),
    Failed(Status.CANCELLED, "etcdserver: request canceled"),
]
NEVER = [
    Failed(Status.UNAVAILABLE, "etcdserver: no leader"),
    Failed(Status.UNAVAILABLE, "failed to connect to all addresses; last error: refused"),
    Failed(Status.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
    Failed(Status.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner"),
]
FINAL: list[tuple[Failed, type[Exception], str]] = [
    (Failed(Status.NOT_FOUND, "etcdserver: requested lease not found"), LeaseLost, Code.FENCED),
    (Failed(Status.OUT_OF_RANGE, "etcdserver: mvcc: compacted"), Compacted, Code.BUSY),
    (Failed(Status.PERMISSION_DENIED, "etcdserver: permission denied"), Rejected, Code.PERMISSION),
    (
        Failed(Status.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID"),
        Rejected,
        Code.PERMISSION,
    ),
    (
        Failed(Status.FAILED_PRECONDITION, "etcdserver: authentication is not enabled"),
        Rejected,
        Code.PERMISSION,
    ),
    (Failed(Status.INVALID_ARGUMENT, "etcdserver: request is too large"), Rejected, Code.INVALID),
    (Failed(Status.UNIMPLEMENTED, "unknown service"), Rejected, Code.INVALID),
    (Failed(Status.DATA_LOSS, "etcdserver: corrupt cluster"), Corrupted, Code.CORRUPTED),
    (
        Failed(Status.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
        Unavailable,
        Code.STORAGE,
    ),
]


@pytest.mark.parametrize("failure", UNKNOWN)
def test_what_may_have_happened_is_unknown_and_not_repeated(failure: Failed) -> None:
    """Every failure that is not known to be harmless is one of these."""
    assert errors.translated(failure, changing=True).code == Code.OUTCOME_UNKNOWN
    assert not errors.never_happened(failure)


@pytest.mark.parametrize("failure", NEVER)
def test_what_certainly_went_nowhere_is_not_unknown(failure: Failed) -> None:
    """A transaction may be sent to the next member."""
    assert errors.translated(failure, changing=True).code == Code.BUSY
    assert errors.never_happened(failure)


@pytest.mark.parametrize("failure", [*UNKNOWN, *NEVER])
def test_a_question_may_be_asked_of_another_member(failure: Failed) -> None:
    """Where nothing is changed nothing is unknown."""
    assert errors.translated(failure, changing=False).code == Code.BUSY
    assert errors.may_be_repeated(failure)


@pytest.mark.parametrize(("failure", "kind", "code"), FINAL)
def test_what_every_member_would_say_is_not_asked_again(
    failure: Failed, kind: type[Exception], code: str
) -> None:
    """The error says who must act, and in etcd's own words what it is about."""
    meaning = errors.translated(failure, changing=True)
    assert (type(meaning), meaning.code) == (kind, code)
    assert failure.text in str(meaning)
    assert not errors.may_be_repeated(failure)


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("etcdserver: invalid auth token", True),
        ("etcdserver: revision of auth store is old", True),
        ("etcdserver: permission denied", False),
    ],
)
def test_an_old_token_is_told_from_a_missing_permission(text: str, *, old: bool) -> None:
    """The one is mended by logging in again, the other never."""
    assert errors.is_old_token(Failed(Status.UNAUTHENTICATED, text)) is old
    assert errors.is_old_token_reason(f"rpc error: desc = {text}") is old


@pytest.mark.parametrize("reason", ["", "etcdserver: mvcc: watcher is too slow"])
def test_a_watch_that_was_ended_for_no_lasting_reason_may_be_opened_again(reason: str) -> None:
    """Members end watches when they stop, and do not always say so."""
    assert isinstance(errors.cancelled(reason), Unavailable)
