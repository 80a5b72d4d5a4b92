"""What leaves over HTTP: JSON, and errors as ``{error, message, details, timestamp}``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
from starlette.responses import Response

from dataflow.server.errors import Failure

JSON = "application/json"
HEADERS: Mapping[str, str] = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

CLOSING_STATUSES = frozenset({408, 413, 431})
"""The rest of such a request is not read, so its connection is of no further use."""


def reply(content: bytes, status: int = 200, media_type: str = JSON) -> Response:
    """Return a response that nothing on its way keeps."""
    return Response(content, status, HEADERS, media_type)


def error_reply(told: Failure, now: datetime) -> Response:
    """Return an error as JSON, with ``Retry-After`` where it is known."""
    response = reply(error_body(told, now), told.status.http)
    if told.retry_after is not None:
        response.headers["retry-after"] = str(math.ceil(told.retry_after.total_seconds()))
    if told.status.http in CLOSING_STATUSES:
        response.headers["connection"] = "close"
    return response


def error_body(told: Failure, now: datetime) -> bytes:
    """Return the JSON of an error."""
    return orjson.dumps(
        {
            "error": told.code,
            "message": told.message,
            "details": [{"field": p.field, "message": p.message} for p in told.problems],
            "timestamp": now.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        }
    )
