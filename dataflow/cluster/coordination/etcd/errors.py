"""What etcd's failures mean: the one place that knows its status codes and texts."""

from __future__ import annotations

from typing import Protocol

import grpc

from dataflow.cluster.coordination.contract import Compacted, LeaseLost
from dataflow.core.errors import Code, Corrupted, DataFlowError, Rejected, Unavailable

Status = grpc.StatusCode

_NO_LEADER = "etcdserver: no leader"
_TOO_MANY = "etcdserver: too many requests"
_NO_SPACE = "etcdserver: mvcc: database space exceeded"
_NOT_LOGGED_IN = (
    "etcdserver: authentication failed",
    "etcdserver: authentication is not enabled",
    "etcdserver: user name is empty",
)
_OLD_TOKEN = ("etcdserver: invalid auth token", "etcdserver: revision of auth store is old")
_NOT_PERMITTED = ("etcdserver: permission denied", "etcdserver: user name is empty")
_NOT_CONNECTED = "failed to connect to all addresses"
"""gRPC's words for a call that found no connection to go out on."""


class Failure(Protocol):
    """What a failed call carries, asynchronous or not."""

    def code(self) -> grpc.StatusCode | None:
        """Return the kind of failure."""
        ...

    def details(self) -> str | None:
        """Return what the other side, or gRPC itself, said about it."""
        ...


def translated(failure: Failure, *, changing: bool) -> DataFlowError:
    """Return what a failed call means to its caller; ``changing`` if it may have had an effect."""
    code, details = failure.code(), failure.details() or ""
    said = f"etcd: {details or code}"
    if details.startswith(_NOT_LOGGED_IN):
        return Rejected(said, code=Code.PERMISSION)
    match code:
        case Status.NOT_FOUND:
            return LeaseLost(f"the lease has expired or was revoked ({said})")
        case Status.OUT_OF_RANGE:
            return Compacted(f"the revision is forgotten ({said})")
        case Status.PERMISSION_DENIED | Status.UNAUTHENTICATED:
            return Rejected(said, code=Code.PERMISSION)
        case Status.INVALID_ARGUMENT | Status.UNIMPLEMENTED:
            return Rejected(said)
        case Status.DATA_LOSS:
            return Corrupted(said)
        case _ if details.startswith(_NO_SPACE):
            return Unavailable(said, code=Code.STORAGE)
        case _:
            unknown = changing and not never_happened(failure)
            return Unavailable(said, code=Code.OUTCOME_UNKNOWN if unknown else Code.BUSY)


def may_be_repeated(failure: Failure) -> bool:
    """Whether another member may answer, given that asking twice does no harm."""
    meaning = translated(failure, changing=False)
    return type(meaning) is Unavailable and meaning.code == Code.BUSY


def never_happened(failure: Failure) -> bool:
    """Whether a call certainly had no effect, so that even a transaction may be sent again."""
    details = failure.details() or ""
    match failure.code():
        case Status.UNAVAILABLE:
            return details.startswith((_NO_LEADER, _NOT_CONNECTED))
        case Status.RESOURCE_EXHAUSTED:
            return details.startswith(_TOO_MANY)
        case Status.FAILED_PRECONDITION:  # this member is not fit to answer, another may be
            return True
        case _:
            return False


def is_old_token(failure: Failure) -> bool:
    """Whether a call was refused, without effect, because its user must log in again."""
    return (failure.details() or "").startswith(_OLD_TOKEN)


def cancelled(reason: str) -> DataFlowError:
    """Return why a member has ended a watch; the reason is all that it says."""
    if any(text in reason for text in _NOT_PERMITTED):
        return Rejected(f"etcd: {reason}", code=Code.PERMISSION)
    return Unavailable(f"etcd: the watch was ended: {reason or 'no reason given'}")


def is_old_token_reason(reason: str) -> bool:
    """Whether a watch was ended because its user must log in again."""
    return any(text in reason for text in _OLD_TOKEN)
