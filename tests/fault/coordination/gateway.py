"""What an operator does to an etcd, over its JSON gateway; the client has no business with it."""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from dataflow.cluster.coordination.contract import Revision

ANSWER_S_MAX = 30.0


async def ask(
    endpoint: str, path: str, body: dict[str, object], tls: ssl.SSLContext | None = None
) -> Any:  # noqa: ANN401 - JSON
    """Send one request."""

    def send() -> Any:  # noqa: ANN401 - JSON
        scheme = "https" if tls else "http"
        data = json.dumps(body, default=_base64).encode()
        url = f"{scheme}://{endpoint}/v3/{path}"
        with urllib.request.urlopen(url, data, ANSWER_S_MAX, context=tls) as answer:  # noqa: S310 - of this machine
            return json.load(answer)

    return await asyncio.to_thread(send)


async def compact(endpoint: str, revision: Revision) -> None:
    """Let etcd forget what was before a revision."""
    await ask(endpoint, "kv/compaction", {"revision": str(revision), "physical": True})


async def leader_of(endpoints: Sequence[str]) -> int:
    """Return which member leads."""
    while True:
        for number, endpoint in enumerate(endpoints):
            status = await ask(endpoint, "maintenance/status", {})
            if status["leader"] == status["header"]["member_id"]:
                return number
        await asyncio.sleep(0.05)


def _base64(value: object) -> str:
    """Write bytes as the gateway reads them."""
    assert isinstance(value, bytes)
    return b64encode(value).decode()
