"""``dataflowctl`` as it is called, each command against a server in memory."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from dataflow.cli.main import main
from dataflow.v1 import event_pb2
from tests.integration.client.conftest import Served
from tests.integration.client.service import CONFIGURED, FAILED, RUNNING, STOPPED, Fault, Kept

PROGRAM = (sys.executable, "-c", "from dataflow.cli.main import main; main()")

SPEC = """
pipelineId: flights
name: Flights
labels: {team: air}
source: {sourceType: file, connectionString: /a.csv, options: {format: csv}}
transforms: [{id: late, transformType: filter, options: {expression: "delay > 30"}}]
sink: {sinkType: console}
"""


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def json(self) -> Any:  # noqa: ANN401 - any document
        """The output, read as programs read it."""
        return json.loads(self.out)


class Shell:
    """Runs commands in this process, against one server."""

    def __init__(self, served: Served, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.service = served.service
        self.cluster = served.cluster
        self.address = served.address
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(["--server", self.address, *arguments])
        out, err = self._capsys.readouterr()
        return Said(out, err, int(ended.value.code or 0))

    def file(self, text: str, name: str = "flights.yaml") -> str:
        """Write a file and return its path."""
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def kept(self, name: str = "flights") -> Kept:
        """Return a pipeline as the server has it."""
        return self.service.pipelines[name]


@pytest.fixture
def ctl(apart: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    """A shell and a server without pipelines."""
    return Shell(apart, capsys, tmp_path)


@pytest.fixture
def flights(ctl: Shell) -> Shell:
    """A shell and a server with the pipeline ``flights``, configured."""
    assert ctl("apply", "-f", ctl.file(SPEC)).code == 0
    return ctl


def end(shell: Shell, name: str, reason: str) -> None:
    """Let a pipeline work for a moment and stop."""
    kept = shell.kept(name)
    kept.records = 336776
    shell.service.tell(name, metrics=shell.service._metrics(kept))
    kept.status, kept.reason = STOPPED, reason
    shell.service.note(name, pipeline_stopped=event_pb2.PipelineStopped(reason=reason))


def fail(shell: Shell, name: str) -> None:
    """Let a pipeline fail at once."""
    shell.kept(name).status = FAILED
    error = event_pb2.PipelineError(step="source", message="a.csv: line 3 is torn")
    shell.service.note(name, pipeline_failed=event_pb2.PipelineFailed(error=error))


# --- apply ---------------------------------------------------------------------------------------


def test_apply_creates_updates_and_leaves_alone(ctl: Shell) -> None:
    """The three things that applying a file can mean, told apart."""
    path = ctl.file(SPEC)
    results = [ctl("apply", "-f", path, "-o", "json").json[0]["result"] for _ in range(2)]
    changed = ctl.file(SPEC.replace("30", "60"))
    results.append(ctl("apply", "-f", changed, "-o", "json").json[0]["result"])
    assert results == ["created", "unchanged", "updated"]
    assert ctl.kept().version == 2


def test_apply_takes_several_documents_of_yaml_and_json(ctl: Shell) -> None:
    """One file may describe a whole team's pipelines, in either language."""
    two = SPEC + "---\n" + SPEC.replace("pipelineId: flights", "pipelineId: again")
    assert ctl("apply", "-f", ctl.file(two)).code == 0
    documents = [{**yaml.safe_load(SPEC), "pipelineId": f"j{n}"} for n in range(2)]
    assert ctl("apply", "-f", ctl.file(json.dumps(documents), "a.json")).code == 0
    assert sorted(ctl.service.pipelines) == ["again", "flights", "j0", "j1"]


