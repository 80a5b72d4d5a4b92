"""Reading the body of a request within limits of size and time."""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers
from starlette.requests import Request

from dataflow.core.errors import Code, Rejected
from dataflow.server.errors import EdgeError

BODY_BYTES_MAX = 4 << 20
"""Of a request: four times the largest spec."""

INGEST_BYTES_MAX = 16 << 20
"""Of a batch of records: the same as over gRPC."""

BODY_TIMEOUT_S = 30
"""16 MiB in 30 s is 4.5 Mbit/s; who is slower than that sends smaller batches."""

DISCARD_BYTES_MAX = 64 << 20
"""Of a body that is too large: so much is read and dropped, because a connection that is closed
over bytes that nobody read is reset, and the reset can overtake the answer that says why (RFC
9112, section 9.6)."""

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)


async def read_body(request: Request, bytes_max: int) -> bytes:
    """Return the body of a request.

    Raises:
        Rejected: TOO_LARGE.
        EdgeError: REQUEST_TIMEOUT, UNSUPPORTED_MEDIA_TYPE.
        ClientDisconnect: the client went away.
    """
    _check_coding(request.headers)
    announced = request.headers.get("content-length", "")
    too_large = announced.isdecimal() and int(announced[:20]) > bytes_max
    if too_large and "expect" in request.headers:
        raise _too_large(bytes_max)  # the client waits to hear whether to send it
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= bytes_max:
                    chunks.append(chunk)
                elif size > DISCARD_BYTES_MAX:
                    break
    except TimeoutError:
        message = f"the body did not arrive within {BODY_TIMEOUT_S} s"
        raise EdgeError("REQUEST_TIMEOUT", message) from None
    if size > bytes_max:
        raise _too_large(bytes_max)
    return b"".join(chunks)


def _check_coding(headers: Headers) -> None:
    """Refuse bytes that would only look like damaged JSON."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        message = f"content-encoding {coding[:40]!r} is not read; send the body as it is"
        raise EdgeError("UNSUPPORTED_MEDIA_TYPE", message)
    found = _CHARSET.search(headers.get("content-type", ""))
    if found and found[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        message = f"charset {found[1][:40]!r} is not read; JSON is UTF-8 (RFC 8259, section 8.1)"
        raise EdgeError("UNSUPPORTED_MEDIA_TYPE", message)


def _too_large(bytes_max: int) -> Rejected:
    return Rejected(
        f"the body may have {bytes_max} bytes ({bytes_max >> 20} MiB); send less at once",
        code=Code.TOO_LARGE,
    )
