"""Starting and stopping: ports, who may be served, and what becomes of open streams."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from dataflow.core.errors import Rejected, Unavailable
from dataflow.server.bind import Address, listen
from dataflow.server.serve import Served, Settings, serve
from dataflow.v1 import pipeline_pb2 as p
from dataflow.v1.pipeline_pb2_grpc import PipelineServiceStub
from tests.integration.server.conftest import EXAMPLE, SETTINGS, SystemClock
from tests.integration.server.fake_backend import FakeBackend
from tests.integration.server.quiet_cluster import nobody


def _serve(backend: FakeBackend, settings: Settings) -> AbstractAsyncContextManager[Served]:
    numbers = itertools.count()
    return serve(
        backend,
        nobody(SystemClock()),
        settings,
        clock=SystemClock(),
        new_id=lambda: f"made-up-{next(numbers)}",
        registry=CollectorRegistry(),
    )


def _at(which: str, address: str) -> Settings:
    if which == "http":
        return replace(SETTINGS, http_address=address)
    return replace(SETTINGS, grpc_address=address)


@pytest.mark.parametrize("which", ["http", "grpc"])
async def test_a_port_in_use_is_named_with_its_setting(which: str) -> None:
    """And the other port is free again."""
    with listen(Address("127.0.0.1", 0, "")) as taken:
        port = taken.getsockname()[1]
        settings = _at(which, f"127.0.0.1:{port}")
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} is in use") as caught:
            async with _serve(FakeBackend(), settings):
                pass
    assert caught.value.field == f"DATAFLOW_{which.upper()}_ADDRESS"
    async with _serve(FakeBackend(), settings) as served:
        assert getattr(served, which) == f"127.0.0.1:{port}"


@pytest.mark.parametrize("which", ["http", "grpc"])
async def test_other_machines_are_not_served_by_accident(which: str) -> None:
    """Nothing is encrypted yet."""
    settings = _at(which, "0.0.0.0:0")
    with pytest.raises(Rejected, match="insecure_bind"):
        async with _serve(FakeBackend(), settings):
            pass
    async with _serve(FakeBackend(), replace(settings, insecure_bind=True)) as served:
        assert getattr(served, which).startswith("0.0.0.0:")


async def test_signals_stay_with_the_program() -> None:
    """The application checkpoints at SIGTERM; the HTTP server must not take it away."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with _serve(FakeBackend(), SETTINGS):
        during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert during == before


async def test_a_request_under_way_is_answered_before_the_end() -> None:
    """Over both protocols: whoever was let in gets the answer."""
    backend = FakeBackend()
    backend.delay = 0.3
    settings = replace(SETTINGS, grace=timedelta(seconds=5))
    async with asyncio.TaskGroup() as group, _serve(backend, settings) as served:
        over_http = group.create_task(_post(served.http))
        over_grpc = group.create_task(_create(served.grpc))
        async with asyncio.timeout(5):
            while backend.in_flight < 2:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0.01)
    assert over_http.result().status_code == 201
    assert over_grpc.result().changed


async def _post(address: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"http://{address}/api/v1/pipelines", content=EXAMPLE)


async def _create(address: str) -> p.CreatePipelineResponse:
    request = p.CreatePipelineRequest(pipeline_id="x")
    request.source.source_type = "file"
    request.sink.sink_type = "console"
    async with grpc.aio.insecure_channel(address) as channel:
        return await PipelineServiceStub(channel).CreatePipeline(request)


async def test_open_streams_do_not_hold_the_end_up() -> None:
    """A watcher or a gateway has its stream open for days; each is told to come again."""
    backend = FakeBackend()
    async with _serve(backend, replace(SETTINGS, grace=timedelta(seconds=20))) as served:
        channel = grpc.aio.insecure_channel(served.grpc)
        stub = PipelineServiceStub(channel)
        watch: Any = stub.WatchPipelines(p.WatchPipelinesRequest())
        bulk: Any = stub.Execute(_one_and_wait())
        health_stub: Any = health_pb2_grpc.HealthStub(channel)
        health = health_stub.Watch(health_pb2.HealthCheckRequest())
        await health.read()
        answer = await bulk.read()
        socket = await connect(f"ws://{served.http}/api/v1/ws/pipelines", proxy=None)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert len(answer.answers) == 1
    assert await watch.code() is grpc.StatusCode.UNAVAILABLE
    assert await bulk.code() is grpc.StatusCode.UNAVAILABLE
    assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(ConnectionClosed) as caught:
        await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    await channel.close()


async def _one_and_wait() -> AsyncIterator[p.ExecuteRequest]:
    yield p.ExecuteRequest(commands=[p.Command()])
    await asyncio.Event().wait()
