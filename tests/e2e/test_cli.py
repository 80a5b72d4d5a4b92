"""``dataflowctl`` against the real program: a life at the terminal, and exit codes for scripts."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.programs import DATAFLOWCTL, PATIENCE_S, Api, Server, ctl, environment, until
from tests.e2e.specs import write_rows, written

REFUSED, USAGE, UNREACHABLE = 1, 2, 3


def done(server: Server, *arguments: str, stdin: str = "") -> str:
    """Return what a command that succeeds prints."""
    ran = ctl(server.grpc, *arguments, stdin=stdin)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def shown(server: Server, *arguments: str) -> Any:  # noqa: ANN401 - any JSON
    """Return what a command prints for programs."""
    return json.loads(done(server, *arguments, "-o", "json"))


FILE = """
pipelineId: {name}
name: From a file
source: {{sourceType: file, connectionString: {folder}/in.csv, batchSize: 100,
         options: {{schema: {{id: int64, amount: int64, note: string}}, onError: dead-letter}}}}
transforms:
  - {{id: large, transformType: filter, options: {{expression: "amount > {least}"}}}}
sink: {{sinkType: file, connectionString: {folder}/out.csv}}
options: {{checkpointInterval: 20ms}}
"""


@pytest.fixture
def written_down(folder: Path) -> Path:
    """Return a pipeline's file, beside its input with malformed records."""
    write_rows(folder / "in.csv", 3000, malformed_every=1000)
    (folder / "pipeline.yaml").write_text(
        FILE.format(name=folder.name.replace("_", "-"), folder=folder, least=10)
    )
    return folder / "pipeline.yaml"


def test_a_life_at_the_terminal(server: Server, written_down: Path) -> None:
    """From a file to its rows and back in time, with what each command says."""
    folder = written_down.parent
    name = folder.name.replace("_", "-")
    assert "valid, exactly-once" in done(server, "validate", "-f", str(written_down))
    assert "source: 3 records" in done(server, "preview", "-f", str(written_down), "-n", "3")
    assert "created" in done(server, "apply", "-f", str(written_down))
    assert "unchanged" in done(server, "apply", "-f", str(written_down))
    waited = done(server, "start", name, "--wait")
    assert f"{name}: completed, 3,000 records" in waited
    rows = written(folder / "out.csv")
    assert shown(server, "get", name)["status"] == "stopped"
    assert name in done(server, "get", "--status", "stopped")
    described = done(server, "describe", name)
    assert "guarantee:    exactly-once" in described
    assert "completed" in described
    ledger = shown(server, "metrics", name)["ledger"]
    assert ledger["recordsWritten"] == len(rows)
    assert ledger["recordsDeadLettered"] == 3
    letters = shown(server, "dlq", "list", name)
    assert [(letter["step"], letter["split"], letter["ordinal"]) for letter in letters] == [
        ("source", "in.csv", ordinal) for ordinal in (3, 1003, 2003)
    ]
    assert all("twelve" in letter["record"] for letter in letters)
    assert all("'twelve'" in letter["error"] for letter in letters)
    assert "expected int64" in done(server, "dlq", "list", name)


def test_there_is_a_way_back_at_the_terminal(server: Server, written_down: Path) -> None:
    """Another version, the one before, everything once more, and the end."""
    folder = written_down.parent
    name = folder.name.replace("_", "-")
    done(server, "apply", "-f", str(written_down), "--start", "--wait")
    rows = written(folder / "out.csv")
    text = FILE.format(name=name, folder=folder, least=30)
    assert "updated" in done(server, "apply", "-f", "-", stdin=text)
    assert [v["version"] for v in shown(server, "versions", name)] == [2, 1]
    (change,) = shown(server, "diff", name)["changes"]
    assert change == {
        "path": "transforms[0].options.expression",
        "from": "amount > 10",
        "to": "amount > 30",
    }
    lines = done(server, "diff", name, "--from", "2", "--to", "1").splitlines()
    assert lines[:2] == [f"--- {name} version 2", f"+++ {name} version 1"]
    assert [line.split() for line in lines if line[0] == "+"][1][-3:] == ["amount", ">", "10"]
    refused = ctl(server.grpc, "diff", name, "--to", "7")
    assert (refused.returncode, "there is no version 7" in refused.stderr) == (REFUSED, True)
    done(server, "rollback", name, "--to", "1")
    assert shown(server, "describe", name)["version"] == 3
    assert shown(server, "describe", name, "--at", "1")["version"] == 1
    done(server, "replay", name, "--from-beginning")
    assert "completed" in done(server, "start", name, "--wait")
    assert written(folder / "out.csv") == rows + rows
    types = [e["tags"]["type"] for e in shown(server, "events", name)]
    assert types.count("PipelineStopped") == 2
    assert "PositionReset" in done(server, "events", name, "--type", "PositionReset")
    done(server, "delete", name)
    assert shown(server, "get", name)["status"] == "deleted"


