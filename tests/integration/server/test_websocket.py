"""WebSocket: what watchers get, and who is kept out or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dataflow.server import websocket
from tests.integration.server.conftest import EXAMPLE, Server

V1 = "/api/v1/pipelines"
WS = "/api/v1/ws/pipelines"


@pytest.fixture
async def socket(server: Server) -> AsyncIterator[ClientConnection]:
    """Watch all pipelines."""
    async with connect(f"ws://{server.at.http}{WS}", proxy=None) as opened:
        yield opened


async def _heard(socket: ClientConnection) -> dict[str, object]:
    async with asyncio.timeout(5):
        heard: dict[str, object] = orjson.loads(await socket.recv())
    return heard


async def _hear_all(socket: ClientConnection) -> None:
    async with asyncio.timeout(5):
        while True:
            await socket.recv()


async def test_every_change_is_told_as_json(
    socket: ClientConnection, http: httpx.AsyncClient
) -> None:
    """The same message as over gRPC, in the JSON of the API."""
    await http.post(V1, content=EXAMPLE)
    told = await _heard(socket)
    assert told["status"] == "configured"
    event = told["event"]
    assert isinstance(event, dict)
    assert event["pipelineCreated"]["spec"]["name"] == "My Pipeline"


async def test_one_pipeline_is_watched_alone(
    server: Server, http: httpx.AsyncClient, pipeline: str
) -> None:
    """Others change too, and are not told."""
    async with connect(f"ws://{server.at.http}{WS}/{pipeline}", proxy=None) as one:
        await http.post(V1, content=EXAMPLE)
        await http.post(f"{V1}/{pipeline}/start")
        told = await _heard(one)
    assert (told["pipelineId"], told["status"]) == (pipeline, "running")


async def test_a_watcher_that_goes_is_forgotten(server: Server, socket: ClientConnection) -> None:
    """Nothing is kept for who does not listen."""
    await socket.close()
    async with asyncio.timeout(5):
        await server.backend.unwatched.wait()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (WS, {"Origin": "http://evil.example"}, 403),
        (WS, {"Host": "evil.example"}, 403),
        (WS + "/nobody", {}, 404),
        (WS + "?after=1", {}, 400),
        (WS + "?aftr=1", {}, 400),
    ],
)
async def test_what_may_not_be_watched_is_refused_at_the_door(
    server: Server, path: str, headers: dict[str, str], status: int
) -> None:
    """A browser's page of another site among it: it could read everything."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://{server.at.http}{path}", additional_headers=headers, proxy=None):
            pass
    assert caught.value.response.status_code == status


async def test_a_page_of_the_same_site_may_watch(server: Server) -> None:
    """The dashboard is one."""
    origin = {"Origin": f"http://{server.at.http}"}
    async with connect(f"ws://{server.at.http}{WS}", additional_headers=origin, proxy=None) as one:
        assert (await one.ping()) is not None


async def test_a_slow_consumer_is_dropped_and_told_why(
    server: Server, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for one watcher is bounded; it connects again and loses nothing it can't ask for.

    The sending is what is made slow here: a flood that outruns real sockets takes seconds.
    """
    monkeypatch.setattr(websocket, "QUEUE_MAX", 8)
    server.backend.flood = 1000
    path = f"ws://{server.at.http}{WS}/{pipeline}"
    async with connect(path, proxy=None) as one:
        with pytest.raises(ConnectionClosed) as caught:
            await _hear_all(one)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1013
    assert "too slow" in caught.value.rcvd.reason
    async with asyncio.timeout(5):
        await server.backend.unwatched.wait()


async def test_a_message_beyond_the_frame_limit_ends_the_connection(
    socket: ClientConnection,
) -> None:
    """A client has nothing to say, and a mebibyte is more than nothing."""
    await socket.send(b"x" * (1 << 20))
    await socket.send(b"x" * ((1 << 20) + 1))
    with pytest.raises(ConnectionClosed) as caught:
        await _heard(socket)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


async def test_a_path_where_nothing_is_told_is_not_found(server: Server) -> None:
    """Forbidden would mean that somebody else may watch there."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{server.at.http}/api/v1/ws/nothing", proxy=None)
    assert refused.value.response.status_code == 404
    assert orjson.loads(refused.value.response.body or b"")["error"] == "UNKNOWN_PATH"
