"""What a reference stands for is used, and shown to nobody: not by the API, a log, or a file."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.programs import Api, Server, api, serving, until
from tests.e2e.specs import line, sink, source, where, written

Document = dict[str, Any]

CANARY = "canary-5f0d3c"


@pytest.fixture(scope="module", params=["0", "1"], ids=["inline", "a process"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run the program with a secret in its environment, and in that of its worker processes."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / CANARY).mkdir()
    settings = {"SECRET_FOLDER": str(folder / CANARY), "DATAFLOW_WORKERS": request.param}
    with serving(folder, settings) as running:
        yield running


def told(http: Api, server: Server, pipeline: str) -> str:
    """Return everything that anybody can be told of a pipeline."""
    paths = ["", "/metrics", "/health", "/events", "/versions", "/deadletters"]
    texts = [http.client.get(f"/pipelines/{pipeline}{path}").text for path in paths]
    texts += [http.client.get("/pipelines").text, httpx.get(f"{server.url}/metrics").text]
    return "\n".join([*texts, server.err, server.out])


def stored(server: Server) -> list[str]:
    """Return the files of the data directory that hold the secret."""
    return [
        str(path)
        for path in server.data.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


@pytest.mark.parametrize("target", ["out.csv", "out", "out.parquet"])
def test_a_reference_is_filled_in_and_stays_a_reference(
    http: Api, server: Server, target: str
) -> None:
    """In source and sink, while rows move and afterwards: in positions, checkpoints and events."""
    folder = server.folder / CANARY
    (folder / "in.csv").write_text("a\n1\nx\n3\n")
    begin = source("${env:SECRET_FOLDER}/in.csv", schema={"a": "int64"}, onError="dead-letter")
    end = sink(f"${{env:SECRET_FOLDER}}/{target}", **({} if "." in target else {"format": "csv"}))
    pipeline = http.run(line(begin, end))
    http.post(f"/pipelines/{pipeline}/replay")
    if target != "out.parquet":
        http.start(pipeline)
        http.completed(pipeline)
        assert written(folder / target) == [["1"], ["3"]] * 2
    assert (folder / target).exists()
    assert "${env:SECRET_FOLDER}" in told(http, server, pipeline)
    assert CANARY not in told(http, server, pipeline)
    assert stored(server) == []


def _waiting(http: Api, pipeline: str) -> Document:
    shown = http.pipeline(pipeline)
    return shown if shown["phase"] == "waiting" else {}


def test_errors_and_phases_show_the_reference_alone(http: Api, server: Server) -> None:
    """They name paths, and what they say is journalled, logged and shown."""
    folder = server.folder / CANARY
    (folder / "bad.csv.gz").write_bytes(gzip.compress(b"a\n" + b"1\n" * 9999)[:-9])
    error = http.failed(line(source("${env:SECRET_FOLDER}/bad.csv.gz"), {"sinkType": "console"}))
    assert "${env:SECRET_FOLDER}/bad.csv.gz: ends in the middle" in error["message"]
    late = http.create(line(source("${env:SECRET_FOLDER}/late.csv"), {"sinkType": "console"}))
    http.start(late)
    shown = until(lambda: _waiting(http, late))
    assert shown["phaseDetail"].startswith("${env:SECRET_FOLDER}/late.csv: there is no such file")
    preview = line(
        source("${env:SECRET_FOLDER}/late.csv", mustExist=True), {"sinkType": "console"}, where("a")
    )
    answer = http.client.post("/pipelines:preview", json=preview)
    assert answer.status_code in {400, 503}
    assert "${env:SECRET_FOLDER}" in answer.text
    assert CANARY not in answer.text + told(http, server, late)
    http.post(f"/pipelines/{late}/stop")
    assert stored(server) == []


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("${env:NO_SUCH_VARIABLE}", "this node has no such variable"),
        ("${file:/no/such/file}", "the file does not exist on this node"),
    ],
)
def test_a_reference_that_stands_for_nothing_names_its_place(
    http: Api, server: Server, reference: str, why: str
) -> None:
    """The step's and the field's, so that whoever wrote it finds it."""
    (server.folder / "in.csv").write_text("a\n1\n")
    end = sink(server.folder / "never.csv")
    for wrong, step in (
        (line(source(reference), end), "source"),
        (line(source(server.folder / "in.csv"), sink(reference, format="csv")), "sink"),
    ):
        error = http.failed(wrong)
        assert (error["errorType"], error["step"]) == (step, step)
        assert error["message"] == f"connectionString: {reference}: {why}"
    told = http.client.post("/pipelines:preview", json=line(source(reference), end))
    assert told.status_code == 400
    assert told.json()["message"] == f"source.connectionString: {reference}: {why}"


def test_after_a_restart_the_reference_stands_for_the_same(folder: Path) -> None:
    """A stage or position that was kept under the reference is found again."""
    (folder / CANARY).mkdir()
    (folder / CANARY / "in.csv").write_text("a\n1\n")
    settings = {"SECRET_FOLDER": str(folder / CANARY)}
    begin = source("${env:SECRET_FOLDER}/in.csv", watch=True) | {"pollIntervalMs": 20}
    with serving(folder, settings) as server, api(server) as http:
        pipeline = http.create(line(begin, sink("${env:SECRET_FOLDER}/out.csv")))
        http.start(pipeline)
        until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] == 1)
        server.kill()
    with (folder / CANARY / "in.csv").open("a") as file:
        file.write("2\n")
    with serving(folder, settings) as server, api(server) as http:
        until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] == 2)
        http.post(f"/pipelines/{pipeline}/stop")
        assert stored(server) == []
    assert written(folder / CANARY / "out.csv") == [["1"], ["2"]]
