"""Functions that raise, hang, take all memory, end and are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import structlog

from dataflow.connect import Rejected, Unavailable
from dataflow.core.errors import Code
from dataflow.transforms.python.said import LINES_A_SECOND
from tests.integration.transforms.python.rig import (
    BROUGHT,
    batch,
    context,
    made,
    opened,
    reason,
    step,
)

GONE_WITHIN_S = 40.0
"""Of a test's patience: a process that is not killed would stay for ten minutes."""


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has asked for its status has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def all_gone(pids: list[int]) -> bool:
    """Wait until they have ended."""
    until = time.monotonic() + GONE_WITHIN_S
    while not all(map(gone, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def pids_in(path: Path) -> list[int]:
    """Wait for a file of process ids."""
    until = time.monotonic() + GONE_WITHIN_S
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    return [int(pid) for pid in path.read_text().split()]


def test_what_it_raises_is_the_reason_and_the_process_goes_on() -> None:
    """The reason has the user's line; the calls are in the log."""
    with step("pid") as python:
        first = made(python.apply(batch(1.0)))["pid"]
        assert made(python.apply(batch(1.0)))["pid"] == first
    with structlog.testing.capture_logs() as logged, step("bad_price") as python:
        said = reason(python.apply(batch(-1.0, 2.0)), 2)
        assert said.startswith("ValueError: a negative price, said  (orders.py:")
        lines = [line["line"] for line in logged]
        assert any("in bad_price" in line for line in lines)
        assert lines[-1].strip().startswith("raise ValueError(")
        assert all("program.py" not in line for line in lines)
        assert {line["step"] for line in logged} == {"t1"}


def test_a_secret_argument_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in a message of the function, which ends in logs and dead letters."""
    monkeypatch.setenv("TOLD", "hunter2-and-more")
    with structlog.testing.capture_logs() as logged:
        with step("bad_price", args={"token": "Bearer ${env:TOLD}"}) as python:
            said = reason(python.apply(batch(-1.0)), 1)
        with step("talking", args={"lines": 1}, environment=["TOLD"]) as python:
            python.apply(batch(1.0))
            until = time.monotonic() + GONE_WITHIN_S
            while not any("and the end" in each["line"] for each in logged):
                assert time.monotonic() < until
                time.sleep(0.02)
    assert "said Bearer ${env:TOLD}" in said
    assert "hunter2" not in f"{said} {logged}"
    assert any(each["line"] == "line 0 of ${env:TOLD}" for each in logged)


def test_the_platforms_environment_stays_with_the_platform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It holds credentials; what is asked for by name is told."""
    monkeypatch.setenv("TOLD", "yes")
    monkeypatch.setenv("DATAFLOW_S3_SECRET_ACCESS_KEY", "hunter2")
    with step("surroundings", environment=["TOLD"]) as python:
        columns = made(python.apply(batch(1.0)))
        assert columns["names"] == ["LANG,PATH,TOLD"]
        assert columns["told"] == ["yes"]
    with (
        step("surroundings", environment=["NO_SUCH_VARIABLE"]) as python,
        pytest.raises(Rejected, match="NO_SUCH_VARIABLE"),
    ):
        python.apply(batch(1.0))


@pytest.mark.parametrize("function", ["asleep", "deaf"])
def test_one_that_hangs_is_killed_and_the_next_batch_begins_anew(function: str) -> None:
    """Also in C, with every signal ignored and Python's lock held."""
    with step(function, timeLimit="200ms") as python:
        said = reason(python.apply(batch(-1.0, 1.0)), 2)
        assert said == "it took longer than timeLimit, 0.2s, and was ended"
    with step("asleep", timeLimit="1s") as python:
        reason(python.apply(batch(-1.0)), 1)
        assert made(python.apply(batch(1.0)))["price"] == [1.0]


def test_one_that_takes_all_memory_is_killed() -> None:
    """BEFORE the system has to choose whom to kill."""
    with step("greedy", memoryLimit=256 << 20) as python:
        said = reason(python.apply(batch(-1.0)), 1)
        assert said == "it took more memory than memoryLimit, 256 MiB, and was ended"
        assert made(python.apply(batch(1.0)))["price"] == [1.0]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "SystemExit: 3 (orders.py:"),
        ("_exit", "its process exited with status 3"),
        ("fault", "its process was killed by SIGSEGV"),
        ("term", "its process was killed by SIGTERM"),
    ],
)
def test_one_that_ends_its_process_is_begun_anew(how: str, said: str) -> None:
    """With the next batch."""
    with step("leaving", args={"how": how}) as python:
        assert reason(python.apply(batch(-1.0)), 1).startswith(said)
        assert made(python.apply(batch(1.0)))["price"] == [1.0]


