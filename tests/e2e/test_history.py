"""The ways back and forth: update, rollback, replay, each with what comes out of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.programs import Api, until
from tests.e2e.specs import generated, line, sink, source, where, written

Document = dict[str, Any]

CONSOLE = {"sinkType": "console"}


def put(http: Api, pipeline: str, spec: Document, status: int = 200) -> Document:
    """Replace the spec."""
    answer = http.client.put(f"/pipelines/{pipeline}", json=spec)
    assert answer.status_code == status, answer.text
    told: Document = answer.json()
    return told


def again(http: Api, pipeline: str) -> None:
    """Start once more, to the end."""
    http.start(pipeline)
    http.completed(pipeline)


def ids(path: Path) -> list[int]:
    """Return the first column as numbers."""
    return [int(row[0]) for row in written(path)]


def test_an_update_while_paused_applies_on_resume(http: Api, folder: Path) -> None:
    """From the very next row: what was written before stays as it was."""
    spec = line(generated(0, 2000), sink(folder / "out.csv"))
    pipeline = http.create(spec)
    http.start(pipeline)
    until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] > 100)
    refused = put(http, pipeline, spec | {"transforms": [where("id < 0")]}, 400)
    assert refused["error"] == "FORBIDDEN_TRANSITION"
    http.post(f"/pipelines/{pipeline}/pause")
    before = http.get(f"/pipelines/{pipeline}/metrics")["ledger"]["recordsRead"]
    assert put(http, pipeline, spec | {"transforms": [where("id % 10 = 0")]})["version"] == 2
    http.post(f"/pipelines/{pipeline}/resume")
    until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] > before + 100)
    http.post(f"/pipelines/{pipeline}/stop")
    read = http.get(f"/pipelines/{pipeline}/metrics")["ledger"]["recordsRead"]
    assert ids(folder / "out.csv") == [
        *range(before),
        *(n for n in range(before, read) if n % 10 == 0),
    ]


def test_another_source_needs_a_position(http: Api, folder: Path) -> None:
    """The old position means nothing in another file, and the choice is the user's."""
    (folder / "a.csv").write_text("a\n1\n2\n")
    (folder / "b.csv").write_text("a\n3\n4\n")
    pipeline = http.run(line(source(folder / "a.csv"), sink(folder / "out.csv")))
    moved = line(source(folder / "b.csv"), sink(folder / "out.csv"))
    refused = put(http, pipeline, moved, 400)
    assert refused["error"] == "POSITION_REQUIRED"
    assert refused["details"][0]["field"] == "position"
    assert "keep, beginning or latest" in refused["message"]
    put(http, pipeline, {**moved, "position": "beginning"})
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2, 3, 4]


def test_another_source_from_its_latest_position_gives_what_comes_next(
    http: Api, folder: Path
) -> None:
    """What the new file holds already is passed over, also by the starts that follow."""
    (folder / "a.csv").write_text("a\n1\n2\n")
    (folder / "b.csv").write_text("a\n3\n4\n")
    pipeline = http.run(line(source(folder / "a.csv"), sink(folder / "out.csv")))
    moved = line(source(folder / "b.csv"), sink(folder / "out.csv"))
    put(http, pipeline, {**moved, "position": "latest"})
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2]
    with (folder / "b.csv").open("a") as file:
        file.write("5\n6\n")
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2, 5, 6]


def test_a_start_after_completion_reads_nothing_again(http: Api, folder: Path) -> None:
    """Only replay goes back."""
    (folder / "in.csv").write_text("a\n1\n2\n")
    pipeline = http.run(line(source(folder / "in.csv"), sink(folder / "out.csv")))
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2]


def test_a_replay_from_the_beginning_reads_all_again(http: Api, folder: Path) -> None:
    """Behind what is there: a replay is asked for, and it adds."""
    (folder / "in.csv").write_text("a\n1\n2\n")
    pipeline = http.run(line(source(folder / "in.csv"), sink(folder / "out.csv")))
    told = http.post(f"/pipelines/{pipeline}/replay")
    assert (told["status"], told["changed"]) == ("stopped", True)
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2, 1, 2]


