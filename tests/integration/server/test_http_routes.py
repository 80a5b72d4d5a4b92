"""Every route that the manual names, over a real socket."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from dataflow.server import parameters
from tests.integration.server.conftest import EXAMPLE, Server

V1 = "/api/v1/pipelines"


async def test_the_example_request_is_answered_with_201(http: httpx.AsyncClient) -> None:
    """It stands in every introduction, so it works as it stands."""
    response = await http.post(V1, content=EXAMPLE)
    assert response.status_code == 201
    answer = response.json()
    assert answer["status"] == "configured"
    assert answer["pipelineId"].startswith("p-")
    assert answer["message"]


async def test_the_chosen_id_is_taken(http: httpx.AsyncClient) -> None:
    """`apply` is declarative by it."""
    body = orjson.loads(EXAMPLE) | {"pipelineId": "flights"}
    response = await http.post(V1, json=body)
    assert response.json()["pipelineId"] == "flights"


async def test_pipelines_are_listed_page_by_page(http: httpx.AsyncClient) -> None:
    """Each page leads to the next, and the last to none."""
    for name in ("a", "b", "c"):
        await http.post(V1, json=orjson.loads(EXAMPLE) | {"pipelineId": name})
    first = (await http.get(V1, params={"pageSize": 2})).json()
    assert [line["pipelineId"] for line in first["pipelines"]] == ["a", "b"]
    assert first["total"] == 3
    rest = await http.get(V1, params={"pageSize": 2, "pageToken": first["nextPageToken"]})
    assert [line["pipelineId"] for line in rest.json()["pipelines"]] == ["c"]
    assert rest.json()["nextPageToken"] == ""


async def test_an_empty_list_is_shown_with_its_total(http: httpx.AsyncClient) -> None:
    """A program reads three fields, and all three are there."""
    answer = (await http.get(V1)).json()
    assert answer == {"pipelines": [], "total": 0, "nextPageToken": ""}


async def test_the_list_is_filtered_by_status(http: httpx.AsyncClient) -> None:
    """The words are those that the answers show."""
    await http.post(V1, content=EXAMPLE)
    assert (await http.get(V1, params={"status": "running"})).json()["total"] == 0
    assert (await http.get(V1, params={"status": "configured"})).json()["total"] == 1


async def test_details_show_the_spec_as_it_was_written(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """The stored graph is shown in the short form, with all that is known beside it."""
    details = (await http.get(f"{V1}/{pipeline}")).json()
    written = orjson.loads(EXAMPLE)
    assert details["source"]["connectionString"] == written["source"]["connectionString"]
    assert details["sink"]["batchSize"] == 10
    assert details["transforms"] == []
    assert details["metrics"]["totalRecordsProcessed"] == 7
    assert details["metrics"]["averageProcessingTimeMs"] == 2.5
    assert details["checkpoint"]["positions"]["s"]["position"] == {"offset": 7}
    assert details["createdAt"] == details["updatedAt"] == "2026-05-01T12:00:00Z"
    assert (details["version"], details["owner"], details["status"]) == (1, "here", "configured")
    assert details["guarantee"] == "exactly-once"


async def test_the_past_is_shown_by_sequence_and_by_time(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """Time travel: both ways to name a moment."""
    await http.post(f"{V1}/{pipeline}/start")
    at_first = await http.get(f"{V1}/{pipeline}", params={"at": "1"})
    assert at_first.json()["status"] == "configured"
    later = await http.get(f"{V1}/{pipeline}", params={"at": "2030-01-01T00:00:00Z"})
    assert later.json()["status"] == "running"


async def test_an_update_is_a_new_version(http: httpx.AsyncClient, pipeline: str) -> None:
    """What is shown may be sent back: changed in one field."""
    body = orjson.loads(EXAMPLE) | {"name": "Renamed", "pipelineId": pipeline}
    answer = (await http.put(f"{V1}/{pipeline}", json=body)).json()
    assert (answer["version"], answer["changed"]) == (2, True)


async def test_sending_back_what_is_shown_changes_nothing(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """An editor that saves without an edit makes no version."""
    spec = {
        key: value
        for key, value in (await http.get(f"{V1}/{pipeline}")).json().items()
        if key in {"name", "description", "labels", "source", "transforms", "sink", "options"}
    }
    answer = (await http.put(f"{V1}/{pipeline}", json=spec)).json()
    assert (answer["version"], answer["changed"]) == (1, False)


@pytest.mark.parametrize(
    ("verbs", "status"),
    [
        (["start"], "running"),
        (["start", "stop"], "stopped"),
        (["start", "pause"], "paused"),
        (["start", "pause", "resume"], "running"),
        (["replay"], "configured"),
    ],
)
async def test_each_verb_of_the_lifecycle_is_answered(
    http: httpx.AsyncClient, pipeline: str, verbs: list[str], status: str
) -> None:
    """The four fields of an operation's answer, and the status it led to."""
    *before, verb = verbs
    for earlier in before:
        await http.post(f"{V1}/{pipeline}/{earlier}", json={})
    response = await http.post(f"{V1}/{pipeline}/{verb}", json={})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["status"] == status
    assert {"pipelineId", "status", "message", "timestamp"} <= set(answer)


