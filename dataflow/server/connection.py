"""HTTP connections with the limits that uvicorn leaves open: time and size of headers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEADERS_TIMEOUT_S = 10
"""From a connection, or the first byte of a request, to the end of its headers (slowloris)."""

HEADERS_BYTES_MAX = 16 << 10
"""Of one request with its first line; browsers stay below 8 KiB."""

CLOSE_PATIENCE_S = 10
"""For a WebSocket's client to take its last bytes, before the connection is cut."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)
_TOO_LARGE_BODY = (
    b'{"error":"TOO_LARGE","message":"the headers may have %d bytes","details":[]}'
    % HEADERS_BYTES_MAX
)


class HttpConnection(HttpToolsProtocol):
    """Closes a connection whose headers do not come, or do not end."""

    _headers_timer: asyncio.TimerHandle | None = None
    _headers_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent
        """Expect headers from now on."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Expect the rest of the headers."""
        super().on_message_begin()
        self._headers_bytes = 0
        self._expect_headers()

    def on_url(self, url: bytes) -> None:
        """Count the first line."""
        if self._fits(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        if self._fits(len(name) + len(value)):
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Serve the request, unless it was too large."""
        self._stop_waiting()
        if self._headers_bytes <= HEADERS_BYTES_MAX:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, unless the request was too large."""
        if self._headers_bytes <= HEADERS_BYTES_MAX:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body, unless the request was too large."""
        if self._headers_bytes <= HEADERS_BYTES_MAX:
            super().on_message_complete()

    def _fits(self, size: int) -> bool:
        before = self._headers_bytes
        self._headers_bytes += size
        if self._headers_bytes <= HEADERS_BYTES_MAX:
            return True
        if before <= HEADERS_BYTES_MAX and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY))
            self.transport.close()
        return False

    def _expect_headers(self) -> None:
        self._stop_waiting()
        self._headers_timer = self.loop.call_later(HEADERS_TIMEOUT_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class WatchConnection(WebSocketsSansIOProtocol):
    """Cuts the connection of a client that takes nothing, not even that it is closed."""

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Give the client a moment after the last that it is sent."""
        super().on_task_complete(task)
        self.loop.call_later(CLOSE_PATIENCE_S, self.transport.abort)