def test_apply_reads_standard_input(ctl: Shell) -> None:
    """So that a template's output can be piped in."""
    done = subprocess.run(
        [*PROGRAM, "--server", ctl.address, "apply", "-f", "-"],
        input=SPEC,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "flights" in ctl.service.pipelines


def test_apply_starts_only_when_told(ctl: Shell) -> None:
    """A file says what a pipeline is, not that it runs."""
    path = ctl.file(SPEC)
    ctl("apply", "-f", path)
    assert ctl.kept().status == CONFIGURED
    said = ctl("apply", "-f", path, "--start")
    assert ctl.kept().status == RUNNING
    assert "unchanged, started" in said.out


def test_apply_changes_a_running_pipeline_only_with_restart(flights: Shell) -> None:
    """Stopping what runs is not for a tool to decide."""
    flights("start", "flights")
    same = flights("apply", "-f", flights.file(SPEC))
    changed = flights.file(SPEC.replace("30", "60"))
    refused = flights("apply", "-f", changed)
    restarted = flights("apply", "-f", changed, "--restart", "-o", "json")
    assert (same.code, refused.code, restarted.code) == (0, 1, 0)
    assert "unchanged" in same.out
    assert "--restart" in refused.err
    assert restarted.json[0] == {
        "pipelineId": "flights",
        "result": "updated",
        "started": True,
        "status": "running",
        "version": 2,
    }
    types = [event.tags["type"] for event in flights.kept().events]
    assert types[-3:] == ["PipelineStopped", "ConfigUpdated", "PipelineStarted"]


def test_apply_stops_nothing_for_a_spec_that_would_be_refused(flights: Shell) -> None:
    """A misspelt option must not cost an outage; the command line itself cannot know it."""
    flights("start", "flights")
    said = flights(
        "apply", "-f", flights.file(SPEC.replace("expression:", "expresion:")), "--restart"
    )
    assert (said.code, "transforms[0].options.expression: missing" in said.err) == (1, True)
    assert flights.kept().status == RUNNING


def test_apply_stops_nothing_for_a_source_without_a_position(flights: Shell) -> None:
    """Where to read on must be said while the pipeline still runs."""
    flights("start", "flights")
    moved = flights.file(SPEC.replace("/a.csv", "/b.csv"))
    assert flights("apply", "-f", moved, "--restart").code == 1
    assert flights.kept().status == RUNNING


def test_apply_takes_a_position_for_another_source(flights: Shell) -> None:
    """Where to read on is the user's to say, and the error names the field."""
    moved = flights.file(SPEC.replace("/a.csv", "/b.csv"))
    refused = flights("apply", "-f", moved)
    assert (refused.code, "position: " in refused.err) == (1, True)
    assert flights("apply", "-f", moved, "--position", "beginning").code == 0


def test_apply_goes_on_after_a_refusal_and_tells_all_of_it(ctl: Shell) -> None:
    """One wrong document is reported with every problem; the others are applied."""
    wrong = SPEC.replace("sourceType: file", "sourceType: bad")
    both = wrong.replace("pipelineId: flights", "pipelineId: wrong") + "---\n" + SPEC
    said = ctl("apply", "-f", ctl.file(both))
    assert said.code == 1
    assert said.err.splitlines() == [
        "error: wrong: 2 problems (INVALID)",
        "  source.options.format: unknown 'cvs', one of csv, json",
        "  sink: missing; a pipeline needs one",
    ]
    assert list(ctl.service.pipelines) == ["flights"]


def test_apply_tells_what_cannot_be_sent_with_the_rest(ctl: Shell) -> None:
    """A misspelt field must not hide the next mistake: each takes another try."""
    said = ctl(
        "apply", "-f", ctl.file(SPEC.replace("sourceType: file", "sourceType: bad") + "nme: x")
    )
    assert said.code == 1
    assert "error: flights: 2 problems (INVALID)" in said.err
    assert "  nme: unknown field 'nme'; did you mean 'name'?" in said.err
    assert "  source.options.format: unknown 'cvs'" in said.err


def test_apply_waits_for_completion(ctl: Shell) -> None:
    """A script goes on when the data is there, and stops when it is not."""
    ctl.service.run = lambda name: end(ctl, name, "completed")
    said = ctl("apply", "-f", ctl.file(SPEC), "--start", "--wait")
    assert (said.code, "flights: completed, 336,776 records" in said.out) == (0, True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: x\n", "document 1: pipelineId: missing"),
        ("pipelineId: 5\n", "document 1: pipelineId: expected a text; write it in quotes"),
        (SPEC + "---\n" + SPEC, "'flights' is described twice"),
        ("a: [1\n", "line 2, column 1"),
        ("a: 1\na: 2\n", "'a' is given twice"),
        ("- 1\n", "document 1 is no mapping"),
        ("", "there is no document in it"),
        ('{"pipelineId": "a", "pipelineId": "b"}', "given twice"),
    ],
    ids=[
        "no id",
        "number",
        "two alike",
        "torn yaml",
        "key twice",
        "a list",
        "empty",
        "json key twice",
    ],
)
def test_a_file_that_is_no_pipeline_is_refused_with_the_place(
    ctl: Shell, text: str, complaint: str
) -> None:
    """Nothing is sent, and the user finds the line."""
    said = ctl("apply", "-f", ctl.file(text))
    assert (said.code, complaint in said.err) == (1, True), said.err
    assert ctl.service.pipelines == {}


