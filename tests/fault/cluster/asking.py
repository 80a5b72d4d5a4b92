"""Asks a cluster over HTTP, by whichever program of it answers, and again until one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

Document = dict[str, Any]

ATTEMPT_S = 6.0
"""Then another program is asked: the one that was may be frozen."""

GIVE_UP_S = 150.0
"""No fault here lasts so long."""

AGAIN_S = 0.1

TRY_AGAIN = frozenset({408, 429, 503, 504})


class Unanswered(Exception):
    """Nobody answered in time."""


@dataclass(frozen=True)
class Reply:
    """What was answered in the end."""

    status: int
    body: Document
    attempts: int

    @property
    def is_accepted(self) -> bool:
        """Tell whether it was done."""
        return self.status in {200, 201}


@dataclass
class Asking:
    """A client of the cluster that knows several of its programs."""

    addresses: Callable[[], Sequence[str]]
    """Where to ask, as of now."""
    draw: Random
    http: httpx.AsyncClient
    attempts: int = 0
    odd: list[str] = field(default_factory=list)
    """Answers that no cluster should give."""

    async def ask(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        key: str = "",
        *,
        patience_s: float = GIVE_UP_S,
    ) -> Reply:
        """Ask until it is answered, always under the same command id.

        Raises:
            Unanswered: it was not within ``patience_s``.
        """
        headers = {"Idempotency-Key": key} if key else {}
        attempts, last = 0, ""
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    attempts += 1
                    url = f"{self.draw.choice(self.addresses())}/api/v1{path}"
                    try:
                        answer = await self.http.request(
                            method, url, json=body, headers=headers, timeout=ATTEMPT_S
                        )
                        last = f"{answer.status_code} {answer.text[:300]}"
                        if answer.status_code not in TRY_AGAIN:
                            return self._taken(answer, attempts, f"{method} {url}")
                    except httpx.TransportError as error:
                        last = f"{url} {error!r}"
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError:
            raise Unanswered(f"{method} {path} {key}: {attempts} attempts, {last}") from None

    def _taken(self, answer: httpx.Response, attempts: int, what: str) -> Reply:
        self.attempts += attempts
        if answer.status_code >= 500:
            self.odd.append(f"{what}: {answer.status_code} {answer.text[:300]}")
        return Reply(answer.status_code, answer.json(), attempts)
