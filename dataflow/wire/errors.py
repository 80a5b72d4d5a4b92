"""Errors of the platform as they travel between its programs, to be raised again."""

from __future__ import annotations

from datetime import timedelta

from dataflow.core import errors as e
from dataflow.v1 import node_pb2 as pb
from dataflow.wire.core import to_core, to_message

KINDS: dict[str, type[e.DataFlowError]] = {
    "rejected": e.Rejected,
    "unavailable": e.Unavailable,
    "waiting": e.Waiting,
    "fenced": e.Fenced,
    "not owner": e.NotOwner,
    "corrupted": e.Corrupted,
}
"""By the words on the wire; a subclass that is not here travels as what it is one of."""


def error_told(error: e.DataFlowError) -> pb.ErrorTold:
    """Return an error as it travels."""
    kinds = {cls: word for word, cls in KINDS.items()}
    kind = next((kinds[cls] for cls in type(error).__mro__ if cls in kinds), "unavailable")
    told = pb.ErrorTold(kind=kind, code=error.code, message=error.message, field=error.field)
    if isinstance(error, e.Invalid):
        told.problems.extend(to_message(one, pb.ProblemTold) for one in error.problems)
    if isinstance(error, e.Unavailable) and error.retry_after is not None:
        told.retry_after.FromTimedelta(error.retry_after)
    return told


def error_from(told: pb.ErrorTold) -> e.DataFlowError:
    """Return an error as it was raised; one of a newer release as the least that it can be."""
    try:
        code: str = e.Code(told.code)
    except ValueError:
        code = e.Code.INTERNAL
    if told.problems:
        return e.Invalid([to_core(one, e.Problem) for one in told.problems])
    cls = KINDS.get(told.kind, e.Unavailable)
    if issubclass(cls, e.Unavailable):
        wait: timedelta | None = (
            told.retry_after.ToTimedelta() if told.HasField("retry_after") else None
        )
        return cls(told.message, code=code, field=told.field, retry_after=wait)
    return cls(told.message, code=code, field=told.field)


def error_bytes(error: e.DataFlowError) -> bytes:
    """Return an error as bytes."""
    return error_told(error).SerializeToString()


def error_of(payload: bytes) -> e.DataFlowError:
    """Return the error that the bytes stand for."""
    return error_from(pb.ErrorTold.FromString(payload))
