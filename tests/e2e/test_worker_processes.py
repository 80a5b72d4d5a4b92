"""The program with worker processes beside it, as an operator sees them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.programs import Api, Server, api, serving, until
from tests.e2e.specs import generated, line, sink, source, where, written

TWO = {"DATAFLOW_WORKERS": "2"}
OWN_GROUP = ("setsid",)
"""Begins the program as a terminal or a service manager does: alone in its group."""


def children(server: Server) -> Sequence[int]:
    """Return the processes that the program has begun."""
    tasks = Path(f"/proc/{server.process.pid}/task")
    found: list[int] = []
    for one in tasks.iterdir():
        with suppress(FileNotFoundError):  # The thread has ended since it was listed.
            found += map(int, (one / "children").read_text().split())
    return found


def workers(server: Server, count: int) -> Sequence[int]:
    """Return the worker processes, once there are so many."""
    until(lambda: len(children(server)) == count, f"{count} worker processes")
    return children(server)


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


def loaded(pid: int) -> set[str]:
    """Return which of the libraries for rows a process has loaded."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in ("pyarrow", "polars") if f"/{name}/" in maps or f"/_{name}" in maps}


def endless(http: Api, folder: Path) -> str:
    """Start a pipeline that runs until it is stopped, and return it once it has decided rows."""
    spec = line(generated(0, 4000), sink(folder / "out.csv"), where("id % 2 = 0"))
    pipeline = http.create({**spec, "pipelineId": "endless"})
    http.start(pipeline)
    until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] > 200)
    return pipeline


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_for_the_whole_group_closes_last_checkpoints_first(
    folder: Path, number: signal.Signals
) -> None:
    """A terminal sends it to everybody; whoever has rows must not go before they are decided."""
    with serving(folder, TWO, prefix=OWN_GROUP) as server, api(server) as http:
        endless(http, folder)
        processes = workers(server, 2)
        os.killpg(server.process.pid, number)
        assert server.ended() == 0
        assert server.logged("stopping")
        assert not server.logged("worker lost")
    assert not any(map(is_alive, processes))
    with serving(folder, TWO) as server, api(server) as http:
        shown = http.pipeline("endless")
        assert shown["status"] == "running"
        http.post("/pipelines/endless/stop", {"reason": "enough"})
        ledger = http.get("/pipelines/endless/metrics")["ledger"]
    found = written(folder / "out.csv")
    assert found == [[str(2 * n)] for n in range(len(found))]
    assert ledger["recordsWritten"] == len(found)


def test_a_program_that_is_killed_leaves_no_worker_behind(folder: Path) -> None:
    """The next one begins the same runs, and needs their locks."""
    with serving(folder, TWO) as server, api(server) as http:
        endless(http, folder)
        processes = workers(server, 2)
        server.kill()
        until(lambda: not any(map(is_alive, processes)), "the worker processes are gone")


def test_a_worker_that_is_killed_is_told_of_and_begun_again(folder: Path) -> None:
    """The pipeline goes on, and the log says why it stood still."""
    with serving(folder, {"DATAFLOW_WORKERS": "1"}) as server, api(server) as http:
        pipeline = endless(http, folder)
        (pid,) = workers(server, 1)
        os.kill(pid, signal.SIGKILL)
        until(lambda: children(server) not in ([], [pid]), "another worker process")
        before = http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"]
        until(lambda: http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"] > before)
        (said,) = server.logged("worker lost")
        assert (said["worker"], said["why"]) == (1, "was killed by SIGKILL")
        (retry,) = http.get(f"/pipelines/{pipeline}/events", type="RetryScheduled")["events"]
        assert retry["retryScheduled"]["error"]["code"] == "WORKER_LOST"
        http.post(f"/pipelines/{pipeline}/stop", {"reason": "enough"})
    found = written(folder / "out.csv")
    assert found == [[str(2 * n)] for n in range(len(found))]


def test_the_process_that_keeps_the_journal_loads_nothing_that_handles_rows(folder: Path) -> None:
    """Files, pushed batches, previews and dead letters: all of it is done in a worker."""
    (folder / "in.csv").write_text("a\n1\nbad\n")
    begin = source(folder / "in.csv", schema={"a": "int64"}, onError="dead-letter")
    pushed = {"sourceType": "push", "options": {"schema": {"a": "int64"}}}
    with serving(folder, {"DATAFLOW_WORKERS": "1"}) as server, api(server) as http:
        spec = line(begin, sink(folder / "out.csv"))
        shown = http.post("/pipelines:preview", {**spec, "records": 5})
        assert shown["steps"][0]["records"]
        pipeline = http.run(spec)
        letters = http.get(f"/pipelines/{pipeline}/deadletters")["deadLetters"]
        assert [letter["record"] for letter in letters] == ["bad"]
        taking = http.create(line(pushed, sink(folder / "pushed.csv")))
        http.start(taking)
        batch = {"batchId": "b1", "records": [{"a": 1}, {"a": 2}]}
        http.post(f"/pipelines/{taking}/batches", batch)
        path = f"/pipelines/{taking}/metrics"
        until(lambda: http.get(path)["totalRecordsProcessed"] == 2, "what was pushed is decided")
        (pid,) = workers(server, 1)
        assert loaded(server.process.pid) == set()
        assert loaded(pid) == {"pyarrow", "polars"}
