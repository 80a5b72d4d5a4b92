"""Calls that never come back are left behind, are counted, and are not for ever more."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dataflow.connect import Unavailable
from dataflow.connectors.kafka import calls
from dataflow.connectors.kafka.calls import LEFT, Calls


async def test_no_more_is_begun_while_too_many_calls_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each keeps a client with its threads: retries would fill the process with them."""
    monkeypatch.setattr(calls, "LEFT_MAX", LEFT.add(0) + 2)
    answered = threading.Event()
    for _ in range(2):
        Calls.require_room("here")
        with pytest.raises(Unavailable, match="no answer within"):
            await Calls("test").make(answered.wait, 0.01, "here")
    with pytest.raises(Unavailable, match="2 calls of Kafka's driver hang in this process"):
        Calls.require_room("here")
    answered.set()
    while LEFT.add(0):  # noqa: ASYNC110 - threads end
        await asyncio.sleep(0.001)
    Calls.require_room("here")
    assert await Calls("test").make(lambda: 7, 10, "here") == 7
    assert LEFT.add(0) == 0
