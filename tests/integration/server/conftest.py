"""A server over real sockets, with a backend in memory behind it."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import pytest
from prometheus_client import CollectorRegistry

from dataflow.server.serve import Served, Settings, serve
from tests.integration.server.fake_backend import FakeBackend
from tests.integration.server.quiet_cluster import QuietCluster

EXAMPLE = b"""{"name": "My Pipeline", "description": "Test pipeline",
 "source": {"sourceType": "file", "connectionString": "/data/input.csv", "batchSize": 100},
 "transforms": [],
 "sink": {"sinkType": "console", "connectionString": "", "batchSize": 10}}"""

SETTINGS = Settings(
    http_address="127.0.0.1:0",
    grpc_address="127.0.0.1:0",
    grace=timedelta(seconds=1),
    options_schemas=lambda: {
        "file source": {
            "type": "object",
            "properties": {"format": {"$ref": "#/$defs/Format"}},
            "$defs": {"Format": {"type": "string", "enum": ["csv", "json"]}},
        },
        "filter transform": {"type": "object", "properties": {"expression": {"type": "string"}}},
    },
)


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def steady(self) -> float:
        return time.monotonic()


@dataclass(frozen=True)
class Server:
    """What a test talks to, and what is behind it."""

    at: Served
    backend: FakeBackend
    cluster: QuietCluster
    registry: CollectorRegistry


@pytest.fixture
def registry() -> CollectorRegistry:
    """Count each test's requests alone."""
    return CollectorRegistry()


@pytest.fixture
async def server(registry: CollectorRegistry) -> AsyncIterator[Server]:
    """Serve, at ports that are free."""
    numbers = itertools.count(1)
    backend = FakeBackend()
    async with (
        QuietCluster.open(SystemClock()) as (cluster, steering),
        serve(
            backend,
            steering,
            SETTINGS,
            clock=SystemClock(),
            new_id=lambda: f"made-up-{next(numbers)}",
            registry=registry,
        ) as served,
    ):
        yield Server(served, backend, cluster, registry)


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """Connect over HTTP."""
    async with httpx.AsyncClient(base_url=f"http://{server.at.http}", trust_env=False) as client:
        yield client


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    """Connect over gRPC."""
    async with grpc.aio.insecure_channel(server.at.grpc) as opened:
        yield opened


@pytest.fixture
async def pipeline(http: httpx.AsyncClient) -> str:
    """Make the example's pipeline, and return its id."""
    response = await http.post("/api/v1/pipelines", content=EXAMPLE)
    made: str = response.json()["pipelineId"]
    return made
