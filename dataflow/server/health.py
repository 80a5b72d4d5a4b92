"""Health by grpc.health.v1: serving once the platform is ready, until it drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dataflow.server.backend import Backend

WATCH_INTERVAL_S = 0.2
"""Between two looks at the platform, for those who watch."""


class Health(health_pb2_grpc.HealthServicer):
    """Tells what the platform says at the moment of the question."""

    def __init__(self, backend: Backend, names: Collection[str], draining: asyncio.Event) -> None:
        self._backend = backend
        self._names = names
        self._draining = draining

    @property
    def serving(self) -> bool:
        """Whether requests are welcome."""
        return self._backend.ready and not self._draining.is_set()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Tell whether a service serves; the empty name stands for all."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:80]!r}")
        return self._status(request.service)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Tell whether a service serves, and again whenever that changes, until the server ends."""
        told = None
        drained = False
        while not drained:
            drained = self._draining.is_set()
            now = self._status(request.service)
            if now != told:
                told = now
                yield now
            await asyncio.sleep(WATCH_INTERVAL_S)

    def _status(self, name: str) -> health_pb2.HealthCheckResponse:
        response = health_pb2.HealthCheckResponse
        if name not in self._names:
            return response(status=response.SERVICE_UNKNOWN)
        return response(status=response.SERVING if self.serving else response.NOT_SERVING)
