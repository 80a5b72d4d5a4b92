"""Records that a step could not handle: kept, counted and listed, each exactly once."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.programs import Api, Server, ctl
from tests.e2e.specs import SCHEMA, computed, line, sink, source, write_rows, written


def test_a_dead_letter_of_a_source_says_where_it_was_and_why(http: Api, folder: Path) -> None:
    """Step, split, ordinal, the text as it was read, and the error: enough to mend it."""
    (folder / "in.csv").write_text("a,b\n1,x\ntwo,y\n3,z\nfour,w\n")
    begin = source(folder / "in.csv", schema={"a": "int64"}, onError="dead-letter")
    pipeline = http.run(line(begin, sink(folder / "out.csv")))
    found = http.get(f"/pipelines/{pipeline}/deadletters")
    for letter in found["deadLetters"]:
        assert [letter.pop(key) for key in ("time", "run", "id")]
    assert found["deadLetters"] == [
        {
            "step": "source",
            "split": "in.csv",
            "ordinal": ordinal,
            "record": record,
            "error": f"column 'a': expected int64: invalid value '{value}'",
        }
        for ordinal, record, value in ((1, "two,y", "two"), (3, "four,w", "four"))
    ]
    assert found["total"] == 2
    assert written(folder / "out.csv") == [["1", "x"], ["3", "z"]]
    metrics = http.get(f"/pipelines/{pipeline}/metrics")
    assert (metrics["deadLetters"], metrics["totalRecordsFailed"]) == (2, 2)


def test_a_dead_letter_of_a_transform_names_the_step(http: Api, folder: Path) -> None:
    """The record is shown as its columns, and is named by its number in the source."""
    (folder / "in.csv").write_text("a\n1\nx\n3\n")
    spec = line(source(folder / "in.csv"), sink(folder / "out.csv"), computed(n="CAST(a AS int64)"))
    spec["transforms"][0] |= {"id": "numbers"}
    spec["options"]["onError"] = "dead-letter"
    pipeline = http.run(spec)
    (letter,) = http.get(f"/pipelines/{pipeline}/deadletters")["deadLetters"]
    assert (letter["step"], letter["split"], letter["ordinal"]) == ("numbers", "in.csv", 1)
    assert letter["record"] == '{"a":"x"}'
    assert "'x' is no int64" in letter["error"]
    assert written(folder / "out.csv") == [["1", "1"], ["3", "3"]]


def test_dead_letters_are_listed_page_by_page(http: Api, folder: Path) -> None:
    """Each once, in order."""
    bad = write_rows(folder / "in.csv", 5_000, malformed_every=50)
    begin = source(folder / "in.csv", schema=SCHEMA, onError="dead-letter") | {"batchSize": 300}
    pipeline = http.run(line(begin, sink(folder / "out.csv")))
    ordinals: list[int] = []
    token = ""
    while True:
        page = http.get(f"/pipelines/{pipeline}/deadletters", pageSize=33, pageToken=token)
        assert page["total"] == len(bad)
        ordinals += [letter["ordinal"] for letter in page["deadLetters"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert ordinals == bad


def dlq(server: Server, *arguments: str) -> str:
    """Return what a command about letters prints."""
    ran = ctl(server.grpc, "dlq", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_dead_letters_are_mended_by_the_command_line(
    http: Api, server: Server, folder: Path
) -> None:
    """Grouped, patched, replayed at the next start, and the rest purged."""
    (folder / "in.csv").write_text("a,b\n1,x\ntwo,y\n3,z\nfour,w\n")
    begin = source(folder / "in.csv", schema={"a": "int64"}, onError="dead-letter")
    pipeline = http.run(line(begin, sink(folder / "out.csv")))
    (cause,) = json.loads(dlq(server, "causes", pipeline, "-o", "json"))
    assert (cause["letters"], cause["error"]) == (2, "column '…': expected int#: invalid value '…'")
    (letter,) = json.loads(dlq(server, "list", pipeline, "--error", "two", "-o", "json"))
    refused = ctl(server.grpc, "dlq", "replay", pipeline, "--all", "--set", "c=1")
    assert (refused.returncode, "one of a, b" in refused.stderr) == (1, True)
    patch = ("--set", "a=2", "--set", "b=SUBSTRING(record, 5)")
    told = dlq(server, "patch", pipeline, letter["id"], *patch)
    assert told.startswith("1 to replay; start or resume the pipeline")
    http.start(pipeline)
    http.completed(pipeline)
    assert sorted(written(folder / "out.csv")) == [["1", "x"], ["2", "y"], ["3", "z"]]
    (left,) = http.get(f"/pipelines/{pipeline}/deadletters")["deadLetters"]
    assert left["record"] == "four,w"
    assert dlq(server, "purge", pipeline, "--step", "source") == "1 purged\n"
    assert http.get(f"/pipelines/{pipeline}/deadletters")["total"] == 0
