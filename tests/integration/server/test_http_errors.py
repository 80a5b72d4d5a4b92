"""Bad requests over HTTP: each gets JSON that says what was wrong, and where the limits are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from dataflow.core.errors import Corrupted, Rejected, Unavailable
from dataflow.server import body as request_body
from dataflow.server import command_handlers, connection
from dataflow.server.body import BODY_BYTES_MAX, INGEST_BYTES_MAX
from tests.integration.server.conftest import EXAMPLE, Server

V1 = "/api/v1/pipelines"


async def test_an_error_has_a_code_a_message_its_fields_and_a_time(
    http: httpx.AsyncClient,
) -> None:
    """The shape that README states, which programs rely on."""
    response = await http.post(V1, content=b'{"source": {"batchSize": "x"}, "sinc": 1}')
    assert response.status_code == 400
    body = response.json()
    assert list(body) == ["error", "message", "details", "timestamp"]
    assert body["error"] == "INVALID"
    assert [entry["field"] for entry in body["details"]][:2] == ["source.batchSize", "sinc"]
    assert body["timestamp"].endswith("Z")


async def test_text_that_is_no_json_names_its_line_and_column(http: httpx.AsyncClient) -> None:
    """So that it is found in a long file."""
    response = await http.post(V1, content=b'{"name": "a",\n "x" 1}')
    assert "line 2 column 6" in response.json()["message"]


@pytest.mark.parametrize(
    ("verb", "path", "told"),
    [
        ("GET", "/api/v1/nothing", (404, "UNKNOWN_PATH")),
        ("GET", "/", (404, "UNKNOWN_PATH")),
        ("GET", V1 + "/", (404, "UNKNOWN_PATH")),
        ("PATCH", V1, (405, "METHOD_NOT_ALLOWED")),
        ("POST", "/health", (405, "METHOD_NOT_ALLOWED")),
        ("GET", V1 + "/nobody", (404, "UNKNOWN_PIPELINE")),
        ("GET", V1 + "/NO%20body", (404, "UNKNOWN_PIPELINE")),
        ("GET", V1 + "?pagesize=1", (400, "INVALID")),
        ("GET", V1 + "?pageSize=1001", (400, "INVALID")),
        ("GET", V1 + "?status=deletd", (400, "INVALID")),
        ("POST", V1 + "?name=x", (400, "INVALID")),
        ("GET", V1 + "/x/events?type=Nothing", (400, "INVALID")),
        ("GET", V1 + "/x/events?pageToken=abc", (400, "INVALID")),
        ("GET", V1 + "/x?at=yesterday", (400, "INVALID")),
        ("POST", V1 + "/nobody/start", (404, "UNKNOWN_PIPELINE")),
    ],
)
async def test_a_request_that_fits_nothing_is_told_why(
    http: httpx.AsyncClient, verb: str, path: str, told: tuple[int, str]
) -> None:
    """Nobody gets an empty page or a plain text."""
    response = await http.request(verb, path)
    assert (response.status_code, response.json()["error"]) == told, response.text


async def test_a_wrong_verb_is_told_the_right_ones(http: httpx.AsyncClient) -> None:
    """RFC 9110 asks for Allow with 405."""
    response = await http.patch(V1 + "/x")
    assert set(response.headers["allow"].split(", ")) == {"GET", "PUT", "DELETE"}


async def test_a_second_create_of_an_id_is_a_conflict(http: httpx.AsyncClient) -> None:
    """Two people chose the same name."""
    body = orjson.loads(EXAMPLE) | {"pipelineId": "taken"}
    await http.post(V1, json=body)
    response = await http.post(V1, json=body)
    assert (response.status_code, response.json()["error"]) == (409, "PIPELINE_EXISTS")


async def test_another_id_in_body_than_in_path_is_refused(
    http: httpx.AsyncClient, pipeline: str
) -> None:
    """One of the two is a mistake, and the server can't know which."""
    body = orjson.loads(EXAMPLE) | {"pipelineId": "other"}
    response = await http.put(f"{V1}/{pipeline}", json=body)
    assert response.json()["details"][0]["field"] == "pipelineId"


async def test_the_same_idempotency_key_gets_the_first_answer(http: httpx.AsyncClient) -> None:
    """A retry after a lost answer makes no second pipeline."""
    headers = {"Idempotency-Key": "k1"}
    first = await http.post(V1, content=EXAMPLE, headers=headers)
    again = await http.post(V1, content=EXAMPLE, headers=headers)
    assert first.json() == again.json()
    assert (await http.get(V1)).json()["total"] == 1


