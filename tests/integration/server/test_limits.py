"""What the manual states as limits, each made small enough to be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client import CollectorRegistry

from dataflow.server import endpoints, rpc
from dataflow.server import serve as serving
from dataflow.v1 import pipeline_pb2 as p
from dataflow.v1.pipeline_pb2_grpc import PipelineServiceStub
from dataflow.wire import json
from tests.integration.server.conftest import EXAMPLE, SETTINGS, Server, SystemClock
from tests.integration.server.fake_backend import FakeBackend
from tests.integration.server.quiet_cluster import nobody

V1 = "/api/v1/pipelines"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server started from now on take little at once."""
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(rpc, "RPCS_MAX", 2)


@asynccontextmanager
async def served(backend: FakeBackend) -> AsyncIterator[serving.Served]:
    """Serve, with limits as they are now."""
    async with serving.serve(
        backend,
        nobody(SystemClock()),
        SETTINGS,
        clock=SystemClock(),
        new_id=lambda: "made-up",
        registry=CollectorRegistry(),
    ) as at:
        yield at


@asynccontextmanager
async def idle(address: str) -> AsyncIterator[None]:
    """Connect and say nothing."""
    _, writer = await asyncio.open_connection(*address.split(":"))
    yield
    writer.close()


@pytest.mark.usefixtures("few")
async def test_a_connection_too_many_is_told_to_come_later() -> None:
    """Memory is bounded, and whoever was let in is served on."""
    async with served(FakeBackend()) as at, httpx.AsyncClient(trust_env=False) as client:
        async with idle(at.http):
            fits = await client.get(f"http://{at.http}/health")
        async with idle(at.http), idle(at.http), idle(at.http):
            refused = await client.get(f"http://{at.http}/health")
    assert (fits.status_code, refused.status_code) == (200, 503)


@pytest.mark.usefixtures("few")
async def test_a_call_too_many_is_told_to_come_later() -> None:
    """Over all connections of gRPC together."""
    backend = FakeBackend()
    async with served(backend) as at, grpc.aio.insecure_channel(at.grpc) as channel:
        stub: Any = PipelineServiceStub(channel)
        watches = [stub.WatchPipelines(p.WatchPipelinesRequest()) for _ in range(2)]
        async with asyncio.timeout(5):
            while len(backend._watchers) < len(watches):  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListPipelines(p.ListPipelinesRequest())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_request_without_a_deadline_gets_one(
    http: httpx.AsyncClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that waits for ever holds a connection for ever."""
    monkeypatch.setattr(endpoints, "DEADLINE_DEFAULT", timedelta(milliseconds=100))
    server.backend.delay = 3
    response = await http.post(V1, content=EXAMPLE)
    assert (response.status_code, response.json()["error"]) == (504, "DEADLINE_EXCEEDED")
    assert "ask again" in response.json()["message"]


async def test_a_call_without_a_deadline_gets_one(
    channel: grpc.aio.Channel, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same over gRPC, where clients set theirs or forget it."""
    monkeypatch.setattr(rpc, "DEADLINE_DEFAULT", timedelta(milliseconds=100))
    server.backend.delay = 3
    stub: Any = PipelineServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreatePipeline(json.parse(EXAMPLE, p.CreatePipelineRequest))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("path", ["/docs", "/docs/page.js"])
async def test_the_page_of_the_manual_runs_its_own_script_alone(
    http: httpx.AsyncClient, path: str
) -> None:
    """It shows descriptions and answers, which others wrote, and may send every command."""
    policy = (await http.get(path)).headers["content-security-policy"]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert (rules["script-src"], rules["connect-src"]) == ("'self'", "'self'")


async def test_events_after_a_negative_number_are_refused(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """Read as 0, a sum gone wrong would pass for a wish for everything."""
    response = await http.get(f"{V1}/{pipeline}/events", params={"after": "-1"})
    assert response.status_code == 400
    assert [problem["field"] for problem in response.json()["details"]] == ["after"]


async def test_watching_after_a_negative_number_is_refused(
    channel: grpc.aio.Channel, pipeline: str
) -> None:
    """As for events."""
    stub: Any = PipelineServiceStub(channel)
    watch = stub.WatchPipelines(p.WatchPipelinesRequest(pipeline_id=pipeline, after=-1), timeout=5)
    assert await watch.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "after: " in await watch.details()
