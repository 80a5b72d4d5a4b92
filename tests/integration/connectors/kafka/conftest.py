"""Every test here by both ways between the driver and columns, where it asks for ``each_way``."""

from __future__ import annotations

import os

import pytest

from dataflow.connectors.kafka import way
from dataflow.connectors.kafka.way import CLIENT, NATIVE, Way


@pytest.fixture(params=["native", "client"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """Have sources and sinks go one way; return it."""
    chosen = NATIVE if request.param == "native" else CLIENT
    if chosen is None:
        if os.environ.get("CI") == "true":
            pytest.fail("native.c is not built: `make setup` says why")
        pytest.skip("native.c is not built: there is no C compiler")
    monkeypatch.setattr(way, "BEST", chosen)
    return chosen


@pytest.fixture
def by_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sources and sinks go by Python's client."""
    monkeypatch.setattr(way, "BEST", CLIENT)