async def test_a_key_used_for_another_payload_is_refused(http: httpx.AsyncClient) -> None:
    """The first answer would be an answer to another question."""
    headers = {"Idempotency-Key": "k1", "x-dataflow-actor": "ada"}
    await http.post(V1, json=orjson.loads(EXAMPLE) | {"pipelineId": "a"}, headers=headers)
    body = orjson.loads(EXAMPLE) | {"pipelineId": "a", "name": "other"}
    response = await http.post(V1, json=body, headers=headers)
    assert response.json()["error"] == "COMMAND_ID_REUSED"


async def test_a_command_has_the_id_of_its_body_or_of_the_header(
    http: httpx.AsyncClient, server: Server
) -> None:
    """Two that differ name two commands, and a retry by either would find another answer."""
    body = orjson.loads(EXAMPLE) | {"commandId": "mine"}
    await http.post(V1, json=body, headers={"Idempotency-Key": "mine"})
    await http.post(V1, content=EXAMPLE, headers={"Idempotency-Key": "header"})
    await http.post(V1, content=EXAMPLE)
    ids = [command.command_id for command in server.backend.commands]
    assert ids == ["mine", "header", "made-up-1"]
    refused = await http.post(V1, json=body, headers={"Idempotency-Key": "proxy"})
    assert refused.status_code == 400
    assert [entry["field"] for entry in refused.json()["details"]] == ["commandId"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": 'application/json;Charset="latin-1"'},
    ],
)
async def test_a_body_in_another_coding_is_refused_as_such(
    http: httpx.AsyncClient, pipeline: str, headers: dict[str, str]
) -> None:
    """Its bytes would only look like damaged JSON."""
    for path in ("", f"/{pipeline}/batches"):
        response = await http.post(V1 + path, content=EXAMPLE, headers=headers)
        assert (response.status_code, response.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    plain = {"content-encoding": "identity", "content-type": "application/json; charset=UTF-8"}
    assert (await http.post(V1, content=EXAMPLE, headers=plain)).status_code == 201


@pytest.mark.parametrize("body", [{}, {"version": 0}, {"version": -1}])
async def test_a_rollback_names_its_version(
    http: httpx.AsyncClient, pipeline: str, body: dict[str, int]
) -> None:
    """There is no version 0 to be told about."""
    response = await http.post(f"{V1}/{pipeline}/rollback", json=body)
    assert response.status_code == 400
    assert [entry["field"] for entry in response.json()["details"]] == ["version"]


@pytest.mark.parametrize(
    ("header", "value"), [("x-dataflow-actor", "a" * 201), ("Idempotency-Key", "k" * 129)]
)
async def test_a_header_that_is_too_long_is_named(
    http: httpx.AsyncClient, header: str, value: str
) -> None:
    """Both are kept with every command."""
    fits = await http.post(V1, content=EXAMPLE, headers={header: value[:-1]})
    response = await http.post(V1, content=EXAMPLE, headers={header: value})
    assert (fits.status_code, response.status_code) == (201, 400)


async def test_a_wait_that_is_known_is_told(http: httpx.AsyncClient, server: Server) -> None:
    """Clients back off by Retry-After, in whole seconds."""
    server.backend.raising = Unavailable("full", retry_after=timedelta(milliseconds=1200))
    response = await http.get(V1)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")


@pytest.mark.parametrize("error", [RuntimeError("/secret/path"), Corrupted("/secret/path")])
async def test_what_nobody_expected_leaves_as_an_incident(
    http: httpx.AsyncClient,
    server: Server,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No stack trace, no path leaves; the log has both, under the number that is told."""
    server.backend.raising = error
    response = await http.get(V1)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "made-up-1" in response.json()["message"]
    [record] = [record for record in caplog.records if "made-up-1" in record.getMessage()]
    assert record.exc_info is not None


async def test_a_stop_that_takes_too_long_is_told_to_ask_again(
    http: httpx.AsyncClient, server: Server, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on; the same command id finds out what came of it."""
    monkeypatch.setattr(command_handlers, "STOP_MARGIN", timedelta(milliseconds=50))
    await http.post(f"{V1}/{pipeline}/start")
    server.backend.draining_takes = timedelta(seconds=6)
    response = await http.post(f"{V1}/{pipeline}/stop", json={"deadline": "0s"})
    assert (response.status_code, response.json()["error"]) == (503, "WAITING")


@pytest.mark.parametrize("deadline", ["2d", "-1s"])
async def test_a_deadline_out_of_bounds_is_refused(
    http: httpx.AsyncClient, pipeline: str, deadline: str
) -> None:
    """A stop that may take days is none."""
    response = await http.post(f"{V1}/{pipeline}/stop", json={"deadline": deadline})
    assert response.json()["details"][0]["field"] == "deadline"


@pytest.mark.parametrize("act", ["stop", "pause"])
async def test_a_reason_has_a_length(http: httpx.AsyncClient, pipeline: str, act: str) -> None:
    """The audit trail keeps it for ever, and has to be read in pages."""
    await http.post(f"{V1}/{pipeline}/start")
    long = await http.post(f"{V1}/{pipeline}/{act}", json={"reason": "x" * 1_001})
    assert long.status_code == 400
    assert long.json()["details"] == [{"field": "reason", "message": "use at most 1000 characters"}]
    fits = await http.post(f"{V1}/{pipeline}/{act}", json={"reason": "x" * 1_000})
    assert fits.status_code == 200


async def test_an_actor_is_written_into_the_command(
    http: httpx.AsyncClient, server: Server
) -> None:
    """The audit trail says who."""
    await http.post(V1, content=EXAMPLE, headers={"x-dataflow-actor": "ada@example.org"})
    assert server.backend.commands[0].actor == "ada@example.org"


def _padded(size: int) -> bytes:
    return EXAMPLE + b" " * (size - len(EXAMPLE))


async def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not(
    http: httpx.AsyncClient,
) -> None:
    """413, and the limit in words."""
    assert (await http.post(V1, content=_padded(BODY_BYTES_MAX))).status_code == 201
    response = await http.post(V1, content=_padded(BODY_BYTES_MAX + 1))
    assert (response.status_code, response.json()["error"]) == (413, "TOO_LARGE")
    assert "4 MiB" in response.json()["message"]


async def test_a_body_that_does_not_say_its_size_is_limited_too(http: httpx.AsyncClient) -> None:
    """A chunked body has no Content-Length."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * (64 << 10)

    response = await http.post(V1, content=chunks())
    assert response.status_code == 413


async def test_a_client_that_asks_first_need_not_send(server: Server) -> None:
    """Programs such as curl announce large bodies and wait."""
    host, port = server.at.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {V1} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
        f"content-length: {1 << 30}\r\n\r\n".encode()
    )
    line = await asyncio.wait_for(reader.readline(), timeout=5)
    assert line.split()[1] == b"413"
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that stays half sent would hold its connection for ever."""
    monkeypatch.setattr(request_body, "BODY_TIMEOUT_S", 0.2)
    host, port = server.at.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {V1} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n"
    writer.write(head.encode() + b"{")
    line = await asyncio.wait_for(reader.readline(), timeout=5)
    assert line.split()[1] == b"408"
    writer.close()


async def test_a_spec_may_have_a_mebibyte(http: httpx.AsyncClient) -> None:
    """It is journalled for ever, so it has a limit of its own, smaller than the body's."""
    spec = orjson.loads(EXAMPLE)

    def with_address(length: int) -> Any:  # noqa: ANN401 - a JSON document
        return spec | {"source": {"sourceType": "file", "connectionString": "x" * length}}

    fits = await http.post(V1, json=with_address(1_048_000))
    response = await http.post(V1, json=with_address(1 << 20))
    assert (fits.status_code, response.status_code) == (201, 413)


async def test_a_spec_may_have_100_transforms(http: httpx.AsyncClient) -> None:
    """A mebibyte holds half a million; they are refused before anything is made of them."""
    step = {"transformType": "filter"}
    spec = orjson.loads(EXAMPLE)
    fits = await http.post(V1, json=spec | {"transforms": [step] * 100})
    response = await http.post(V1, json=spec | {"transforms": [step] * 101})
    assert (fits.status_code, response.status_code) == (201, 400)
    details = response.json()["details"]
    assert details == [{"field": "transforms", "message": "use at most 100"}]


async def test_headers_have_a_limit(http: httpx.AsyncClient) -> None:
    """The HTTP library has none of its own."""
    fits = await http.get("/health", headers={"x": "a" * 15_000})
    response = await http.get("/health", headers={"x": "a" * 17_000})
    assert (fits.status_code, response.status_code) == (200, 431)
    assert response.json()["error"] == "TOO_LARGE"


async def test_headers_that_do_not_end_are_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand such connections would be all there are (slowloris)."""
    monkeypatch.setattr(connection, "HEADERS_TIMEOUT_S", 0.2)
    host, port = server.at.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n")
    assert await asyncio.wait_for(reader.read(), timeout=5) == b""
    writer.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
        ({"host": "localhost:8080", "origin": "http://localhost:8080"}, 201),
        ({"host": "[::1]:8080"}, 201),
        ({"host": "evil.example"}, 403),
    ],
)
async def test_pages_of_other_sites_make_nothing(
    http: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """A browser sends simple requests for any page, and resolves any name to this machine."""
    response = await http.post(V1, content=EXAMPLE, headers=headers)
    assert response.status_code == status


async def test_a_batch_is_handed_over_byte_by_byte(
    http: httpx.AsyncClient, server: Server, pipeline: str
) -> None:
    """Records are never taken apart here, whatever they are in."""
    path = f"{V1}/{pipeline}/batches"
    body = b'{"batchId": "b1", "records": [{"a": 1.0}, {"a": [2]}]}'
    answer = (await http.post(path, content=body)).json()
    assert answer == {
        "pipelineId": pipeline,
        "batchId": "b1",
        "records": 2,
        "firstOffset": 41,
        "duplicate": False,
    }
    lines = {"content-type": "application/x-ndjson; charset=utf-8"}
    await http.post(path, params={"batchId": "b2"}, content=b'{"a": 1}\n', headers=lines)
    arrow = {"content-type": "application/vnd.apache.arrow.stream", "Idempotency-Key": "b3"}
    await http.post(path, content=b"\xff\xff", headers=arrow)
    assert server.backend.batches == [
        (pipeline, "b1", "application/json", b'[{"a": 1.0}, {"a": [2]}]'),
        (pipeline, "b2", "application/x-ndjson", b'{"a": 1}\n'),
        (pipeline, "b3", "application/vnd.apache.arrow.stream", b"\xff\xff"),
    ]


async def test_a_batch_pushed_again_is_told_so(http: httpx.AsyncClient, pipeline: str) -> None:
    """The sender that lost the answer finds out."""
    body = b'{"records": [{}], "batchId": "b1"}'
    path = f"{V1}/{pipeline}/batches"
    assert (await http.post(path, content=body)).json()["duplicate"] is False
    assert (await http.post(path, content=body)).json()["duplicate"] is True


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"batchId": "b", "record": []}', 400, "record"),
        (b'{"batchId": "b"}', 400, "records"),
        (b'{"batchId": 1, "records": []}', 400, "batchId"),
        (b'{"batchId": "' + b"b" * 129 + b'", "records": []}', 400, "batchId"),
    ],
)
async def test_a_wrong_envelope_names_its_field(
    http: httpx.AsyncClient, body: bytes, status: int, field: str
) -> None:
    """Before anything is pushed."""
    response = await http.post(f"{V1}/x/batches", content=body)
    assert response.status_code == status
    assert response.json()["details"][0]["field"] == field


async def test_a_batch_of_another_kind_is_told_the_kinds(http: httpx.AsyncClient) -> None:
    """415, with what there is."""
    response = await http.post(
        f"{V1}/x/batches", content=b"<a/>", headers={"content-type": "text/xml"}
    )
    assert response.status_code == 415
    assert "application/x-ndjson" in response.json()["message"]


async def test_a_batch_may_have_16_mebibytes(http: httpx.AsyncClient, pipeline: str) -> None:
    """More than that is sent in two."""
    path, headers = f"{V1}/{pipeline}/batches", {"content-type": "application/x-ndjson"}
    fits = await http.post(path, content=b" " * INGEST_BYTES_MAX, headers=headers)
    more = await http.post(path, content=b" " * (INGEST_BYTES_MAX + 1), headers=headers)
    assert (fits.status_code, more.status_code) == (200, 413)


async def test_secrets_in_wrong_places_are_not_repeated(http: httpx.AsyncClient) -> None:
    """A connection string under a wrong name or type stays out of answers and their logs."""
    response = await http.post(V1, content=b'{"name": ["hunter2"], "source": "hunter2"}')
    assert "hunter2" not in response.text


async def test_a_rejection_of_the_platform_keeps_its_field(
    http: httpx.AsyncClient, server: Server
) -> None:
    """The form shows it beside that field."""
    server.backend.raising = Rejected("say where to read", code="POSITION_REQUIRED", field="p")
    response = await http.post(V1, content=EXAMPLE)
    assert response.status_code == 400
    assert response.json()["details"] == [{"field": "p", "message": "say where to read"}]
