"""Every route that there is, as curl would use it, against the real program."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa

from tests.e2e.programs import Api, Server, until
from tests.e2e.specs import generated, line, sink, source, where, written

CONSOLE = {"sinkType": "console"}

ROUTES = {
    "/api/v1/cluster": {"get"},
    "/api/v1/cluster/nodes": {"get"},
    "/api/v1/cluster/shards": {"get"},
    **{f"/api/v1/cluster/nodes/{{nodeId}}/{act}": {"post"} for act in ("drain", "undrain")},
    **{f"/api/v1/cluster/shards/{{shard}}/{act}": {"post"} for act in ("move", "unpin")},
    "/api/v1/pipelines": {"get", "post"},
    "/api/v1/pipelines/{pipelineId}": {"get", "put", "delete"},
    **{
        f"/api/v1/pipelines/{{pipelineId}}/{act}": {"post"}
        for act in ("start", "stop", "pause", "resume", "reset", "rollback", "replay", "batches")
    },
    **{
        f"/api/v1/pipelines/{{pipelineId}}/{part}": {"get"}
        for part in ("metrics", "health", "events", "versions", "deadletters")
    },
    "/api/v1/pipelines/{pipelineId}/deadletters/causes": {"get"},
    "/api/v1/pipelines/{pipelineId}/deadletters/purge": {"post"},
    "/api/v1/pipelines/{pipelineId}/deadletters/replay": {"post"},
    "/api/v1/pipelines:validate": {"post"},
    "/api/v1/pipelines:preview": {"post"},
}


def test_the_request_of_the_manual_works_as_it_stands(http: Api, server: Server) -> None:
    """Everybody's first try: the file's rows on the server's standard output."""
    (server.folder / "input.csv").write_text("city,people\nUlm,127000\nBonn,\n")
    body = (
        '{"name": "My Pipeline", "description": "Test pipeline",\n'
        f' "source": {{"sourceType": "file", "connectionString": "{server.folder}/input.csv",'
        ' "batchSize": 100},\n'
        ' "transforms": [],\n'
        ' "sink": {"sinkType": "console", "connectionString": "", "batchSize": 10}}'
    )
    answer = http.client.post("/pipelines", content=body.encode())
    assert answer.status_code == 201
    made = answer.json()
    assert made["status"] == "configured"
    assert made["message"]
    pipeline = made["pipelineId"]
    started = http.post(f"/pipelines/{pipeline}/start")
    assert {"pipelineId", "status", "message", "timestamp"} <= started.keys()
    shown = http.completed(pipeline)
    assert server.out.splitlines()[-2:] == [
        '{"city":"Ulm","people":127000}',
        '{"city":"Bonn","people":null}',
    ]
    assert shown["guarantee"] == "at-least-once"
    assert {
        *("pipelineId", "name", "description", "status", "source", "transforms", "sink"),
        *("metrics", "checkpoint", "createdAt", "updatedAt", "version", "owner"),
    } <= shown.keys()


def test_the_routes_are_those_of_the_manual(server: Server) -> None:
    """What is described is served; what is not built yet is absent, not a stub."""
    described = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    found = {path: set(verbs) for path, verbs in described.items() if path.startswith("/api/")}
    assert found == ROUTES
    missing = httpx.get(f"{server.url}/api/v1/pipelines/x/lineage")
    assert (missing.status_code, missing.json()["error"]) == (404, "UNKNOWN_PATH")


def test_pages_and_probes_answer(http: Api, server: Server) -> None:
    """What a browser, an orchestrator and Prometheus ask for."""
    http.get("/pipelines")
    for path, kind, word in (
        ("/health", "application/json", "live"),
        ("/ready", "application/json", "ready"),
        ("/docs", "text/html", "<html"),
        ("/docs/page.js", "text/javascript", "openapi.json"),
        ("/openapi.json", "application/json", '"openapi":"3.1.0"'),
        ("/metrics", "text/plain", 'dataflow_requests_total{code="OK",method="ListPipelines"'),
    ):
        answer = httpx.get(f"{server.url}{path}")
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith(kind), path
        assert word in answer.text, path