# --- get, describe, metrics ----------------------------------------------------------------------


def test_get_lists_and_narrows(flights: Shell) -> None:
    """Each filter reaches the server."""
    flights("apply", "-f", flights.file(SPEC.replace("flights", "other").replace("air", "sea")))
    flights("start", "other")
    names = [p["pipelineId"] for p in flights("get", "-o", "json").json]
    assert names == ["flights", "other"]
    for option in (["--status", "running"], ["--label", "team=sea"], ["-q", "oth"]):
        found = flights("-o", "json", "get", *option).json
        assert [p["pipelineId"] for p in found] == ["other"]


def test_get_of_one_is_a_line_or_an_object(flights: Shell) -> None:
    """One pipeline is asked for, so one is shown."""
    assert flights("get", "flights", "-o", "json").json["pipelineId"] == "flights"
    header, line = flights("get", "flights").out.splitlines()
    assert header.split() == ["ID", "STATUS", "SOURCE", "SINK", "VERSION", "UPDATED", "NAME"]
    assert line.split()[:5] == ["flights", "configured", "file", "console", "1"]
    assert flights("get", "flights", "-q", "x").code == 2


def test_an_empty_list_is_empty_for_programs(ctl: Shell) -> None:
    """Words in the place of a list would break jq."""
    assert (ctl("get", "-o", "json").json, ctl("get").out) == ([], "")


@pytest.mark.parametrize("command", [["describe", "flights"], ["metrics", "flights"]])
def test_a_document_is_the_same_in_json_and_yaml(flights: Shell, command: list[str]) -> None:
    """The two formats are two spellings of one document."""
    as_json = flights(*command, "-o", "json").json
    assert yaml.safe_load(flights(*command, "-o", "yaml").out) == as_json
    assert as_json["pipelineId"] == "flights"


def test_describe_shows_the_spec_and_the_past(flights: Shell) -> None:
    """The table is for reading; its moment reaches the server."""
    said = flights("describe", "flights", "--at", "1")
    assert "expression: delay > 30" in said.out
    assert "batchSize" not in said.out
    assert "reason:       at 1" in said.out


def test_describe_shows_why_a_pipeline_failed(flights: Shell) -> None:
    """The first thing that its operator asks; a pipeline that is well shows no such line."""
    assert "error:" not in flights("describe", "flights").out
    kept = flights.kept()
    kept.status = FAILED
    kept.error = event_pb2.PipelineError(step="source", message="a.csv: line 3 is torn")
    assert "  error:        source: a.csv: line 3 is torn" in flights("describe", "flights").out


def test_metrics_show_the_ledger(flights: Shell) -> None:
    """What became of every record is what operators ask for."""
    flights.kept().records = 1234
    said = flights("metrics", "flights")
    assert "records:        1,234" in said.out
    assert "lag, records:   unknown" in said.out
    assert said.out.splitlines()[-1].split() == ["sink", "1,234", "0", "1,234", "0", "0", "0", "0"]


# --- lifecycle -----------------------------------------------------------------------------------


def test_each_verb_does_what_it_says(flights: Shell) -> None:
    """A verb wired to its neighbour's command would stop what should pause."""
    verbs = ("start", "pause", "resume", "stop")
    seen = [flights(verb, "flights", "-o", "json").json["status"] for verb in verbs]
    assert seen == ["running", "paused", "running", "stopped"]
    flights.kept().status = FAILED
    assert flights("reset", "flights", "-o", "json").json["status"] == "configured"
    assert flights("delete", "flights", "-o", "json").json["status"] == "deleted"