def test_closing_ends_a_batch_under_way_with_all_that_it_began(tmp_path: Path) -> None:
    """A pipeline that is stopped waits for no function.

    What it began is a child, a fork, and an orphan in a session of its own.
    """
    pids = tmp_path / "pids"
    python = opened("with_children", args={"pids": str(pids)})
    raised: list[BaseException] = []

    def apply() -> None:
        try:
            python.apply(batch(1.0))
        except Unavailable as error:
            raised.append(error)

    thread = Thread(target=apply)
    thread.start()
    begun = pids_in(pids)
    python.close()
    thread.join(GONE_WITHIN_S)
    assert [str(error) for error in raised] == ["the step has been closed"]
    assert all_gone(begun)
    with pytest.raises(Unavailable, match="closed"):
        python.apply(batch(1.0))


def test_it_ends_with_the_platform(tmp_path: Path) -> None:
    """Whoever began it is killed, and can tell nobody."""
    pids = tmp_path / "pids"
    script = (
        "from tests.integration.transforms.python.rig import *\n"
        f"opened('with_children', args={{'pids': {str(pids)!r}}}).apply(batch(1.0))"
    )
    root = Path(__file__).parents[4]
    platform = subprocess.Popen([sys.executable, "-c", script], cwd=root)
    begun = pids_in(pids)
    platform.kill()
    platform.wait()
    assert all_gone(begun)


def test_a_keeper_that_is_stopped_is_killed_all_the_same() -> None:
    """It cannot hear that it shall end."""
    with step("asleep", timeLimit="1s") as python:
        python.apply(batch(1.0))
        process = python._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        assert "timeLimit" in reason(python.apply(batch(-1.0)), 1)
        assert all_gone([process.pid, process._worker])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_such:f", "this node has no module 'no_such' in pythonPath or among"),
        ("orders:no_such", "ImportError: orders has no no_such"),
        ("orders:NOT_CALLABLE", "TypeError: orders:NOT_CALLABLE is int, which cannot be called"),
        ("broken:f", "No module named 'no_such_package' (broken.py:3)"),
    ],
)
def test_what_cannot_be_loaded_fails_the_pipeline(function: str, said: str) -> None:
    """Every batch would be refused; told by the node that runs it, which alone can know."""
    with step(function) as python, pytest.raises(Rejected) as raised:
        python.apply(batch(1.0))
    assert said in str(raised.value)
    assert raised.value.field == "options.function"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("hanging:f", "it took longer than importLimit, 0.3s, and was ended"),
        ("leaving:f", "its process exited with status 4"),
    ],
)
def test_one_that_is_never_loaded_is_tried_again(function: str, said: str) -> None:
    """No batch is at fault; the run is, and the pipeline's patience says how often."""
    options: dict[str, Any] = {"importLimit": "300ms"} if "hanging" in function else {}
    with step(function, **options) as python, pytest.raises(Unavailable, match=said):
        python.apply(batch(1.0))


def test_printing_fills_no_log() -> None:
    """What is beyond a few lines a second is counted, and the function is not held up."""
    with structlog.testing.capture_logs() as logged, step("talking", args={"lines": 50_000}) as f:
        f.apply(batch(1.0))
        f.apply(batch(1.0))
        lines = [each for each in logged if each["event"] == "the function said"]
        assert 0 < len(lines) <= LINES_A_SECOND * GONE_WITHIN_S
        assert {each["pipeline"] for each in lines} == {"p"}


def test_a_node_may_run_nobodys_functions() -> None:
    """Whoever may start a pipeline would run programs there."""
    around = context()
    refusing = type(around)(around.pipeline, around.step, around.clock, around.secret, around.path)
    with pytest.raises(Rejected, match="DATAFLOW_PYTHON") as raised:
        opened("doubled", refusing)
    assert raised.value.code is Code.PERMISSION


def test_code_comes_from_the_folders_that_the_node_allows(tmp_path: Path) -> None:
    """The same folders as for files."""
    with pytest.raises(Rejected, match="outside the folders") as raised:
        opened("doubled", context([tmp_path]))
    assert (raised.value.code, raised.value.field) == (Code.PERMISSION, "options.pythonPath")
    opened("doubled", context([Path(BROUGHT)])).close()
    with pytest.raises(Rejected, match="no folder"):
        opened("doubled", pythonPath=[str(tmp_path / "none")])
