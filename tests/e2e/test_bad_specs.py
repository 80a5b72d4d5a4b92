"""What is wrong with a request is told by its field, with the remedy, before anything happens."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.client.blocking import DataFlow
from dataflow.core.errors import Code, Rejected
from tests.e2e.programs import Api, Server
from tests.e2e.specs import computed, generated, line, sink, source, where

Document = dict[str, Any]

CLOSED = {"schema": {"a": "int64", "b": "string"}, "otherColumns": "drop"}
CONSOLE = {"sinkType": "console"}

INPUT = source("/nowhere/in.csv")
GOOD = line(INPUT, CONSOLE)


def reading(*transforms: Document) -> Document:
    """Return a pipeline whose columns are declared."""
    return line(source("/nowhere/in.csv", **CLOSED), CONSOLE, *transforms)


REFUSED: dict[str, tuple[Document, str, str]] = {
    "unknown option of a source": (
        line(source("/nowhere/in.csv", formatt="csv"), CONSOLE),
        "source.options.formatt",
        "unknown option; one of columns, compression",
    ),
    "unknown option of a sink": (
        line(INPUT, sink("/nowhere/out.csv", rotate=1)),
        "sink.options.rotate",
        "unknown option; one of column, compression",
    ),
    "unknown option of a transform": (
        line(INPUT, CONSOLE, {"transformType": "filter", "options": {"expr": "a"}}),
        "transforms[0].options.expr",
        "unknown option; one of expression",
    ),
    "unknown value": (
        line(source("/nowhere/in.csv", format="cvs"), CONSOLE),
        "source.options.format",
        "unknown 'cvs', one of 'arrow', 'csv', 'json', 'parquet' or 'text'",
    ),
    "unknown source": (
        line({"sourceType": "fiel", "connectionString": "x"}, CONSOLE),
        "source.sourceType",
        "unknown 'fiel', one of file, generator, kafka, postgres, push",
    ),
    "unknown field": ({**GOOD, "nam": "x"}, "nam", "did you mean 'name'?"),
    "wrong type of a field": ({**GOOD, "name": 5}, "name", "expected a text, not a number"),
    "wrong type of an option": (
        line(generated() | {"options": {"rows": "many"}}, CONSOLE),
        "source.options.rows",
        'valid integer, not "many"',
    ),
    "a text for a truth value": (
        line(source("/nowhere/in.csv", header="yes"), CONSOLE),
        "source.options.header",
        'valid boolean, not "yes"',
    ),
    "a number for a truth value": (
        line(source("/nowhere/in.csv", watch=1), CONSOLE),
        "source.options.watch",
        "valid boolean, not 1",
    ),
    "a text for a number": (
        line(source("/nowhere/in.csv", inferRows="5"), CONSOLE),
        "source.options.inferRows",
        'valid integer, not "5"',
    ),
    "a wait below zero": (
        line(INPUT | {"pollIntervalMs": -5}, CONSOLE),
        "source.pollIntervalMs",
        "use 0 to 86400000 ms",
    ),
    "a column without a name": (
        line({"sourceType": "push", "options": {"schema": {"": "int64"}}}, CONSOLE),
        "source.options.schema",
        "a name is empty",
    ),
    "a map that changes nothing": (
        reading({"transformType": "map"}),
        "transforms[0].options",
        "give one of compute, rename, cast, constants, drop, keep",
    ),
    "option out of bounds": (
        line(INPUT, CONSOLE, options={"maxAttempts": -1}),
        "options.maxAttempts",
        "1",
    ),
    "a duration that is none": (
        line(INPUT, CONSOLE, options={"checkpointInterval": "soon"}),
        "options.checkpointInterval",
        "expected a duration such as 1s, 500ms",
    ),
    "a duration out of bounds": (
        line(INPUT, CONSOLE, options={"checkpointInterval": "5ms"}),
        "options.checkpointInterval",
        "use 10ms to 1h",
    ),
    "a constant of no value": (
        reading({"transformType": "map", "options": {"constants": {"c": None}}}),
        "transforms[0].options.constants.c",
        "Input should be a valid boolean, valid integer, valid number or valid string, not null",
    ),
    "an option of another kind of column": (
        line(generated(1, 0, {"name": "n", "kind": "integer", "step": 1}), CONSOLE),
        "source.options.columns[1].step",
        "unknown option; one of kind, max, min, name",
    ),
    "an unknown kind of column": (
        line(generated(1, 0, {"name": "n", "kind": "int"}), CONSOLE),
        "source.options.columns[1]",
        "unknown 'int', one of 'sequence', 'integer'",
    ),
    "a column without a kind's name": (
        line(generated(1, 0, {"kind": "integer"}), CONSOLE),
        "source.options.columns[1].name",
        "missing",
    ),
    "an item of a list": (
        line(source("/nowhere/in.csv", nullValues=["NA", 5]), CONSOLE),
        "source.options.nullValues[1]",
        "valid string, not 5",
    ),
    "no sink": ({"source": INPUT}, "sink", "missing; a pipeline needs one"),
    "an id that is none": (
        {**GOOD, "pipelineId": "Late Flights"},
        "pipelineId",
        "use 1 to 63 lower-case letters, digits and hyphens",
    ),
    "options that contradict": (
        line(INPUT, sink("/nowhere/out.csv", format="parquet")),
        "sink.options.format",
        "'parquet' contradicts the name, which says 'csv'",
    ),
    "unknown column in a filter": (
        reading(where("a > 1\n AND amount > 2")),
        "transforms[0].options.expression",
        "line 2, column 6: unknown column 'amount'",
    ),
    "unknown column in a map": (
        reading(computed(c="a + 1"), computed(d="a * x")),
        "transforms[1].options.compute.d",
        "line 1, column 5: unknown column 'x'",
    ),
    "unknown column to drop": (
        reading({"transformType": "map", "options": {"drop": ["z"]}}),
        "transforms[0].options.drop",
        "z",
    ),
    "expression of a wrong type": (
        reading(where("a + 1")),
        "transforms[0].options.expression",
        "line 1, column",
    ),
    "expression that does not parse": (
        line(INPUT, CONSOLE, where("a >\n 1 +")),
        "transforms[0].options.expression",
        "line 2, column 5: expected a value, found the end",
    ),
    "unknown function": (
        line(INPUT, CONSOLE, where("uper(a) = 'X'")),
        "transforms[0].options.expression",
        "line 1, column 1",
    ),
    "a source that nothing reads": (
        {
            "sources": {"a": INPUT, "b": INPUT},
            "sinks": {"out": {**CONSOLE, "input": "a"}},
        },
        "sources.b",
        "nothing reads 'b'; let a step or sink read it",
    ),
    "a reference to nothing": (
        line(source("/in/${env:}/a.csv"), CONSOLE),
        "source.connectionString",
        "is no reference; write ${env:NAME} or ${file:/path}",
    ),
    "a reference of another kind": (
        line(INPUT, sink("/out/${foo:A}.csv")),
        "sink.connectionString",
        "is no reference; write ${env:NAME} or ${file:/path}",
    ),
    "a reference without an end": (
        line(INPUT, sink("${env:A")),
        "sink.connectionString",
        "is no reference; write ${env:NAME} or ${file:/path}",
    ),
    "a password in the clear": (
        line(source("/nowhere/in.csv", password="hunter2"), CONSOLE),
        "source.options.password",
        "is a credential in the clear; write ${env:NAME} or ${file:/path} for it",
    ),
    "a password in an address": (
        line(INPUT, {"sinkType": "console", "connectionString": "postgres://me:hunter2@db/x"}),
        "sink.connectionString",
        "holds a password in the clear; write ${env:NAME} or ${file:/path} for it",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_names_the_field_and_the_remedy(http: Api, what: str) -> None:
    """Over HTTP, at create: 400, and nothing of the pipeline is kept."""
    spec, field, message = REFUSED[what]
    before = http.get("/pipelines")["total"]
    told = http.post("/pipelines", spec, 400)
    assert told["error"] == "INVALID"
    found = [d["message"] for d in told["details"] if d["field"] == field]
    assert found
    assert message in found[0]
    assert "hunter2" not in str(told)
    assert http.get("/pipelines")["total"] == before


@pytest.mark.parametrize("what", REFUSED)
def test_an_update_is_held_to_the_same(http: Api, what: str) -> None:
    """A spec that could not be created must not come in by the back door."""
    spec, field, _ = REFUSED[what]
    pipeline = http.create(line(generated(1), CONSOLE))
    body = {k: v for k, v in spec.items() if k != "pipelineId"} | {"position": "beginning"}
    if field == "pipelineId":
        body["pipelineId"] = spec["pipelineId"]
    answer = http.client.put(f"/pipelines/{pipeline}", json=body)
    assert answer.status_code == 400
    assert field in [d["field"] for d in answer.json()["details"]]
    assert http.pipeline(pipeline)["version"] == 1


def test_a_value_that_fits_none_of_its_types_is_one_problem(http: Api) -> None:
    """Nobody wrote ``constants.c.bool``."""
    what = "a constant of no value"
    told = http.post("/pipelines:validate", REFUSED[what][0])
    assert [problem["field"] for problem in told["problems"]] == [REFUSED[what][1]]


def test_validate_tells_every_problem_at_once(http: Api) -> None:
    """Mending one at a time would take as many tries as there are mistakes."""
    spec = {
        "source": source("/nowhere/in.csv", formatt="csv"),
        "transforms": [where("1 +"), {"transformType": "fliter"}],
        "sink": sink("/nowhere/out.csv", rotate=1),
    }
    told = http.post("/pipelines:validate", spec)
    assert told["valid"] is False
    assert [problem["field"] for problem in told["problems"]] == [
        "source.options.formatt",
        "transforms[0].options.expression",
        "transforms[1].transformType",
        "sink.options.rotate",
    ]


def test_grpc_tells_the_same_fields(server: Server) -> None:
    """The table of errors is one; the SDK raises it as it was told."""
    with DataFlow(server.grpc) as df, pytest.raises(Rejected) as refused:
        df.create(line(source("/nowhere/in.csv", formatt="csv"), CONSOLE))
    assert refused.value.code is Code.INVALID
    assert [p.field for p in refused.value.problems] == ["source.options.formatt"]


def test_an_unknown_pipeline_is_not_found(http: Api, server: Server) -> None:
    """Whatever is asked of it: 404, with its name."""
    for verb, path in (
        *(("GET", part) for part in ("", "/metrics", "/health", "/events", "/versions")),
        *(("GET", "/deadletters"), ("GET", "?at=1"), ("DELETE", "")),
        *(("POST", f"/{act}") for act in ("start", "stop", "pause", "resume", "reset", "replay")),
    ):
        answer = http.client.request(verb, f"/pipelines/nobody{path}")
        assert (answer.status_code, answer.json()["error"]) == (404, "UNKNOWN_PIPELINE"), path
        assert [d["field"] for d in answer.json()["details"]] == ["pipelineId"], path
        assert "there is no pipeline 'nobody'" in answer.json()["message"], path
    with DataFlow(server.grpc) as df, pytest.raises(Rejected) as refused:
        df.get("nobody")
    assert refused.value.code is Code.UNKNOWN_PIPELINE


def test_what_has_not_happened_yet_is_refused(http: Api) -> None:
    """It would be answered with the present, and a replay would begin somewhere else."""
    pipeline = http.run(line(generated(10), CONSOLE))
    last = http.get(f"/pipelines/{pipeline}/events")["events"][-1]["sequence"]
    path = f"/pipelines/{pipeline}"
    future = "2999-01-01T00:00:00Z"
    for body, field in (({"sequence": last + 1}, "sequence"), ({"time": future}, "time")):
        told = http.post(f"{path}/replay", body, 400)
        assert [d["field"] for d in told["details"]] == [field]
    for at in (str(last + 1), future):
        answer = http.client.get(path, params={"at": at})
        assert answer.status_code == 400
        assert [d["field"] for d in answer.json()["details"]] == ["at"]
    assert http.get(path, at=str(last))["status"] == "stopped"
    http.post(f"{path}/replay", {"sequence": last})
    http.post("/pipelines/nobody/replay", {"sequence": 1}, 404)


def test_a_page_of_another_list_is_refused(http: Api) -> None:
    """A token that was mistyped would begin anywhere."""
    pipeline = http.create(line(generated(1), CONSOLE))
    for path in ("", *(f"/{pipeline}/{part}" for part in ("events", "versions", "deadletters"))):
        for token in ("No Token!", "../x", "a/b/c", "1/x", "/"):
            answer = http.client.get(f"/pipelines{path}", params={"pageToken": token})
            assert answer.status_code == 400, (path, token, answer.text)
            assert [d["field"] for d in answer.json()["details"]] == ["pageToken"]


def test_a_forbidden_transition_says_what_to_do_instead(http: Api) -> None:
    """FAILED_PRECONDITION, which google/rpc/code.proto maps to 400."""
    pipeline = http.create(line(generated(0, 10), CONSOLE))
    told = http.post(f"/pipelines/{pipeline}/pause", {}, 400)
    assert told["error"] == "FORBIDDEN_TRANSITION"
    assert "PausePipeline is allowed in running; the pipeline is configured" in told["message"]
    assert "start it first" in told["message"]
    http.start(pipeline)
    told = http.post(f"/pipelines/{pipeline}/reset", {}, 400)
    assert told["message"].endswith("the pipeline is running; nothing has to be reset")
    answer = http.client.delete(f"/pipelines/{pipeline}")
    assert (answer.status_code, answer.json()["error"]) == (400, "FORBIDDEN_TRANSITION")
    assert "stop it first" in answer.json()["message"]
    http.post(f"/pipelines/{pipeline}/stop")


def test_a_taken_id_is_a_conflict(http: Api) -> None:
    """Also that of a deleted pipeline: its history stays its own."""
    spec = {**line(generated(1), CONSOLE), "pipelineId": "taken"}
    http.create(spec)
    assert "choose another id" in http.post("/pipelines", spec, 409)["message"]
    assert http.client.delete("/pipelines/taken").status_code == 200
    assert "never used again" in http.post("/pipelines", spec, 409)["message"]


def test_an_oversized_request_is_refused_as_such(http: Api, server: Server) -> None:
    """413 and RESOURCE_EXHAUSTED, with the limit, and the server goes on."""
    body = {**GOOD, "description": "x" * (5 << 20)}
    told = http.post("/pipelines", body, 413)
    assert told["error"] == "TOO_LARGE"
    assert "4 MiB" in told["message"]
    pushed = http.create(line({"sourceType": "push"}, CONSOLE))
    answer = http.client.post(
        f"/pipelines/{pushed}/batches",
        content=b'{"a":"' + b"x" * (17 << 20) + b'"}',
        headers={"content-type": "application/x-ndjson"},
    )
    assert (answer.status_code, answer.json()["error"]) == (413, "TOO_LARGE")
    assert "16 MiB" in answer.json()["message"]
    with (
        DataFlow(server.grpc, message_bytes_max=64 << 20) as df,
        pytest.raises(Rejected) as refused,
    ):
        df.create(body | {"description": "x" * (17 << 20)})
    assert refused.value.code is Code.TOO_LARGE
    assert http.client.get("/pipelines").status_code == 200


def test_what_is_no_json_is_located(http: Api) -> None:
    """Most bodies are written by hand."""
    answer = http.client.post("/pipelines", content=b'{"name": "x",}')
    assert answer.status_code == 400
    assert "line 1" in answer.json()["message"] or "column" in answer.json()["message"]


def test_a_path_or_verb_that_there_is_none_of_is_told_apart(http: Api) -> None:
    """404 and 405, as JSON like every other error."""
    nothing = http.client.get("/nothing")
    assert (nothing.status_code, nothing.json()["error"]) == (404, "UNKNOWN_PATH")
    wrong = http.client.patch("/pipelines")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "POST, GET"