def test_a_reason_reaches_the_audit_trail(flights: Shell) -> None:
    """Who reads the events wants to know why."""
    flights("start", "flights")
    flights("stop", "flights", "--reason", "maintenance")
    assert flights.kept().events[-1].pipeline_stopped.reason == "maintenance"


def test_what_already_holds_is_done(flights: Shell) -> None:
    """A script that runs twice must not fail the second time."""
    flights("start", "flights")
    said = flights("start", "flights")
    assert (said.code, "unchanged" in said.out) == (0, True)


def test_several_are_a_list_and_one_refusal_spares_no_other(flights: Shell) -> None:
    """The exit code tells; the rest is done."""
    said = flights("start", "nobody", "flights", "-o", "json")
    assert said.code == 1
    assert said.err == "error: nobody: there is no 'nobody' (UNKNOWN_PIPELINE)\n"
    assert flights.kept().status == RUNNING
    two = flights("pause", "flights", "flights", "-o", "json").json
    assert [answer["changed"] for answer in two] == [True, False]


def test_start_waits_for_completion(flights: Shell) -> None:
    """0 when the data is there."""
    flights.service.run = lambda name: end(flights, name, "completed")
    said = flights("start", "flights", "--wait")
    assert (said.code, said.out) == (0, "flights: completed, 336,776 records\n")
    assert flights("start", "flights", "--wait", "-o", "json").json["status"] == "stopped"


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        (fail, "flights: failed in source: a.csv: line 3 is torn"),
        (lambda shell, name: end(shell, name, "by hand"), "flights: stopped (by hand)"),
    ],
    ids=["failed", "stopped"],
)
def test_start_tells_a_run_that_did_not_complete(
    flights: Shell, what: Callable[[Shell, str], None], complaint: str
) -> None:
    """1 when it is not."""
    flights.service.run = lambda name: what(flights, name)
    said = flights("start", "flights", "--wait")
    assert (said.code, complaint in said.err) == (1, True)


# --- history -------------------------------------------------------------------------------------


def test_events_are_listed_narrowed_and_machine_readable(flights: Shell) -> None:
    """The audit trail: number, time, type, actor."""
    flights("start", "flights")
    flights("stop", "flights", "--reason", "enough")
    assert flights("events", "flights").out.splitlines()[-1].split() == [
        *("3", "2026-05-01", "12:00:00Z", "PipelineStopped", "local", "reason=enough")
    ]
    found = flights("events", "flights", "--after", "1", "--type", "PipelineStarted", "-o", "json")
    assert [event["sequence"] for event in found.json] == [2]


def test_versions_are_listed_and_rolled_back_to(flights: Shell) -> None:
    """What is listed can be asked for."""
    flights("apply", "-f", flights.file(SPEC.replace("30", "60")))
    assert [v["version"] for v in flights("versions", "flights", "-o", "json").json] == [2, 1]
    assert flights("versions", "flights").out.splitlines()[1].split()[0] == "2"
    back = flights("rollback", "flights", "--to", "1", "--with-checkpoint", "-o", "json").json
    assert (back["version"], back["message"]) == (3, "checkpoint True")
    assert flights("rollback", "flights", "--to", "9").code == 1


def test_replay_says_from_where(flights: Shell) -> None:
    """Each way reaches the server, and none or two are a wrong usage."""
    ways = {
        "--from-sequence 7": "sequence 7 time ",
        "--from-time 2026-05-01": "sequence 0 time 2026-05-01T00:00:00Z",
        "--from-beginning": "sequence 0 time ",
    }
    for way, message in ways.items():
        assert flights("replay", "flights", *way.split(), "-o", "json").json["message"] == message
    assert flights("replay", "flights").code == 2
    assert flights("replay", "flights", "--from-beginning", "--from-sequence", "7").code == 2
    assert flights("replay", "flights", "--from-time", "soon").code == 2


# --- validate, preview, dead letters -------------------------------------------------------------


