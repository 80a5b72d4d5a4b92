"""Input that is missing, damaged or malformed: where it is told, and nothing is lost."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.programs import Api, until
from tests.e2e.specs import line, sink, source, where, write_rows, written

Document = dict[str, Any]


def test_a_missing_file_is_waited_for_and_then_read(http: Api, folder: Path) -> None:
    """Files come late: no failure, no attempt, and the reason where anybody looks."""
    spec = line(source(folder / "in.csv") | {"pollIntervalMs": 20}, sink(folder / "out.csv"))
    pipeline = http.create(spec)
    http.start(pipeline)
    shown = until(lambda: _in_phase(http, pipeline, "waiting"))
    assert shown["phaseDetail"] == f"{folder / 'in.csv'}: there is no such file yet"
    health = http.get(f"/pipelines/{pipeline}/health")
    assert (health["health"], health["status"]) == ("degraded", "running")
    (folder / "in.csv").write_text("a,b\n1,x\n")
    http.completed(pipeline)
    assert written(folder / "out.csv") == [["1", "x"]]
    types = [e["tags"]["type"] for e in http.get(f"/pipelines/{pipeline}/events")["events"]]
    assert "RetryScheduled" not in types


def _in_phase(http: Api, pipeline: str, phase: str) -> Document:
    shown = http.pipeline(pipeline)
    return shown if shown["phase"] == phase else {}


def test_a_missing_file_that_must_exist_is_an_error(http: Api, folder: Path) -> None:
    """As asked."""
    spec = line(source(folder / "in.csv", mustExist=True), sink(folder / "out.csv"))
    error = http.failed(spec)
    assert (error["errorType"], error["step"]) == ("source", "source")
    assert f"{folder / 'in.csv'}: there is no such file" in error["message"]


def test_an_unknown_column_is_told_at_the_first_batch(http: Api, folder: Path) -> None:
    """With the place in the expression, and the columns that there are."""
    (folder / "in.csv").write_text("a,b\n1,x\n")
    error = http.failed(
        line(source(folder / "in.csv"), sink(folder / "out.csv"), where("amount > 1"))
    )
    assert (error["errorType"], error["step"]) == ("transform", "t1")
    assert "options.expression: line 1, column 1: unknown column 'amount'" in error["message"]
    assert error["message"].endswith("columns: a, b")


MALFORMED: dict[str, tuple[str, bytes, str]] = {
    "a cell too many": ("in.csv", b"a,b\n1,x\n2,y,z\n3,w\n", "record 1 of 'in.csv': has 3 cells"),
    "a cell that is no number": (
        "in.csv",
        b"a,b\n1,x\ntwo,y\n",
        "record 1 of 'in.csv': column 'a': expected int64: invalid value 'two'",
    ),
    "an open quote": ("in.csv", b'a,b\n1,x\n2,"y\n', "record 1 of 'in.csv': a quote is not closed"),
    "bytes that are no text": (
        "in.csv",
        b"a,b\n1,x\n2,\xff\n",
        "record 1 of 'in.csv': invalid UTF",
    ),
    "a line that is no object": (
        "in.json",
        b'{"a": 1, "b": "x"}\n{"a":\n',
        "record 1 of 'in.json': not a JSON object on one line",
    ),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_record_fails_with_its_number(http: Api, folder: Path, what: str) -> None:
    """The default; what came before it is neither lost nor repeated when it was mended."""
    name, content, message = MALFORMED[what]
    (folder / name).write_bytes(content)
    spec = line(
        source(folder / name, schema={"a": "int64", "b": "string"}), sink(folder / "out.csv")
    )
    pipeline = http.create(spec)
    http.start(pipeline)
    shown = http.rested(pipeline)
    assert shown["status"] == "failed"
    assert (shown["error"]["code"], shown["error"]["step"]) == ("RECORD_REJECTED", "source")
    assert message in shown["error"]["message"]
    assert "set onError to skip or dead-letter" in shown["error"]["message"]

    spec["source"]["options"]["onError"] = "skip"
    assert http.client.put(f"/pipelines/{pipeline}", json=spec).status_code == 200
    http.post(f"/pipelines/{pipeline}/reset")
    http.start(pipeline)
    http.completed(pipeline)
    skipped = http.get(f"/pipelines/{pipeline}/metrics")["ledger"]["recordsSkipped"]
    rows = written(folder / "out.csv")
    assert skipped == 1
    assert rows == [["1", "x"], ["3", "w"]][: len(rows)]
    assert rows


def _whole(rows: int) -> bytes:
    return gzip.compress(b"a,b\n" + b"".join(b"%d,x%d\n" % (n, n * 7) for n in range(rows)))


def test_a_truncated_archive_is_told_and_read_on_when_it_is_whole(http: Api, folder: Path) -> None:
    """A copy that was interrupted is repeated; nothing before the cut comes twice."""
    whole = _whole(200_000)
    (folder / "in.csv.gz").write_bytes(whole[: len(whole) // 2])
    spec = line(source(folder / "in.csv.gz") | {"batchSize": 1000}, sink(folder / "out.csv"))
    pipeline = http.create(spec)
    http.start(pipeline)
    error = http.rested(pipeline)["error"]
    assert error["step"] == "source"
    assert f"{folder / 'in.csv.gz'}: ends in the middle of its compressed data" in error["message"]
    (folder / "in.csv.gz").write_bytes(whole)
    http.post(f"/pipelines/{pipeline}/reset")
    http.start(pipeline)
    http.completed(pipeline)
    assert written(folder / "out.csv") == [[str(n), f"x{n * 7}"] for n in range(200_000)]


def test_a_damaged_archive_is_told(http: Api, folder: Path) -> None:
    """By its name, and as damage."""
    whole = bytearray(_whole(5_000))
    whole[len(whole) // 2] ^= 0xFF
    (folder / "in.csv.gz").write_bytes(whole)
    error = http.failed(line(source(folder / "in.csv.gz"), sink(folder / "out.csv")))
    assert error["code"] == "CORRUPTED"
    assert f"{folder / 'in.csv.gz'}: is damaged" in error["message"]


@pytest.mark.parametrize("how", ["no parquet", "truncated", "damaged page"])
def test_a_damaged_parquet_file_is_told(http: Api, folder: Path, how: str) -> None:
    """By its name, and as damage."""
    path = folder / "in.parquet"
    pq.write_table(pa.table({"a": list(range(20_000))}), path)
    content = bytearray(path.read_bytes())
    if how == "no parquet":
        content = bytearray(b"PAR1 and nothing more PAR1")
    elif how == "truncated":
        content = content[: len(content) // 2]
    else:
        content[200:400] = bytes(200)
    path.write_bytes(content)
    error = http.failed(line(source(path), sink(folder / "out.csv")))
    assert error["code"] == "CORRUPTED"
    assert str(path) in error["message"]


def test_a_reference_that_stands_for_nothing_is_an_error(http: Api, folder: Path) -> None:
    """Not a file of that name to wait for."""
    error = http.failed(line(source("${env:NOBODY_SET_THIS}/in.csv"), sink(folder / "out.csv")))
    assert "${env:NOBODY_SET_THIS}: this node has no such variable" in error["message"]


def test_output_that_is_there_already_is_not_touched(http: Api, folder: Path) -> None:
    """Somebody's file is not this pipeline's to replace, unless it says so."""
    write_rows(folder / "in.csv", 10)
    (folder / "out.csv").write_text("precious\n")
    error = http.failed(line(source(folder / "in.csv"), sink(folder / "out.csv")))
    assert "options.ifExists" in error["message"]
    assert "choose append or replace" in error["message"]
    assert (folder / "out.csv").read_text() == "precious\n"