def test_verbs_of_a_running_pipeline(server: Server, http: Api) -> None:
    """Pause, resume, stop and reset say what they led to."""
    http.create(
        {
            "pipelineId": "verbs",
            "source": {"sourceType": "generator", "options": {"rowsPerSecond": 1000}},
            "sink": {"sinkType": "file", "connectionString": str(server.folder / "verbs.json")},
            "options": {"checkpointInterval": "20ms"},
        }
    )
    assert "running" in done(server, "start", "verbs")
    first = done(server, "top").splitlines()[1].split()
    assert first[:2] == ["verbs", "running"]
    assert shown(server, "top", "-n", "1")[0]["pipelineId"] == "verbs"
    rate = "throughputPerSecond"
    until(lambda: shown(server, "top")[0]["metrics"].get(rate), "rows a second, on the board")
    assert "unchanged: that is how it was" in done(server, "start", "verbs")
    assert "paused: lunch" in done(server, "pause", "verbs", "--reason", "lunch")
    assert "running" in done(server, "resume", "verbs")
    assert "stopped: done" in done(server, "stop", "verbs", "--reason", "done")
    refused = ctl(server.grpc, "reset", "verbs")
    assert refused.returncode == REFUSED
    assert "ResetPipeline is allowed in failed; the pipeline is stopped" in refused.stderr


def test_records_are_pushed_from_a_pipe_and_once_only(server: Server, http: Api) -> None:
    """The same input under the same name adds nothing, and says so."""
    http.create(
        {
            "pipelineId": "piped",
            "source": {"sourceType": "push", "options": {"schema": {"id": "int64"}}},
            "sink": {"sinkType": "file", "connectionString": str(server.folder / "piped.csv")},
            "options": {"checkpointInterval": "20ms"},
        }
    )
    http.start("piped")
    lines = "".join(f'{{"id": {number}}}\n' for number in range(500))
    push = ["push", "piped", "--batch-records", "100", "--batch-id", "night"]
    assert "500 records in 5 batches" in done(server, *push, stdin=lines)
    assert "5 of them had been pushed before" in done(server, *push, stdin=lines)
    bad = ctl(server.grpc, "push", "piped", stdin='{"id": 1}\n{"id": "x"}\n')
    assert bad.returncode == REFUSED
    assert "records[1].id: expected int64" in bad.stderr
    assert "nothing of the batch was taken" in bad.stderr
    until(lambda: http.pipeline("piped")["metrics"]["totalRecordsProcessed"] == 500)
    http.post("/pipelines/piped/stop")
    assert written(server.folder / "piped.csv") == [[str(number)] for number in range(500)]


def heard(watching: subprocess.Popen[str]) -> str:
    """Return the next line of a program that must not have ended."""
    said = watching.stdout.readline() if watching.stdout else ""
    assert said, watching.communicate(timeout=PATIENCE_S)
    return said


def test_watch_follows_until_it_is_interrupted(server: Server, http: Api) -> None:
    """Each change is a line of JSON for a program that reads along."""
    pipeline = http.create(
        {
            "source": {"sourceType": "generator", "options": {"rowsPerSecond": 2000}},
            "sink": {"sinkType": "file", "connectionString": str(server.folder / "seen.json")},
            "options": {"checkpointInterval": "20ms"},
        }
    )
    with subprocess.Popen(
        [DATAFLOWCTL, "watch", pipeline, "-o", "json"],
        env=environment({"DATAFLOW_SERVER": server.grpc, "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        lines = [heard(watching)]  # the phase as it is: the watch has begun
        http.start(pipeline)
        while "throughputPerSecond" not in lines[-1] or '"running"' not in lines[-1]:
            lines.append(heard(watching))
        http.post(f"/pipelines/{pipeline}/stop")
        while "PipelineStopped" not in lines[-1]:
            lines.append(heard(watching))
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=PATIENCE_S)
    assert watching.returncode == 130
    assert "the pipelines are as they were" in said
    assert any("PipelineStarted" in each for each in lines)


def test_a_refusal_names_the_field_and_exits_with_1(server: Server, written_down: Path) -> None:
    """And with every problem, not only the first."""
    text = written_down.read_text().replace("onError: dead-letter", "onErorr: skip, header: 7")
    ran = ctl(server.grpc, "apply", "-f", "-", stdin=text)
    assert ran.returncode == REFUSED
    assert "source.options.onErorr: unknown option; one of" in ran.stderr
    assert "source.options.header: " in ran.stderr
    assert ctl(server.grpc, "validate", "-f", "-", stdin=text).returncode == REFUSED
    assert ctl(server.grpc, "get", "nobody").returncode == REFUSED


def test_a_failed_run_exits_with_1_and_says_why(server: Server, http: Api, folder: Path) -> None:
    """A script that waits must not take a failure for a completion; reset makes it startable."""
    (folder / "in.csv").write_text("a\n1\nx\n")
    pipeline = http.create(
        {
            "source": {
                "sourceType": "file",
                "connectionString": str(folder / "in.csv"),
                "options": {"schema": {"a": "int64"}},
            },
            "sink": {"sinkType": "console"},
        }
    )
    ran = ctl(server.grpc, "start", pipeline, "--wait")
    assert ran.returncode == REFUSED
    assert "failed in source: source: record 1 of 'in.csv': column 'a'" in ran.stderr
    assert "configured" in done(server, "reset", pipeline)


def test_a_wrong_usage_exits_with_2(server: Server) -> None:
    """Before any server is asked."""
    assert ctl(server.grpc, "strat", "x").returncode == USAGE
    assert ctl(server.grpc, "replay", "x").returncode == USAGE
    assert ctl(server.grpc, "apply").returncode == USAGE


def test_an_unreachable_server_exits_with_3() -> None:
    """With the address, so that a wrong one is seen at once."""
    ran = ctl("127.0.0.1:1", "--timeout", "500ms", "get")
    assert ran.returncode == UNREACHABLE
    assert "cannot reach 127.0.0.1:1" in ran.stderr