def test_validate_reports_everything(ctl: Shell) -> None:
    """Every document, every problem, and what a good one guarantees."""
    good = ctl("validate", "-f", ctl.file(SPEC))
    assert (good.code, good.out) == (0, "flights: valid, exactly-once\n")
    wrong = SPEC.replace("sourceType: file", "sourceType: bad") + "---\nsorce: {}\nnme: x\n"
    bad = ctl("validate", "-f", ctl.file(wrong))
    assert bad.code == 1
    assert "error: flights: source.options.format: unknown 'cvs' (INVALID)" in bad.err
    assert "error: document 2: 2 problems (INVALID)" in bad.err
    found = ctl("validate", "-f", ctl.file(wrong), "-o", "json")
    assert [(d["pipeline"], d["valid"]) for d in found.json] == [
        ("flights", False),
        ("document 2", False),
    ]


def test_nothing_is_pushed_to_a_pipeline_that_takes_no_records(flights: Shell) -> None:
    """An empty file is no reason to say that all went well."""
    path = flights.file("", "empty.ndjson")
    said = flights("push", "flights", "-f", path)
    assert said.code == 1
    assert "the source of 'flights' is file, which takes no batches" in said.err
    assert flights("push", "nobody", "-f", path).code == 1
    pushed = SPEC.replace("sourceType: file", "sourceType: push").replace(": flights", ": taking")
    assert flights("apply", "-f", flights.file(pushed)).code == 0
    assert flights("push", "taking", "-f", path).code == 0


def test_preview_shows_each_step(flights: Shell) -> None:
    """Of a pipeline there is, or of a file."""
    said = flights("preview", "flights", "-n", "3")
    assert "── source: 3 records" in said.out
    assert "── late: 1 records, 1 filtered" in said.out
    assert "n int64" in said.out
    found = flights("preview", "-f", flights.file(SPEC), "-n", "2", "-o", "json").json
    assert len(found["steps"][0]["records"]) == 2
    rows = flights.file('{"n": 7}\n\n{"n": 8}\n', "rows.ndjson")
    for given in (rows, f"source={rows}"):
        found = flights("preview", "flights", "--given", given, "-o", "json").json
        assert found["steps"][0]["records"] == [{"n": 7}, {"n": 8}]
    for wrong in (flights.file("[1]", "list"), flights.file("{", "half"), f"{rows}.gone"):
        assert flights("preview", "flights", "--given", wrong).code == 2
    twice = flights("preview", "flights", "--given", rows, "--given", f"source={rows}")
    assert twice.code == 2
    assert "'source' is given twice" in twice.err
    assert flights("preview").code == 2
    assert flights("preview", "flights", "-f", flights.file(SPEC)).code == 2


def test_dead_letters_are_listed_up_to_a_limit(flights: Shell) -> None:
    """A pipeline may keep millions; what is left out is said."""
    flights.kept().letters = 5
    assert len(flights("dlq", "list", "flights", "-o", "json").json) == 5
    said = flights("dlq", "list", "flights", "--limit", "2")
    assert said.out.splitlines()[1].split() == ["source", "a.csv", "0", "not", "a", "number", "x,0"]
    assert (len(said.out.splitlines()), "more than 2" in said.err) == (3, True)


# --- push ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ndjson", b'{"n":1}\n{"n":2}\n{"n":3}'),
        ("a.json", b'[{"n":1},{"n":2},{"n":3}]'),
        ("a.arrow", None),
    ],
)
def test_push_sends_every_record_in_bounded_batches(
    flights: Shell, name: str, content: bytes | None
) -> None:
    """The format is the file's; the total is what is durable."""
    if content is None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, pa.schema({"n": pa.int64()})) as writer:
            writer.write(pa.record_batch({"n": [1, 2, 3]}))
        content = sink.getvalue().to_pybytes()
    path = flights.folder / name
    path.write_bytes(content)
    said = flights("push", "flights", "-f", str(path), "--batch-records", "2")
    assert (said.code, said.out) == (0, "flights: pushed 3 records in 2 batches\n")
    assert flights.kept().records == 3