def test_a_life_over_http(http: Api, folder: Path) -> None:
    """Each verb once, in the order of a pipeline's life; what holds already changes nothing."""
    spec = {
        **line(generated(0, 2000), sink(folder / "out.csv"), where("id % 2 = 0")),
        "pipelineId": "a-life",
        "name": "Life",
        "labels": {"team": "blue"},
    }
    assert http.create(spec) == "a-life"
    assert http.post("/pipelines/a-life/start")["changed"] is True
    assert http.post("/pipelines/a-life/start")["changed"] is False
    until(lambda: http.get("/pipelines/a-life/metrics")["totalRecordsProcessed"] > 100)
    paused = http.post("/pipelines/a-life/pause", {"reason": "lunch"})
    assert (paused["status"], paused["message"]) == ("paused", "paused: lunch")
    rested = http.get("/pipelines/a-life/metrics")["totalRecordsProcessed"]
    assert http.post("/pipelines/a-life/resume")["status"] == "running"
    until(lambda: http.get("/pipelines/a-life/metrics")["totalRecordsProcessed"] > rested)
    assert http.get("/pipelines/a-life/health")["health"] == "healthy"
    stopped = http.post("/pipelines/a-life/stop", {"reason": "done", "deadline": "10s"})
    assert (stopped["status"], stopped["message"]) == ("stopped", "stopped: done")
    listed = http.get("/pipelines", status="stopped", label="team=blue", q="Lif")
    assert [p["pipelineId"] for p in listed["pipelines"]] == ["a-life"]
    metrics = http.get("/pipelines/a-life/metrics")
    ledger = metrics["sinks"]["sink"]["ledger"]
    assert ledger["recordsRead"] == ledger["recordsWritten"] + ledger["recordsFiltered"]
    assert len(written(folder / "out.csv")) == ledger["recordsWritten"]
    deleted = http.client.delete("/pipelines/a-life").json()
    assert deleted["status"] == "deleted"
    assert http.get("/pipelines", label="team=blue")["total"] == 0
    types = [e["tags"]["type"] for e in http.get("/pipelines/a-life/events")["events"]]
    assert types[:2] == ["PipelineCreated", "PipelineStarted"]
    assert types[-1] == "PipelineDeleted"
    assert {"PauseRequested", "PipelinePaused", "PipelineResumed", "StopRequested"} <= set(types)


