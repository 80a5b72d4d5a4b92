"""A server in memory, and clients of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
from grpc import aio

from dataflow.client import DataFlow
from dataflow.v1.cluster_pb2_grpc import add_ClusterServiceServicer_to_server
from dataflow.v1.pipeline_pb2_grpc import add_PipelineServiceServicer_to_server
from tests.integration.client.cluster_service import ClusterService
from tests.integration.client.service import Service

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """A service and where it listens."""

    service: Service
    cluster: ClusterService
    address: str


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """Serve in the test's own loop."""
    server, served = await _begin()
    yield served
    served.service.cut_watches()
    await server.stop(0)


@pytest.fixture
async def df(served: Served) -> AsyncIterator[DataFlow]:
    """Connect a client."""
    async with DataFlow(served.address) as client:
        yield client


@pytest.fixture
def apart() -> Iterator[Served]:
    """Serve in a thread, for programs and blocking clients."""
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    begun = threading.Event()
    found: list[Served] = []

    async def work() -> None:
        server, served = await _begin()
        found.append(served)
        begun.set()
        await ended.wait()
        served.service.cut_watches()
        await server.stop(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(work())

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    yield found[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join()


async def _begin() -> tuple[aio.Server, Served]:
    service = Service()
    cluster = ClusterService(service)
    server = aio.server()
    add_PipelineServiceServicer_to_server(service, server)
    add_ClusterServiceServicer_to_server(cluster, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, Served(service, cluster, f"127.0.0.1:{port}")