def test_pushing_again_with_the_same_prefix_adds_nothing(flights: Shell) -> None:
    """How a script goes on after a failure."""
    path = flights.file('{"n":1}\n{"n":2}\n', "a.ndjson")
    for duplicates in (0, 1):
        found = flights("push", "flights", "-f", path, "--batch-id", "b", "-o", "json").json
        assert found == {
            "pipelineId": "flights",
            "batchId": "b",
            "records": 2,
            "batches": 1,
            "duplicates": duplicates,
        }
    assert flights.kept().records == 2


def test_a_push_that_ends_early_says_what_is_durable_and_how_to_go_on(flights: Shell) -> None:
    """Nothing is lost and nothing is guessed."""
    path = flights.file('{"n":1}\nrefuse me\n', "a.ndjson")
    said = flights("push", "flights", "-f", path, "--batch-records", "1", "--batch-id", "b")
    assert said.code == 1
    assert "records[0].n: not a number (RECORD_REJECTED)" in said.err
    assert "1 records in 1 batches are durable" in said.err
    assert "--batch-id b" in said.err


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.json", "[1]", "record 1 is no object"),
        ("a.json", "{", "not JSON"),
        ("a.arrow", "no", "not an Arrow IPC stream"),
    ],
)
def test_a_file_of_another_format_is_refused(
    flights: Shell, name: str, text: str, complaint: str
) -> None:
    """The file's own mistake, named as such."""
    said = flights("push", "flights", "-f", flights.file(text, name))
    assert (said.code, complaint in said.err) == (1, True), said.err


