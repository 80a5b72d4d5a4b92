"""Following pipelines live, by WebSocket and by the SDK, and the SDK's own round trip."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from dataflow.client import DataFlow, create_command
from dataflow.client.messages import Status
from tests.e2e.programs import PATIENCE_S, Server
from tests.e2e.specs import generated, line, sink, where, written

Document = dict[str, Any]


async def act(server: Server, pipeline: str, verb: str) -> None:
    """Give a command over HTTP."""
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as client:
        answer = await client.post(f"/api/v1/pipelines/{pipeline}/{verb}", json={})
    assert answer.status_code == 200, answer.text


async def heard(socket: ClientConnection) -> Document:
    """Return the next text, within reason."""
    async with asyncio.timeout(PATIENCE_S):
        told: Document = json.loads(await socket.recv())
    return told


@pytest.mark.parametrize("path", ["/api/v1/ws/pipelines/{}", "/api/v1/ws/pipelines"])
async def test_a_websocket_sees_changes_of_status_and_rates(
    server: Server, folder: Path, path: str
) -> None:
    """Of one pipeline or of all: a page needs to ask for nothing else."""
    async with DataFlow(server.grpc) as df:
        spec = line(generated(0, 2000), sink(folder / "out.csv"))
        pipeline = (await df.create(spec)).pipeline_id
    seen: list[Document] = []
    async with connect(f"ws://{server.addresses['http']}{path.format(pipeline)}") as socket:
        await act(server, pipeline, "start")
        while not any(s.get("metrics", {}).get("totalRecordsProcessed", 0) > 0 for s in seen):
            seen.append(await heard(socket))
        await act(server, pipeline, "stop")
        while not any("pipelineStopped" in s.get("event", {}) for s in seen):
            seen.append(await heard(socket))
    mine = [s for s in seen if s["pipelineId"] == pipeline]
    types = [s["event"]["tags"]["type"] for s in mine if "event" in s]
    assert [types[0], types[-1]] == ["PipelineStarted", "PipelineStopped"]
    assert {"running", "stopped"} <= {s["status"] for s in mine}
    assert any(s.get("metrics", {}).get("throughputPerSecond", 0) > 0 for s in mine)


async def test_a_websocket_of_an_unknown_pipeline_is_refused(server: Server) -> None:
    """Before it is opened, with the error as JSON."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://{server.addresses['http']}/api/v1/ws/pipelines/nobody"):
            pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["error"] == "UNKNOWN_PIPELINE"


async def test_the_sdk_makes_feeds_watches_and_ends_a_pipeline(
    server: Server, folder: Path
) -> None:
    """One connection for all of it, typed from end to end."""
    push = {"sourceType": "push", "options": {"schema": {"id": "int64"}}}
    spec = line(push, sink(folder / "out.csv"), where("id % 2 = 0"), name="By SDK")
    async with DataFlow(server.grpc) as df:
        checked = await df.validate(spec)
        assert checked.valid
        made = await df.create(spec, pipeline_id="by-sdk")
        assert made.status == Status.STATUS_CONFIGURED
        assert (await df.start("by-sdk")).changed
        batches = ([{"id": n} for n in range(k, k + 100)] for k in range(0, 1000, 100))
        answers = [answer async for answer in df.push_many("by-sdk", batches)]
        assert [answer.first_offset for answer in answers] == list(range(0, 1000, 100))
        again = await df.push("by-sdk", [{"id": 1000}], batch_id="last")
        assert not again.duplicate
        assert (await df.push("by-sdk", [{"id": 1000}], batch_id="last")).duplicate
        async for change in df.watch("by-sdk", after=1):
            if change.metrics.total_records_processed == 1001:
                break
        assert (await df.pause("by-sdk", reason="lunch")).status == Status.STATUS_PAUSED
        await df.resume("by-sdk")
        await df.stop("by-sdk", reason="done")
        ledger = (await df.metrics("by-sdk")).ledger
        assert (ledger.records_read, ledger.records_written) == (1001, 501)
        assert (await df.health("by-sdk")).health == "healthy"
        events = [event.sequence async for event in df.events("by-sdk")]
        assert events == list(range(1, len(events) + 1))
        assert [v.version async for v in df.versions("by-sdk")] == [1]
        assert [p.pipeline_id async for p in df.list(q="By SDK")] == ["by-sdk"]
        assert (await df.get("by-sdk", at=1)).status == Status.STATUS_CONFIGURED
        assert (await df.delete("by-sdk")).status == Status.STATUS_DELETED
    assert written(folder / "out.csv") == [[str(n)] for n in range(0, 1001, 2)]


async def test_commands_in_bulk_are_answered_each_in_order(server: Server) -> None:
    """One that is refused leaves its neighbours alone."""
    spec = line(generated(1), {"sinkType": "console"})
    names = [f"bulk-{number}" for number in range(200)]
    commands = [
        create_command(spec, pipeline_id=name, command_id="") for name in [*names, "bulk-7"]
    ]
    async with DataFlow(server.grpc) as df:
        answers = [answer async for answer in df.execute(commands)]
        assert [answer.pipeline_id for answer in answers[:200]] == names
        assert answers[200].refusal.code == "PIPELINE_EXISTS"
        assert [p.pipeline_id async for p in df.list(q="bulk-")] == sorted(names)
