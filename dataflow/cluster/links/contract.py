"""What a link between two programs promises, and what all its implementations share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Protocol

from dataflow.core.errors import Code, Unavailable

MESSAGE_BYTES = 1 << 20
"""Of questions or replies that travel together, about: more gains nothing."""

MESSAGE_BYTES_MAX = 20 << 20
"""Of one message: room for the largest batch that may be pushed, 16 MiB, and what is around it."""

WAITING_MAX = 10_000
"""Questions of one link that wait for their replies; more are told to come again."""


class LinkLost(Unavailable):
    """The other end is gone, or cannot be reached: whether it did what was asked is unknown."""

    default_code = Code.OUTCOME_UNKNOWN


class Links(Protocol):
    """Asks other programs. An error that the other end raised is raised here."""

    async def ask(self, address: str, name: str, payload: bytes, patience: timedelta) -> bytes:
        """Ask one question and return the reply. Questions arrive in the order of the calls.

        Raises:
            LinkLost: there was no reply within ``patience``, or never will be.
            DataFlowError: what the other end raised.
        """
        ...

    def follow(self, address: str, name: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Ask one question that has many answers; closing the generator ends it there too.

        Raises:
            LinkLost: the other end is gone.
            DataFlowError: what the other end raised.
        """
        ...


class Answering(Protocol):
    """Answers what is asked of this program. Its errors are those of ``dataflow.core.errors``."""

    async def answer(self, name: str, payload: bytes) -> bytes:
        """Answer one question.

        Called in the order of arrival, each up to its first await BEFORE the next is called.
        """
        ...

    def follow(self, name: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Answer a question that has many answers."""
        ...