def test_a_pipe_that_rests_keeps_no_refused_push_alive(flights: Shell) -> None:
    """The producer may say nothing for hours; the refusal is told now."""
    process = subprocess.Popen(
        [*PROGRAM, "--server", flights.address, "push", "flights", "--batch-records", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"refuse me\n{}\n")
    process.stdin.flush()
    assert process.wait(timeout=10) == 1
    assert process.stderr is not None
    said = process.stderr.read()
    process.communicate()
    assert b"not a number (RECORD_REJECTED)" in said
    assert b"Fatal" not in said


# --- the program ---------------------------------------------------------------------------------


def test_no_server_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts tell «refused» from «not there»."""
    with pytest.raises(SystemExit) as ended:
        main(["--server", "127.0.0.1:1", "--timeout", "200ms", "get"])
    assert ended.value.code == 3
    assert "cannot reach 127.0.0.1:1 (Connection refused)" in capsys.readouterr().err


def test_a_server_that_stays_busy_is_exit_code_3(flights: Shell) -> None:
    """It may work later, with nothing changed."""
    flights.service.faults["GetHealth"] += [Fault()] * 100
    flights.service.faults["GetPipeline"] += [Fault(message="moving")] * 100
    said = flights("--timeout", "300ms", "get", "flights")
    assert said.code == 3
    late = "gave no answer in time"  # where the time was over during the last attempt
    assert said.err == "error: moving\n" or late in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["get", "--nonsense"],
        ["--timeout", "soon", "get"],
        ["--timeout", "0s", "get"],
        ["apply"],
        ["apply", "-f", "/nowhere/at/all.yaml", "--wait"],
        ["start"],
        ["--key", __file__, "get"],
    ],
    ids=" ".join,
)
def test_a_wrong_usage_is_exit_code_2(ctl: Shell, arguments: list[str]) -> None:
    """Before anything is asked of a server."""
    assert ctl(*arguments).code == 2


def test_a_file_that_is_not_there_is_named(ctl: Shell) -> None:
    """It is no refusal of the server's, and the path is what to look at."""
    said = ctl("apply", "-f", "/nowhere/at/all.yaml")
    assert (said.code, "/nowhere/at/all.yaml" in said.err) == (1, True)


def test_the_server_may_come_from_the_environment(
    flights: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every script of a shell shares it."""
    monkeypatch.setenv("DATAFLOW_SERVER", flights.address)
    with pytest.raises(SystemExit):
        main(["get", "-o", "json"])
    assert json.loads(capsys.readouterr().out)[0]["pipelineId"] == "flights"


def test_a_token_is_sent_with_every_request(flights: Shell) -> None:
    """As bearer, the way that servers expect it."""
    flights("--token", "t0ken", "get")
    assert flights.service.tokens == ["Bearer t0ken"]


def test_version_is_told(ctl: Shell) -> None:
    """For bug reports, and for programs."""
    assert ctl("version").out.startswith("dataflowctl 0.")
    assert "version" in ctl("version", "-o", "json").json


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(ctl: Shell, shell: str) -> None:
    """One that calls this program."""
    assert "_DATAFLOWCTL_COMPLETE" in ctl("completion", shell).out


# --- live ----------------------------------------------------------------------------------------


def reading(shell: Shell, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command that goes on for ever."""
    return subprocess.Popen(
        [*PROGRAM, "--server", shell.address, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C, as a user ends it."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    return process.returncode, err


@pytest.mark.parametrize("command", [["events", "flights", "-f"], ["watch", "flights"]])
def test_a_stream_is_a_line_of_json_for_each_thing_that_happens(
    flights: Shell, command: list[str]
) -> None:
    """What a program reads line by line, at once; Ctrl-C ends it in the shell's own manner."""
    process = reading(flights, *command, "-o", "json")
    assert process.stdout is not None
    if command[0] == "watch":
        while not flights.service.watchers:  # watch tells what happens from now on
            time.sleep(0.01)
    flights("start", "flights")
    lines = [json.loads(process.stdout.readline())]
    if command[0] == "events":
        lines = [json.loads(process.stdout.readline())]
    event = lines[0].get("event", lines[0])
    assert event["tags"]["type"] == "PipelineStarted"
    assert interrupted(process) == (130, "interrupted; the pipelines are as they were\n")


def test_a_stream_for_people_is_a_line_each(flights: Shell) -> None:
    """In a pipe there is no screen to redraw."""
    process = reading(flights, "watch")
    assert process.stdout is not None
    while not flights.service.watchers:
        time.sleep(0.01)
    flights("start", "flights")
    words = process.stdout.readline().split()
    assert words == ["flights", "running", "idle", "PipelineStarted"]
    assert interrupted(process)[0] == 130


# --- a terminal ----------------------------------------------------------------------------------


def on_a_terminal(shell: Shell, *arguments: str) -> list[str]:
    """Run a command on a terminal of 80 columns and return its lines."""
    main_end, program_end = pty.openpty()
    fcntl.ioctl(program_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, "--server", shell.address, *arguments],
        stdin=program_end,
        stdout=program_end,
        stderr=program_end,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(program_end)
    text = b""
    try:
        while part := os.read(main_end, 4096):
            text += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(main_end)
    process.wait()
    return text.decode().splitlines()


def test_a_table_fits_eighty_columns_and_keeps_the_id(ctl: Shell) -> None:
    """A wrapped table can be read by nobody, and an id cut short can be given to no command."""
    long = SPEC.replace("name: Flights", f"name: {'flights of the day ' * 8}")
    long = long.replace("pipelineId: flights", f"pipelineId: {'f' * 40}")
    ctl("apply", "-f", ctl.file(long))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in on_a_terminal(ctl, "get")]
    assert len(lines) == 2
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("f" * 40 + " ")


def test_colours_are_for_terminals_alone(flights: Shell) -> None:
    """Escape codes in a pipe break whatever reads it."""
    flights("start", "flights")
    assert "\x1b[32mrunning" in "\n".join(on_a_terminal(flights, "get"))
    assert "\x1b" not in flights("get").out


def test_a_pipe_gets_every_character(ctl: Shell) -> None:
    """Grep must find what a terminal has no room for."""
    name = "flights of the day " * 8
    ctl("apply", "-f", ctl.file(SPEC.replace("name: Flights", f"name: {name}")))
    assert name.strip() in ctl("get").out


def test_a_bounded_run_shows_its_progress(flights: Shell) -> None:
    """Rows and rate, in one line that changes in place."""
    flights.service.run = lambda name: end(flights, name, "completed")
    shown = "\n".join(on_a_terminal(flights, "start", "flights", "--wait"))
    assert "flights: completed, 336,776 records" in shown
