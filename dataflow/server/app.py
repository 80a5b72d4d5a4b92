"""The HTTP application: every route, as one ASGI function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from dataflow.server import endpoints
from dataflow.server.errors import EdgeError, failure
from dataflow.server.health import Health
from dataflow.server.replies import error_reply, reply
from dataflow.server.routes import routes_of
from dataflow.server.services import Services
from dataflow.server.websocket import WatchSocket

OptionsSchemas: TypeAlias = Callable[[], Mapping[str, Any]]
"""The JSON schema of each connector's and transform's options, by names such as ``file source``."""

SOCKETS = ("/api/v1/ws/pipelines", "/api/v1/ws/pipelines/{pipeline_id}")
PAGES = {"/docs": ("docs.html", "text/html"), "/docs/page.js": ("docs.js", "text/javascript")}
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'"
)

Verbs: TypeAlias = dict[str, tuple[str, endpoints.Answer]]


def make_app(
    services: Services,
    health: Health,
    registry: CollectorRegistry,
    options_schemas: OptionsSchemas,
    *,
    loopback: bool,
) -> ASGIApp:
    """Return the application; ``loopback`` says that only this machine can reach it."""
    paths: dict[str, Verbs] = {}
    for route in routes_of(services.rpcs):
        answer = endpoints.rpc_answer(route, services)
        if route.rpc.name == "IngestBatch":
            answer = endpoints.ingest_answer(services)
        paths.setdefault(route.template, {})[route.verb] = (route.rpc.name, answer)
    for path, answer in _plain(services, health, registry, options_schemas).items():
        paths[path] = {"GET": (path, answer), "HEAD": (path, answer)}

    def endpoint(verbs: Verbs) -> endpoints.Endpoint:
        return endpoints.Endpoint(services, verbs, loopback=loopback)

    routes: list[BaseRoute] = [Route(path, endpoint(verbs)) for path, verbs in paths.items()]
    watch = WatchSocket(services, loopback=loopback)
    routes += [WebSocketRoute(path, watch) for path in SOCKETS]
    return Router(routes, redirect_slashes=False, default=_nowhere(endpoint({}), services))


def _nowhere(missing: ASGIApp, services: Services) -> ASGIApp:
    async def answer(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own types
        if scope["type"] == "http":
            await missing(scope, receive, send)
        else:
            told = failure(EdgeError("UNKNOWN_PATH", "there is nothing here"), services.new_id)
            refused = error_reply(told, services.clock.now())
            await WebSocket(scope, receive, send).send_denial_response(refused)

    return answer


def _plain(
    services: Services,
    health: Health,
    registry: CollectorRegistry,
    options_schemas: OptionsSchemas,
) -> Mapping[str, endpoints.Answer]:
    """Return the routes that are no rpc."""
    described: list[bytes] = []

    async def live(_: Request) -> Response:
        return reply(orjson.dumps({"status": "live"}))

    async def ready(_: Request) -> Response:
        if health.serving:
            return reply(orjson.dumps({"status": "ready"}))
        return reply(orjson.dumps({"status": "not ready"}), 503)

    async def metrics(_: Request) -> Response:
        from prometheus_client import exposition  # noqa: PLC0415 - brings an HTTP server along

        text = exposition.generate_latest(registry)
        return reply(text, media_type=exposition.CONTENT_TYPE_PLAIN_0_0_4)

    async def openapi(_: Request) -> Response:
        from dataflow.server.openapi import describe  # noqa: PLC0415 - needed when asked for

        if not described:
            document = describe(routes_of(services.rpcs), options_schemas())
            described.append(orjson.dumps(document))
        return reply(described[0])

    pages = {path: _page(*page) for path, page in PAGES.items()}
    return {
        "/health": live,
        "/ready": ready,
        "/metrics": metrics,
        "/openapi.json": openapi,
        **pages,
    }


def _page(name: str, media_type: str) -> endpoints.Answer:
    async def answer(_: Request) -> Response:
        content = (Path(__file__).parent / name).read_bytes()
        response = reply(content, media_type=media_type)
        response.headers["content-security-policy"] = CONTENT_POLICY
        return response

    return answer
