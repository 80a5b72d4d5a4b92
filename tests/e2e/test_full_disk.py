"""A disk that is full, and a folder that may not be used: told, waited for, and nothing lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.disks import disk, enlarge, needs_root
from tests.e2e.programs import Api, Server, api, launch, serving, until
from tests.e2e.specs import (
    KEPT,
    SCHEMA,
    expected,
    generated,
    line,
    sink,
    source,
    write_rows,
    written,
)

Document = dict[str, Any]

PATIENT = {"maxAttempts": 10_000, "backoffMax": "50ms"}


def backing_off(http: Api, pipeline: str) -> Document:
    """Return a pipeline's error while it waits to try again."""
    shown = http.pipeline(pipeline)
    error: Document = shown.get("error") or {}
    return error if shown["phase"] == "backing-off" else {}


@needs_root
@pytest.mark.parametrize("target", ["out.csv", "out", "out.parquet"])
def test_a_full_output_disk_is_told_and_the_output_is_exact_afterwards(
    http: Api, folder: Path, target: str
) -> None:
    """Half of a batch may be on the disk when it is full; it is cut away and written again."""
    write_rows(folder / "in.csv", 30_000)
    with disk(folder / "small", "256k") as small:
        options: Document = {} if "." in target else {"format": "csv", "rotateRows": 5000}
        begin = source(folder / "in.csv", schema=SCHEMA)
        spec = line(begin, sink(small / target, **options), *KEPT, options=PATIENT)
        pipeline = http.create(spec)
        http.start(pipeline)
        error = until(lambda: backing_off(http, pipeline))
        assert (error["errorType"], error["code"]) == ("sink", "STORAGE")
        assert error["retryable"] is True
        assert str(small) in error["message"]
        assert "No space left on device; make room" in error["message"]
        enlarge(small)
        http.completed(pipeline)
        if target == "out.parquet":
            import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import

            rows = [
                list(map(str, row.values())) for row in pq.read_table(small / target).to_pylist()
            ]
        else:
            rows = written(small / target)
        assert rows == expected(folder / "in.csv")


@needs_root
def test_a_pipeline_that_failed_for_want_of_room_goes_on_after_a_reset(
    http: Api, folder: Path
) -> None:
    """Nobody may look for hours: the attempts end, the position stays."""
    write_rows(folder / "in.csv", 30_000)
    with disk(folder / "small", "256k") as small:
        begin = source(folder / "in.csv", schema=SCHEMA)
        spec = line(begin, sink(small / "out.csv"), *KEPT, options={"maxAttempts": 2})
        pipeline = http.create(spec)
        http.start(pipeline)
        assert http.rested(pipeline)["status"] == "failed"
        enlarge(small)
        http.post(f"/pipelines/{pipeline}/reset")
        http.start(pipeline)
        http.completed(pipeline)
        assert written(small / "out.csv") == expected(folder / "in.csv")


def fill(folder: Path) -> Path:
    """Leave no room on a disk."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


@needs_root
def test_a_full_data_disk_refuses_what_it_cannot_keep_and_goes_on(folder: Path) -> None:
    """No answer without durability: commands and batches are put off, reads go on being served."""
    with (
        disk(folder / "small", "48m") as small,
        serving(folder, {"DATAFLOW_DATA_DIR": str(small / "data")}) as server,
        api(server) as http,
    ):
        rows = line(generated(6000, 3000), sink(folder / "out.csv"), options=PATIENT)
        made = http.create(rows)
        push = {"sourceType": "push", "options": {"schema": {"id": "int64"}}}
        pushed = http.create(line(push, sink(folder / "pushed.csv"), options=PATIENT))
        http.start(made)
        http.start(pushed)
        batch(http, pushed, "first", [1, 2], status=200)
        ballast = fill(small)
        told = until(lambda: refused(http))
        assert "the disk is full; make room, nothing was written" in told["message"]
        said = batch(http, pushed, "second", range(3, 90_000), status=503)
        assert said["error"] == "STORAGE"
        assert "nothing of the batch was taken" in said["message"]
        assert http.pipeline(made)["pipelineId"] == made
        ballast.unlink()
        http.completed(made)
        shown = http.get("/pipelines")["pipelines"]
        assert {p["pipelineId"]: p["status"] for p in shown}[made] == "stopped"
        batch(http, pushed, "second", [3, 4], status=200)
        until(lambda: http.pipeline(pushed)["metrics"]["totalRecordsProcessed"] == 4)
        http.post(f"/pipelines/{pushed}/stop")
        assert server.process.poll() is None
    assert written(folder / "out.csv") == [[str(n)] for n in range(6000)]
    assert written(folder / "pushed.csv") == [["1"], ["2"], ["3"], ["4"]]


def batch(http: Api, pipeline: str, name: str, ids: Sequence[int], *, status: int) -> Document:
    """Push a batch of numbers."""
    body = {"batchId": name, "records": [{"id": number} for number in ids]}
    return http.post(f"/pipelines/{pipeline}/batches", body, status)


def refused(http: Api) -> Document:
    """Return the refusal of a command; the last free page may still take one or two."""
    answer = http.client.post("/pipelines", json=line(generated(1), {"sinkType": "console"}))
    if answer.status_code == 201:
        http.client.delete(f"/pipelines/{answer.json()['pipelineId']}")
        return {}
    assert answer.status_code == 503, answer.text
    told: Document = answer.json()
    return told


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        os.chown(folder / "data", NOBODY, NOBODY)
        yield folder


NOBODY = 65534
# Such a user may not write where coverage is gathered, and would say so on stderr.
AS_NOBODY = [
    *("env", "--unset=COVERAGE_PROCESS_CONFIG"),
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
]


@needs_root
def test_what_another_user_may_not_use_is_named(open_folder: Path) -> None:
    """Input that may not be read, and a folder that may not be written: which, and why."""
    (open_folder / "in.csv").write_text("a\n1\n")
    (open_folder / "secret.csv").write_text("a\n1\n")
    (open_folder / "secret.csv").chmod(0o600)
    (open_folder / "closed").mkdir(mode=0o755)
    with serving(open_folder, prefix=AS_NOBODY) as server, api(server) as http:
        console = {"sinkType": "console"}
        error = http.failed(line(source(open_folder / "secret.csv"), console))
        assert (error["errorType"], error["code"]) == ("source", "PERMISSION")
        assert f"{open_folder / 'secret.csv'}: Permission denied" in error["message"]
        target = open_folder / "closed" / "out.csv"
        error = http.failed(line(source(open_folder / "in.csv"), sink(target)))
        assert error["errorType"] == "sink"
        assert str(open_folder / "closed") in error["message"]
        assert "Permission denied" in error["message"]
        (open_folder / "closed").chmod(0o777)
        http.run(line(source(open_folder / "in.csv"), sink(target)))
        assert written(target) == [["1"]]


@needs_root
def test_a_data_directory_that_may_not_be_written_keeps_the_program_from_starting(
    open_folder: Path,
) -> None:
    """With the path and the remedy."""
    os.chown(open_folder / "data", 0, 0)
    server: Server = launch(open_folder, {}, prefix=AS_NOBODY)
    assert server.ended() == 1
    assert server.err == (
        f"dataflow: {open_folder / 'data' / 'lock'}: Permission denied; this user must be able to"
        " write the folder\n"
    )
