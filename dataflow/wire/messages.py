"""What owner and worker say to each other, as bytes for a pipe or a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from dataflow.core import messages as m
from dataflow.v1 import worker_pb2 as pb
from dataflow.wire.core import to_core, to_message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _ToWorker:
    """The twin of the envelope ``ToWorker``."""

    message: m.ToWorker


@dataclass(frozen=True, slots=True)
class _ToOwner:
    """The twin of the envelope ``ToOwner``."""

    message: m.ToOwner


def worker_message_bytes(message: m.ToWorker) -> bytes:
    """Return what an owner says as bytes."""
    return to_message(_ToWorker(message), pb.ToWorker).SerializeToString()


def worker_message(payload: bytes) -> m.ToWorker:
    """Return what an owner has said."""
    return to_core(pb.ToWorker.FromString(payload), _ToWorker).message


def owner_message_bytes(message: m.ToOwner) -> bytes:
    """Return what a worker says as bytes."""
    return to_message(_ToOwner(message), pb.ToOwner).SerializeToString()


def owner_message(payload: bytes) -> m.ToOwner:
    """Return what a worker has said."""
    return to_core(pb.ToOwner.FromString(payload), _ToOwner).message


def to_process_bytes(said: object) -> bytes:
    """Return what a node says to a process of its own as bytes, by the twin of ``ToProcess``."""
    return to_message(said, pb.ToProcess).SerializeToString()


def to_process(payload: bytes, twin: type[T]) -> T:
    """Return what a node has said."""
    return to_core(pb.ToProcess.FromString(payload), twin)


def from_process_bytes(said: object) -> bytes:
    """Return what a process says to its node as bytes, by the twin of ``FromProcess``."""
    return to_message(said, pb.FromProcess).SerializeToString()


def from_process(payload: bytes, twin: type[T]) -> T:
    """Return what a process has said."""
    return to_core(pb.FromProcess.FromString(payload), twin)
