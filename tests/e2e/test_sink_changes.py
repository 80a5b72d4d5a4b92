"""A pipeline whose sink changes: what is written stays, and nothing that was decided is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e.programs import Api, until
from tests.e2e.specs import generated, line, sink, source, where, written

Document = dict[str, Any]


def ids(out: Path) -> list[int]:
    """Return the first column of a file, or of the parts of a directory in their order."""
    parts = sorted(out.glob("part-*")) if out.is_dir() else [out]
    return [int(row[0]) for part in parts for row in written(part)]


def again(http: Api, pipeline: str) -> None:
    """Start once more, to the end."""
    http.start(pipeline)
    http.completed(pipeline)


def update(http: Api, pipeline: str, spec: Document, status: int = 200) -> Document:
    """Replace the spec."""
    answer = http.client.put(f"/pipelines/{pipeline}", json=spec)
    assert answer.status_code == status, answer.text
    told: Document = answer.json()
    return told


OUTS = pytest.mark.parametrize(
    ("name", "options"), [("out.csv", {}), ("out", {"format": "csv"})], ids=["file", "directory"]
)


@OUTS
def test_other_options_of_a_sink_that_replaces_do_not_replace_its_own_rows(
    http: Api, folder: Path, name: str, options: Document
) -> None:
    """Replaced is what was there before the pipeline's first row."""
    (folder / "in.csv").write_text("a\n1\n2\n")
    spec = line(source(folder / "in.csv"), sink(folder / name, ifExists="replace", **options))
    pipeline = http.run(spec)
    spec["sink"]["batchSize"] = 7
    update(http, pipeline, spec)
    with (folder / "in.csv").open("a") as file:
        file.write("3\n")
    again(http, pipeline)
    assert ids(folder / name) == [1, 2, 3]


@OUTS
def test_a_replay_into_a_sink_that_replaces_writes_in_place_of_what_there_was(
    http: Api, folder: Path, name: str, options: Document
) -> None:
    """What is read again does not come twice where the sink may begin anew."""
    (folder / "in.csv").write_text("a\n1\n2\n")
    spec = line(source(folder / "in.csv"), sink(folder / name, **options))
    pipeline = http.run(spec)
    spec["sink"]["options"]["ifExists"] = "replace"
    update(http, pipeline, spec)
    assert ids(folder / name) == [1, 2]
    http.post(f"/pipelines/{pipeline}/replay")
    again(http, pipeline)
    assert ids(folder / name) == [1, 2]


def test_a_sink_over_its_own_source_is_refused_before_anything_is_touched(
    http: Api, folder: Path
) -> None:
    """Replaced, the input would be gone."""
    (folder / "same.csv").write_text("a\n1\n2\n")
    spec = line(source(folder / "same.csv"), sink(folder / "same.csv", ifExists="replace"))
    answer = http.client.post("/pipelines", json=spec)
    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "sink.connectionString"
    assert (folder / "same.csv").read_text() == "a\n1\n2\n"


def test_rows_that_wait_in_an_open_part_stay_with_their_sink(http: Api, folder: Path) -> None:
    """They are decided, so nobody reads them again: another sink would never get them."""
    spec = line(generated(0, 2000), sink(folder / "out", format="csv"))
    pipeline = http.create(spec)
    http.start(pipeline)
    until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] > 100)
    http.post(f"/pipelines/{pipeline}/stop", {"deadline": "0s"})
    assert list((folder / "out").glob("part-*")) == []
    elsewhere = line(spec["source"], sink(folder / "other", format="csv"))
    refused = update(http, pipeline, elsewhere, 400)
    assert refused["error"] == "POSITION_REQUIRED"
    assert "start and stop the pipeline" in refused["message"]
    spec["sink"]["options"]["rotateRows"] = 500
    update(http, pipeline, spec)
    http.start(pipeline)
    until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] > 1000)
    http.post(f"/pipelines/{pipeline}/stop")
    before = ids(folder / "out")
    assert before == list(range(len(before)))
    update(http, pipeline, elsewhere)
    http.start(pipeline)
    until(lambda: list((folder / "other" / ".stage").glob("*.csv")))
    http.post(f"/pipelines/{pipeline}/stop")
    after = ids(folder / "other")
    assert before + after == list(range(len(before) + len(after)))


def test_everything_may_be_written_to_another_sink_from_the_beginning(
    http: Api, folder: Path
) -> None:
    """The way out where the sink there is cannot be finished."""
    pipeline = http.create(line(generated(3000, 2000), sink(folder / "out", format="csv")))
    http.start(pipeline)
    until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] > 100)
    http.post(f"/pipelines/{pipeline}/stop", {"deadline": "0s"})
    elsewhere = line(generated(3000), sink(folder / "other", format="csv"), position="beginning")
    update(http, pipeline, elsewhere)
    again(http, pipeline)
    assert ids(folder / "other") == list(range(3000))


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_an_output_without_rows_still_tells_its_columns(http: Api, folder: Path, name: str) -> None:
    """Whoever reads it next asks for columns, not for rows."""
    (folder / "in.csv").write_text("a,b\n1,2\n")
    http.run(line(source(folder / "in.csv"), sink(folder / name), where("a > 5")))
    if name == "out.csv":
        assert (folder / name).read_text() == "a,b\n"
    else:
        assert pq.read_table(folder / name).to_pydict() == {"a": [], "b": []}