def test_a_list_is_read_page_by_page(http: Api) -> None:
    """Each pipeline once, in order."""
    made = [
        http.create(
            {**line(generated(1), CONSOLE), "pipelineId": f"page-{n}", "labels": {"p": "1"}}
        )
        for n in range(5)
    ]
    found: list[str] = []
    token = ""
    while True:
        page = http.get("/pipelines", label="p", pageSize=2, pageToken=token)
        assert page["total"] == 5
        found += [p["pipelineId"] for p in page["pipelines"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert found == made


def test_a_retried_request_with_its_key_gets_the_first_answer(http: Api) -> None:
    """A reply that was lost on its way is asked for again, and nothing happens twice."""
    spec = line(generated(1), CONSOLE, name="once")
    key = {"Idempotency-Key": "key-1"}
    first = http.client.post("/pipelines", json=spec, headers=key)
    again = http.client.post("/pipelines", json=spec, headers=key)
    assert first.status_code == 201
    assert again.json() == first.json()
    other = http.client.post("/pipelines", json={**spec, "name": "other"}, headers=key)
    assert (other.status_code, other.json()["error"]) == (400, "COMMAND_ID_REUSED")
    assert http.get("/pipelines", q="once")["total"] == 1


def test_batches_are_pushed_in_three_forms_and_once_each(http: Api, folder: Path) -> None:
    """JSON, NDJSON and an Arrow stream; the same batch id again adds nothing."""
    push = {"sourceType": "push", "options": {"schema": {"id": "int64", "note": "string"}}}
    pipeline = http.create(line(push, sink(folder / "out.csv")))
    http.start(pipeline)
    path = f"/pipelines/{pipeline}/batches"
    body = {"batchId": "j", "records": [{"id": 1, "note": "json"}]}
    assert http.post(path, body)["duplicate"] is False
    assert http.post(path, body)["duplicate"] is True
    lines = b'{"id": 2, "note": "nd"}\n{"id": 3, "note": null}\n'
    kind = {"content-type": "application/x-ndjson"}
    for _ in range(2):
        answer = http.client.post(f"{path}?batchId=n", content=lines, headers=kind)
        assert answer.json()["records"] == 2
    buffer = pa.BufferOutputStream()
    batch = pa.record_batch({"id": [4], "note": ["arrow"]})
    with pa.ipc.new_stream(buffer, batch.schema) as stream:
        stream.write_batch(batch)
    kind = {"content-type": "application/vnd.apache.arrow.stream"}
    content = buffer.getvalue().to_pybytes()
    answer = http.client.post(f"{path}?batchId=a", content=content, headers=kind)
    assert answer.json()["records"] == 1
    bad = http.post(path, {"batchId": "b", "records": [{"id": 5}, {"id": "x"}]}, 400)
    assert bad["error"] == "RECORD_REJECTED"
    assert "records[1].id: expected int64" in bad["message"]
    until(lambda: http.get(f"/pipelines/{pipeline}/metrics")["totalRecordsProcessed"] == 4)
    http.post(f"/pipelines/{pipeline}/stop")
    refused = http.post(path, body | {"batchId": "late"}, 400)
    assert (
        "batches are taken while running or paused; the pipeline is stopped" in refused["message"]
    )
    assert written(folder / "out.csv") == [["1", "json"], ["2", "nd"], ["3", ""], ["4", "arrow"]]


def test_a_preview_shows_each_step_and_writes_nothing(http: Api, folder: Path) -> None:
    """Neither the sink is opened nor any position moved."""
    (folder / "in.csv").write_text("a,b\n1,x\n2,y\n3,z\n")
    spec = line(source(folder / "in.csv"), sink(folder / "out.csv"), where("a <> 2"))
    steps = http.post("/pipelines:preview", {**spec, "records": 2})["steps"]
    assert [step["step"] for step in steps] == ["source", "t1"]
    assert [_row(record) for record in steps[0]["records"]] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert [_row(record) for record in steps[1]["records"]] == [{"a": 1, "b": "x"}]
    assert steps[1]["filtered"] == 1
    assert steps[0]["columns"] == [{"name": "a", "type": "int64"}, {"name": "b", "type": "string"}]
    assert not (folder / "out.csv").exists()
    valid = http.post("/pipelines:validate", spec)
    assert (valid["valid"], valid["guarantee"]) == (True, "exactly-once")


def _row(record: Any) -> Any:  # noqa: ANN401 - JSON, as text or as it is
    return json.loads(record) if isinstance(record, str) else record


def test_the_past_can_be_visited(http: Api) -> None:
    """By the number of an event and by a time."""
    pipeline = http.create(line(generated(1), CONSOLE, name="before"))
    http.client.put(f"/pipelines/{pipeline}", json=line(generated(2), CONSOLE, name="after"))
    then = http.get(f"/pipelines/{pipeline}", at="1")
    assert (then["name"], then["version"], then["sequence"]) == ("before", 1, 1)
    created = datetime.fromisoformat(then["createdAt"])
    at = http.get(f"/pipelines/{pipeline}", at=created.isoformat())
    assert at["name"] == "before"
    early = http.client.get(
        f"/pipelines/{pipeline}", params={"at": (created - timedelta(hours=1)).isoformat()}
    )
    assert early.status_code == 404
    assert http.client.get(f"/pipelines/{pipeline}", params={"at": "soon"}).status_code == 400
    assert http.pipeline(pipeline)["name"] == "after"
