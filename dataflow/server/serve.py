"""Serving: gRPC and HTTP at their addresses, in one event loop, until the caller has enough.

    async with serve(backend, cluster, settings, ...) as served:
        ...                     # served.http, served.grpc: where
    # left: told as not serving, no new requests, those under way given `grace`, all closed

The caller owns the signals.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from dataflow.core.clock import Clock
from dataflow.core.errors import Rejected
from dataflow.server.app import OptionsSchemas, make_app
from dataflow.server.backend import Backend
from dataflow.server.bind import Address, address, listen
from dataflow.server.cluster_backend import ClusterBackend
from dataflow.server.connection import HttpConnection, WatchConnection
from dataflow.server.errors import NewId
from dataflow.server.observe import Requests
from dataflow.server.rpc import make_server
from dataflow.server.services import Services

CONNECTIONS_MAX = 1_000
"""Of HTTP; one more is told 503. An idle connection was measured at 9 KiB."""

KEEP_ALIVE_S = 60
"""An idle connection is closed after it."""

FRAME_BYTES_MAX = 1 << 20
"""Of a WebSocket message from a client, which has nothing to say."""

PING_S = 20
"""A WebSocket client that answers no ping for as long is gone."""


def _no_schemas() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to serve, and how."""

    http_address: str = "127.0.0.1:8080"
    grpc_address: str = "127.0.0.1:50051"
    http_setting: str = "DATAFLOW_HTTP_ADDRESS"
    grpc_setting: str = "DATAFLOW_GRPC_ADDRESS"
    insecure_bind: bool = False
    """Serve other machines although nothing is encrypted."""
    grace: timedelta = timedelta(seconds=10)
    """For requests under way when serving ends."""
    options_schemas: OptionsSchemas = field(default=_no_schemas)


@dataclass(frozen=True, slots=True)
class Served:
    """Where it is served."""

    http: str
    grpc: str


@asynccontextmanager
async def serve(
    backend: Backend,
    cluster: ClusterBackend,
    settings: Settings,
    *,
    clock: Clock,
    new_id: NewId,
    registry: CollectorRegistry,
) -> AsyncIterator[Served]:
    """Serve a backend, and the cluster that it is of, until the block is left.

    Raises:
        Rejected: an address is none, may not be bound, or could be reached by others.
        Unavailable: a port is in use.
    """
    http = address(
        settings.http_address, settings.http_setting, insecure_bind=settings.insecure_bind
    )
    grpc = address(
        settings.grpc_address, settings.grpc_setting, insecure_bind=settings.insecure_bind
    )
    services = Services(backend, cluster, clock=clock, new_id=new_id, requests=Requests(registry))
    rpc_server, health = make_server(services)
    app = make_app(services, health, registry, settings.options_schemas, loopback=http.is_loopback)
    with listen(http) as bound:
        at_grpc = _bind_grpc(rpc_server, grpc)
        await rpc_server.start()
        async with _http(app, bound, settings.grace) as http_server:
            try:
                host, port = bound.getsockname()[:2]
                yield Served(http=str(Address(host, port, "")), grpc=str(at_grpc))
            finally:
                services.draining.set()
                http_server.should_exit = True
                await rpc_server.stop(settings.grace.total_seconds())


def _bind_grpc(server: Any, wanted: Address) -> Address:  # noqa: ANN401 - grpc.aio.Server
    """Bind the gRPC server; a socket of our own finds out first why it would not work."""
    listen(wanted).close()
    try:
        port = server.add_insecure_port(str(wanted))
    except RuntimeError as error:
        raise Rejected(f"{wanted} cannot be bound", field=wanted.setting) from error
    return Address(wanted.host, port, wanted.setting)


class _Uvicorn(uvicorn.Server):
    """uvicorn, without its signal handlers, that says when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the program."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def _http(app: ASGIApp, bound: socket.socket, grace: timedelta) -> AsyncIterator[_Uvicorn]:
    config = uvicorn.Config(
        app,
        http=HttpConnection,
        ws=WatchConnection,
        ws_max_size=FRAME_BYTES_MAX,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace.total_seconds())),
    )
    server = _Uvicorn(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[bound]))
        await server.up.wait()
        try:
            yield server
        finally:
            server.should_exit = True