async def test_a_stop_carries_its_reason_and_deadline(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """Both stand in the body, the deadline in words."""
    await http.post(f"{V1}/{pipeline}/start")
    body = {"reason": "maintenance", "deadline": "5m"}
    answer = (await http.post(f"{V1}/{pipeline}/stop", json=body)).json()
    assert answer["message"] == "stopped: maintenance"


async def test_a_reset_and_a_rollback_are_routed(http: httpx.AsyncClient, pipeline: str) -> None:
    """Their refusals come from the rules of the lifecycle, not from a missing route."""
    await http.post(f"{V1}/{pipeline}/start")
    reset = await http.post(f"{V1}/{pipeline}/reset", json={})
    assert reset.json()["error"] == "FORBIDDEN_TRANSITION"
    await http.post(f"{V1}/{pipeline}/stop")
    rollback = await http.post(f"{V1}/{pipeline}/rollback", json={"version": 9})
    assert rollback.json()["error"] == "UNKNOWN_VERSION"
    assert rollback.status_code == 404


async def test_a_deleted_pipeline_answers_with_its_status(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """DELETE has no body; its answer has the usual one."""
    response = await http.delete(f"{V1}/{pipeline}")
    assert (response.status_code, response.json()["status"]) == (200, "deleted")


async def test_metrics_hold_totals_and_a_ledger_by_sink(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """Flat totals for charts, the ledger for who wants to check."""
    metrics = (await http.get(f"{V1}/{pipeline}/metrics")).json()
    assert metrics["totalBatchesProcessed"] == 2
    assert metrics["deadLetters"] == 2
    assert metrics["sinks"]["sink"]["ledger"] == metrics["ledger"]
    assert metrics["ledger"]["recordsRead"] == 7


async def test_health_is_a_word_and_a_sentence(http: httpx.AsyncClient, pipeline: str) -> None:
    """Monitoring needs the word, people the sentence."""
    await http.post(f"{V1}/{pipeline}/start")
    health = (await http.get(f"{V1}/{pipeline}/health")).json()
    assert (health["health"], health["status"]) == ("healthy", "running")
    assert health["message"] == "processing"


async def test_events_are_listed_and_chosen_by_type(http: httpx.AsyncClient, pipeline: str) -> None:
    """The audit trail: who, what, when."""
    await http.post(f"{V1}/{pipeline}/start", headers={"x-dataflow-actor": "ada"})
    events = (await http.get(f"{V1}/{pipeline}/events")).json()["events"]
    assert [event["sequence"] for event in events] == [1, 2]
    assert [event["actor"] for event in events] == ["anonymous", "ada"]
    chosen = await http.get(f"{V1}/{pipeline}/events", params={"type": "PipelineStarted"})
    assert [event["pipelineStarted"] for event in chosen.json()["events"]] == [{}]
    page = (await http.get(f"{V1}/{pipeline}/events", params={"pageSize": 1})).json()
    rest = await http.get(f"{V1}/{pipeline}/events", params={"pageToken": page["nextPageToken"]})
    assert [event["sequence"] for event in rest.json()["events"]] == [2]


async def test_versions_are_listed_with_their_specs(http: httpx.AsyncClient, pipeline: str) -> None:
    """The latest first."""
    await http.put(f"{V1}/{pipeline}", json=orjson.loads(EXAMPLE) | {"name": "x"})
    page = (await http.get(f"{V1}/{pipeline}/versions", params={"pageSize": 1})).json()
    assert [version["version"] for version in page["versions"]] == [2]
    assert page["versions"][0]["spec"]["source"]["sourceType"] == "file"
    rest = await http.get(f"{V1}/{pipeline}/versions", params={"pageToken": page["nextPageToken"]})
    assert [version["version"] for version in rest.json()["versions"]] == [1]


MISREAD = {
    "foo": 1,
    "name": 5,
    "source": {"sourceType": "fil", "batchSize": "x", "options": {"formt": 1}},
    "transforms": [{"transformType": 7}],
    "sink": {"sinkType": "console"},
    "options": {"maxAttempts": -1},
}
EVERYTHING = [
    "foo",
    "name",
    "source.batchSize",
    "transforms[0].transformType",
    "options.maxAttempts",
    "source.sourceType",
    "source.options.formt",
]


async def test_validation_tells_what_could_not_be_read_with_the_rest(
    http: httpx.AsyncClient,
) -> None:
    """A misspelt field would hide every other mistake, and each is asked for once."""
    answer = await http.post(f"{V1}:validate", json=MISREAD | {"pipelineId": "Bad Id"})
    assert answer.status_code == 200
    told = answer.json()
    assert told["valid"] is False
    fields = [problem["field"] for problem in told["problems"]]
    assert fields == [*EVERYTHING[:4], "pipelineId", *EVERYTHING[4:]]
    twice = await http.post(f"{V1}:validate", content=EXAMPLE[:-1] + b',"name":"a","name":"b"}')
    assert [problem["field"] for problem in twice.json()["problems"]] == ["name"]
    assert (await http.post(f"{V1}:validate", content=b"[]")).status_code == 400


async def test_a_preview_of_a_pipeline_tells_nothing_of_a_spec(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """None was given, so none lacks its source."""
    told = await http.post(f"{V1}:preview", json={"pipelineId": pipeline, "recrods": 5})
    assert [entry["field"] for entry in told.json()["details"]] == ["recrods"]
    told = await http.post(f"{V1}:preview", json={"recrods": 5, "sink": {"sinkType": "console"}})
    assert [entry["field"] for entry in told.json()["details"]] == ["recrods", "source"]


async def test_create_and_update_tell_what_could_not_be_read_with_the_rest(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """As validation does."""
    created = await http.post(V1, json=MISREAD)
    updated = await http.put(f"{V1}/{pipeline}", json=MISREAD)
    for answer in (created, updated):
        assert answer.status_code == 400
        assert [entry["field"] for entry in answer.json()["details"]] == EVERYTHING
    ill_named = await http.post(V1, json=orjson.loads(EXAMPLE) | {"pipelineId": "A", "sink": None})
    fields = [entry["field"] for entry in ill_named.json()["details"]]
    assert fields == ["pipelineId", "sink"]


async def paged(http: httpx.AsyncClient, path: str, entries: str) -> list[list[Any]]:
    """Return every page of a list."""
    pages, token = [], "-"
    while token:
        parameters = {"pageSize": "1000"} | ({} if token == "-" else {"pageToken": token})
        page = (await http.get(path, params=parameters)).json()
        pages.append(page[entries])
        token = page["nextPageToken"]
    return pages


@pytest.mark.parametrize(("path", "entries"), [("events", "events"), ("versions", "versions")])
async def test_a_page_ends_where_a_message_would_be_too_large(
    http: httpx.AsyncClient, pipeline: str, path: str, entries: str
) -> None:
    """Whoever asks for 1,000 entries of a mebibyte gets them all, a few at a time."""
    for n in range(6):
        source = {"sourceType": "file", "connectionString": f"{n}" + "x" * 1_000_000}
        changed = {"source": source, "sink": {"sinkType": "console"}, "position": "beginning"}
        assert (await http.put(f"{V1}/{pipeline}", json=changed)).status_code == 200
    pages = await paged(http, f"{V1}/{pipeline}/{path}", entries)
    assert len(pages) == 2
    numbers = [entry["sequence"] for page in pages for entry in page]
    assert sorted(numbers) == list(range(1, 8))


async def test_a_page_of_large_dead_letters_is_shorter(
    http: httpx.AsyncClient, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the next page begins only the store of letters can say, so it is asked for fewer."""
    monkeypatch.setattr(parameters, "PAGE_BYTES_MAX", 50)
    pages = await paged(http, f"{V1}/{pipeline}/deadletters", "deadLetters")
    assert [len(page) for page in pages] == [1, 1, 1]


async def test_dead_letters_are_listed(http: httpx.AsyncClient, pipeline: str) -> None:
    """Each with its record, its error and its position."""
    answer = (await http.get(f"{V1}/{pipeline}/deadletters", params={"pageSize": 2})).json()
    assert answer["total"] == 3
    assert [letter["ordinal"] for letter in answer["deadLetters"]] == [0, 1]
    assert answer["nextPageToken"] == "2"


async def test_validation_reports_everything_and_stores_nothing(http: httpx.AsyncClient) -> None:
    """Shape and options in one go."""
    body = {
        "pipelineId": "Bad Id",
        "name": "n" * 201,
        "source": {"sourceType": "fil", "options": {"formt": "csv"}},
        "sink": {"sinkType": "console"},
    }
    answer = (await http.post("/api/v1/pipelines:validate", json=body)).json()
    assert answer["valid"] is False
    fields = [problem["field"] for problem in answer["problems"]]
    assert fields == ["pipelineId", "name", "source.sourceType", "source.options.formt"]
    assert (await http.get(V1)).json()["total"] == 0


async def test_a_valid_spec_is_told_its_guarantee(http: httpx.AsyncClient) -> None:
    """Before anything is stored."""
    answer = (await http.post("/api/v1/pipelines:validate", content=EXAMPLE)).json()
    given = {"step": "source", "columns": [{"name": "n", "type": "int64"}]}
    assert answer == {
        "valid": True,
        "problems": [],
        "guarantee": "exactly-once",
        "outputs": [given],
    }


async def test_a_preview_shows_records_as_objects(http: httpx.AsyncClient, pipeline: str) -> None:
    """Of a spec, or of a pipeline there is; ten records where no number is given."""
    answer = (await http.post("/api/v1/pipelines:preview", content=EXAMPLE)).json()
    [step] = answer["steps"]
    assert len(step["records"]) == 10
    assert step["records"][3] == {"n": 3}
    assert step["columns"] == [{"name": "n", "type": "int64"}]
    assert step["rejected"][0]["error"] == "no number"
    body = {"pipelineId": pipeline, "records": 2}
    answer = (await http.post("/api/v1/pipelines:preview", json=body)).json()
    assert len(answer["steps"][0]["records"]) == 2


async def test_a_preview_takes_records_in_place_of_a_source(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """As objects, an empty one too; none at all and too many are named."""
    where = "/api/v1/pipelines:preview"
    given = {"source": {"records": [{"n": 2**62}, {}]}}
    answer = (await http.post(where, json={"pipelineId": pipeline, "given": given})).json()
    assert answer["steps"][0]["records"] == [{"n": 2**62}, {}]
    for many in (0, 1_001):
        body = {"pipelineId": pipeline, "given": {"source": {"records": [{}] * many}}}
        told = await http.post(where, json=body)
        assert told.status_code == 400
        assert told.json()["details"][0]["field"] == "given.source.records"


async def test_health_and_readiness_of_the_process(http: httpx.AsyncClient, server: Server) -> None:
    """Alive while it starts, ready when every shard is served."""
    assert (await http.get("/health")).status_code == 200
    assert (await http.head("/health")).status_code == 200
    assert (await http.get("/ready")).status_code == 200
    server.backend.ready = False
    assert (await http.get("/health")).status_code == 200
    assert (await http.get("/ready")).status_code == 503


async def test_metrics_count_requests_by_method_and_code(http: httpx.AsyncClient) -> None:
    """By the rpc's name, not by the path, which has as many values as there are pipelines."""
    await http.post(V1, content=EXAMPLE)
    await http.get(f"{V1}/nobody")
    text = (await http.get("/metrics")).text
    counted = 'dataflow_requests_total{code="OK",method="CreatePipeline",transport="http"} 1.0'
    assert counted in text
    assert 'code="UNKNOWN_PIPELINE",method="GetPipeline"' in text
    assert "dataflow_request_seconds_bucket" in text


async def test_the_documents_page_needs_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    """It is read where there is no way out."""
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    script = await http.get("/docs/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "/openapi.json" in script.text
