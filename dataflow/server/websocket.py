"""WebSocket: every change of one pipeline or of all, as JSON texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from dataflow.server.errors import failure
from dataflow.server.guard import check_origin
from dataflow.server.observe import OK
from dataflow.server.replies import error_reply
from dataflow.server.services import Services
from dataflow.v1 import pipeline_pb2
from dataflow.wire import json

QUEUE_MAX = 256
"""Changes that wait for a slow consumer: a minute of one pipeline's rates."""

CLOSE_PATIENCE_S = 5
"""For a slow consumer to take the frame that says why it is dropped."""

TRY_AGAIN_LATER = 1013
INTERNAL_ERROR = 1011
GOING_AWAY = 1001


class _SlowConsumer(Exception):
    """It reads more slowly than things happen."""


class WatchSocket:
    """One WebSocket path."""

    def __init__(self, services: Services, *, loopback: bool) -> None:
        self._services = services
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        socket = WebSocket(scope, receive, send)
        started = self._services.clock.steady()
        code = OK
        try:
            check_origin(Headers(scope=scope), "CONNECT", loopback=self._loopback)
            await self._serve(socket)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets what it may know
            told = failure(error, self._services.new_id)
            code = told.code
            await socket.send_denial_response(error_reply(told, self._services.clock.now()))
        finally:
            elapsed = self._services.clock.steady() - started
            self._services.requests.observe("websocket", "WatchPipelines", code, elapsed)

    async def _serve(self, socket: WebSocket) -> None:
        """Refuse by an exception before the connection is accepted, and by a close after."""
        request = pipeline_pb2.WatchPipelinesRequest()
        json.fill_from_query(request, socket.query_params.multi_items())
        request.pipeline_id = socket.path_params.get("pipeline_id", "") or request.pipeline_id
        await self._services.streams.check_watch(request)
        await socket.accept()
        watched = self._services.streams.watch(request)
        close_code, reason = await _relay(socket, watched, self._services)
        if close_code:
            await _close(socket, close_code, reason)


async def _relay(
    socket: WebSocket,
    watched: AsyncGenerator[pipeline_pb2.WatchPipelinesResponse, None],
    services: Services,
) -> tuple[int, str]:
    """Send until the client goes (0), is too slow, or watching ends; return why."""
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_MAX)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_gather(watched, queue))
            group.create_task(_send(socket, queue))
            group.create_task(_until_gone(socket))
    except BaseExceptionGroup as ended:
        error = ended.exceptions[0]
        if isinstance(error, WebSocketDisconnect):
            return 0, ""
        if isinstance(error, _SlowConsumer):
            return TRY_AGAIN_LATER, f"too slow: {QUEUE_MAX} changes waited; connect again"
        told = failure(error, services.new_id)
        return INTERNAL_ERROR, told.message.encode()[:120].decode(errors="ignore")
    return GOING_AWAY, "watching has ended"


async def _gather(
    watched: AsyncGenerator[pipeline_pb2.WatchPipelinesResponse, None], queue: asyncio.Queue[str]
) -> None:
    async with aclosing(watched):
        async for told in watched:
            try:
                queue.put_nowait(json.dump(told).decode())
            except asyncio.QueueFull:
                raise _SlowConsumer from None


async def _send(socket: WebSocket, queue: asyncio.Queue[str]) -> None:
    while True:
        await socket.send_text(await queue.get())


async def _until_gone(socket: WebSocket) -> None:
    """Read what the client says, which is nothing but that it closes."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    try:
        async with asyncio.timeout(CLOSE_PATIENCE_S):
            await socket.close(code, reason)
    except (TimeoutError, WebSocketDisconnect):
        return  # the protocol cuts the connection of whoever does not take even this