def _stopped_twice(http: Api, out: Path) -> tuple[str, Document, Document]:
    """Run a pipeline in two parts; return it and the events that ended the parts."""
    pipeline = http.create(line(generated(0, 3000), sink(out)))
    for _ in range(2):
        before = http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"]
        http.start(pipeline)
        until(partial(_processed, http, pipeline, before + 100))
        http.post(f"/pipelines/{pipeline}/stop")
    first, second = http.get(f"/pipelines/{pipeline}/events", type="PipelineStopped")["events"]
    return pipeline, first, second


def _processed(http: Api, pipeline: str, more_than: int) -> bool:
    return int(http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"]) > more_than


def _longer(path: Path, rows: int) -> bool:
    return len(written(path)) > rows


def _read(event: Document) -> int:
    return int(event["pipelineStopped"]["checkpoint"]["ledgers"]["sink"]["recordsRead"])


def test_a_replay_from_an_event_or_a_time_reads_on_from_its_checkpoint(
    http: Api, folder: Path
) -> None:
    """The first row that comes again is the one behind that checkpoint."""
    pipeline, first, second = _stopped_twice(http, folder / "out.csv")
    one, two = _read(first), _read(second)
    assert ids(folder / "out.csv") == list(range(two))
    for name, value in (("sequence", first["sequence"]), ("time", first["time"])):
        end = len(ids(folder / "out.csv"))
        http.post(f"/pipelines/{pipeline}/replay", {name: value})
        http.start(pipeline)
        until(partial(_longer, folder / "out.csv", end))
        http.post(f"/pipelines/{pipeline}/stop")
        rows = ids(folder / "out.csv")
        assert rows[:end] == list(range(two)) + rows[two:end]
        assert rows[end:] == list(range(one, one + len(rows) - end))


def test_a_replay_before_the_first_checkpoint_is_refused(http: Api) -> None:
    """There is nothing to go back to, and the beginning has to be asked for."""
    pipeline = http.create(line(generated(10), CONSOLE))
    told = http.post(f"/pipelines/{pipeline}/replay", {"sequence": 1}, 400)
    assert "no checkpoint was audited by then" in told["message"]


def test_a_rollback_takes_the_old_spec_and_keeps_the_position(http: Api, folder: Path) -> None:
    """As a new version: history is never rewritten."""
    (folder / "in.csv").write_text("a\n1\n2\n")
    old = line(source(folder / "in.csv"), sink(folder / "out.csv"), name="old")
    pipeline = http.run(old)
    put(http, pipeline, {**old, "name": "new"})
    told = http.post(f"/pipelines/{pipeline}/rollback", {"version": 1})
    assert told["version"] == 3
    shown = http.pipeline(pipeline)
    assert (shown["name"], shown["version"]) == ("old", 3)
    versions = http.get(f"/pipelines/{pipeline}/versions")["versions"]
    assert [(v["version"], v["rollbackTo"], v["spec"]["name"]) for v in versions] == [
        (3, 1, "old"),
        (2, 0, "new"),
        (1, 0, "old"),
    ]
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2]
    unknown = http.client.post(f"/pipelines/{pipeline}/rollback", json={"version": 9})
    assert (unknown.status_code, unknown.json()["error"]) == (404, "UNKNOWN_VERSION")


def test_a_rollback_with_its_checkpoint_goes_back_to_where_that_version_was(
    http: Api, folder: Path
) -> None:
    """What version 2 read is read again by version 1's spec."""
    (folder / "in.csv").write_text("a\n1\n2\n")
    old = line(source(folder / "in.csv"), sink(folder / "out.csv"))
    pipeline = http.run(old)
    put(http, pipeline, {**old, "transforms": [where("a % 2 = 1")]})
    with (folder / "in.csv").open("a") as file:
        file.write("3\n4\n")
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2, 3]
    http.post(f"/pipelines/{pipeline}/rollback", {"version": 1, "withCheckpoint": True})
    again(http, pipeline)
    assert ids(folder / "out.csv") == [1, 2, 3, 3, 4]
