"""What is known of a call beside its request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dataflow.core.errors import Rejected

ANONYMOUS = "anonymous"

ACTOR_KEY = "x-dataflow-actor"
COMMAND_KEY = "idempotency-key"
"""Names of HTTP headers and of gRPC metadata alike."""

ACTOR_LENGTH_MAX = 200
"""Room for an address or a certificate's subject; it stands in every event of the caller."""

DEADLINE_DEFAULT = timedelta(seconds=60)
"""Of a call that brings none: no call is served for ever."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, under which command id unless the request has its own, and for how long."""

    actor: str = ANONYMOUS
    command_id: str = ""
    time_left: timedelta = DEADLINE_DEFAULT


def actor(text: str) -> str:
    """Check the name that a caller gives itself; ``anonymous`` where it gives none.

    Raises:
        Rejected: it is too long, or not printable.
    """
    if len(text) > ACTOR_LENGTH_MAX or not text.isprintable():
        raise Rejected(f"use at most {ACTOR_LENGTH_MAX} printable characters", field=ACTOR_KEY)
    return text or ANONYMOUS
