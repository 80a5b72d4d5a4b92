"""One request after another to a service: retried, and no faster than it allows."""

from __future__ import annotations

import threading
import time
from typing import Final

import httpx

from dataflow.connect import Rejected, Unavailable
from dataflow.connect.context import Context
from dataflow.connectors.http.lookup_spec import HttpLookupOptions

UNKNOWN: Final = frozenset({204, 404, 410})
BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
FORBIDDEN: Final = frozenset({401, 403, 407})

PAUSE_S_MAX: Final = 60.0
"""What a service may ask for before the run gives up, to be tried again later."""

ANSWER_BYTES_MAX: Final = 32 << 20
"""Of one answer; a service that sends for ever would fill the memory."""

SHOWN_MAX: Final = 200


class Refused(Exception):
    """The service finds fault with this question."""


class Asking:
    """A client with its limits; many threads may ask."""

    def __init__(self, options: HttpLookupOptions, context: Context) -> None:
        self._options = options
        self._clock = context.clock
        headers = {name: context.secret(value) for name, value in options.headers.items()}
        self._client = httpx.Client(
            headers=headers,
            timeout=options.timeout.total_seconds(),
            limits=httpx.Limits(max_connections=options.concurrency),
            follow_redirects=False,
        )
        self._lock = threading.Lock()
        self._next = 0.0

    def ask(self, method: str, url: str, body: object = None) -> bytes | None:
        """Return the body of an answer, None where nothing is known.

        Raises:
            Refused: the service finds fault with this question.
            Rejected: it lets nobody ask.
            Unavailable: it does not answer, or is busy, after all attempts.
        """
        status, said, content = 0, "", b""
        for attempt in range(self._options.attempts):
            if attempt:
                time.sleep(self._pause(attempt, said))
            self._take_turn()
            try:
                status, said, content = self._once(method, url, body)
            except httpx.TransportError as error:
                status, said, content = 0, "", (str(error) or type(error).__name__).encode()
            if status in UNKNOWN:
                return None
            if 200 <= status < 300:  # noqa: PLR2004 - as HTTP has it
                return content
            if status and status not in BUSY:
                raise _refusal(status, content, self._where(url))
        told = f"answers {status}" if status else content.decode(errors="replace")
        raise Unavailable(f"{self._where(url)}: {told:.{SHOWN_MAX}}")

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _once(self, method: str, url: str, body: object) -> tuple[int, str, bytes]:
        with self._client.stream(method, url, json=body) as response:
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > ANSWER_BYTES_MAX:
                    raise Refused(f"an answer of more than {ANSWER_BYTES_MAX:,} bytes")
            return response.status_code, response.headers.get("retry-after", ""), bytes(content)

    def _pause(self, attempt: int, said: str) -> float:
        wanted = float(said) if said.isdigit() else 0.0
        backoff = self._options.backoff.total_seconds() * 2 ** (attempt - 1)
        return min(PAUSE_S_MAX, max(wanted, float(backoff)))

    def _take_turn(self) -> None:
        """Wait until another request may begin."""
        if self._options.requests_per_second is None:
            return
        with self._lock:
            now = self._clock.steady()
            begin = max(now, self._next)
            self._next = begin + 1 / self._options.requests_per_second
        time.sleep(begin - now)

    def _where(self, url: str) -> str:
        split = httpx.URL(url)
        return f"{split.scheme}://{split.host}{split.path}"


def _refusal(status: int, content: bytes, where: str) -> Exception:
    text = content.decode(errors="replace")
    told = f"{where}: answers {status}: {text:.{SHOWN_MAX}}"
    if status in FORBIDDEN:
        return Rejected(told, code="PERMISSION", field="options.lookup.headers")
    return Refused(told)
