"""What a ``sql`` step and the process that runs its SELECT say to each other. Imports no Arrow.

step:    PLAN     a Question as JSON
         ROWS     a batch as an Arrow stream, for the SELECT that the process began with
process: PLANNED  the columns that go out as JSON, or null where those that come in are
         ROWS     the answer as an Arrow stream
         WRONG    the SELECT cannot be carried out, whatever the rows
         FAULT    these rows have no answer
         MEMORY   the answer needs more memory than there may be
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import IO

from dataflow.connect import Model

_HEAD = struct.Struct("<cQ")


class Kind(Enum):
    """The first byte of a message."""

    PLAN = b"p"
    PLANNED = b"d"
    ROWS = b"r"
    WRONG = b"w"
    FAULT = b"f"
    MEMORY = b"m"


class Task(Model):
    """What a process is begun for."""

    select: str = ""
    memory_limit: int
    time_s_max: float
    idle_s_max: float = 0
    """How long it waits to be asked before it ends by itself; 0 waits forever."""


class Question(Model):
    """Which columns would go out, if these came in."""

    select: str
    columns: dict[str, str] | None


def send(stream: IO[bytes], kind: Kind, *payload: bytes | memoryview) -> None:
    """Write a message."""
    stream.write(_HEAD.pack(kind.value, sum(map(len, payload))))
    for part in payload:
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Kind, bytes] | None:
    """Read a message; None where the other has gone, also in the middle of one."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    payload = stream.read(length)
    return (Kind(kind), payload) if len(payload) == length else None
