"""Every error says who must act; nothing here knows HTTP, gRPC or exit codes.

``Rejected``: the caller. ``Unavailable``: nobody, try again. ``Corrupted``: stop, page someone.
The edges (server, cli, client) turn the stable ``code`` into a status, once, in one table each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Code(StrEnum):
    """The stable codes. A caller may branch on them; their text never changes."""

    INVALID = "INVALID"
    UNKNOWN_PIPELINE = "UNKNOWN_PIPELINE"
    UNKNOWN_VERSION = "UNKNOWN_VERSION"
    UNKNOWN_NODE = "UNKNOWN_NODE"
    UNKNOWN_SHARD = "UNKNOWN_SHARD"
    NODE_DRAINING = "NODE_DRAINING"
    NO_OTHER_NODE = "NO_OTHER_NODE"
    PIPELINE_EXISTS = "PIPELINE_EXISTS"
    FORBIDDEN_TRANSITION = "FORBIDDEN_TRANSITION"
    POSITION_REQUIRED = "POSITION_REQUIRED"
    COMMAND_ID_REUSED = "COMMAND_ID_REUSED"
    TOO_LARGE = "TOO_LARGE"
    RECORD_REJECTED = "RECORD_REJECTED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    SINK_CHANGED = "SINK_CHANGED"
    STATE_CHANGED = "STATE_CHANGED"
    PERMISSION = "PERMISSION"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    NOT_OWNER = "NOT_OWNER"
    FENCED = "FENCED"
    BUSY = "BUSY"
    WAITING = "WAITING"
    STORAGE = "STORAGE"
    BATCH_TIMED_OUT = "BATCH_TIMED_OUT"
    WORKER_LOST = "WORKER_LOST"
    LEASE_LOST = "LEASE_LOST"
    INTERNAL = "INTERNAL"
    CORRUPTED = "CORRUPTED"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what a caller sent: where, and what would be right."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class DataFlowError(Exception):
    """What every expected error is: a message for people, a code for programs."""

    default_code: Code = Code.INTERNAL

    def __init__(self, message: str, *, code: str = "", field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.message = message
        self.code = Code(code) if code else self.default_code
        self.field = field


class Rejected(DataFlowError):
    """The caller must change something; the same request would be refused again."""

    default_code = Code.INVALID

    @property
    def problems(self) -> Sequence[Problem]:
        """Return all that is wrong; one entry unless the error gathered several."""
        return (Problem(self.field, self.message),)


class Invalid(Rejected):
    """A document with one or more problems, all reported at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)), code=Code.INVALID)
        self._problems = tuple(problems)

    @property
    def problems(self) -> Sequence[Problem]:
        """Return every problem, in the order of the document."""
        return self._problems


class Unavailable(DataFlowError):
    """The caller should ask again, with the same command id.

    With code ``OUTCOME_UNKNOWN`` the request may have taken effect: asking again with the same
    command id finds out.
    """

    default_code = Code.BUSY

    def __init__(
        self, message: str, *, code: str = "", field: str = "", retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message, code=code, field=field)
        self.retry_after = retry_after


class Waiting(Unavailable):
    """What the pipeline needs is not there yet (a file, a connector): no failure, no attempt."""

    default_code = Code.WAITING


class Fenced(Unavailable):
    """Somebody with a larger fence or run has taken over; this writer must stop at once."""

    default_code = Code.FENCED


class NotOwner(Unavailable):
    """This node does not own what was asked for, or no longer may say that it does.

    Nothing was done. The owner, or who will be it, is asked the same again.
    """

    default_code = Code.NOT_OWNER


class Corrupted(DataFlowError):
    """Stored data contradicts itself: going on would lose or repeat something."""

    default_code = Code.CORRUPTED
