"""The program of a worker process that kills its node or itself: once, at one hit of a point."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dataflow.app import worker
from dataflow.connect import Log
from dataflow.core.ids import PipelineId
from dataflow.engine.processes.child import Parts
from dataflow.engine.processes.messages import Begin

COMMAND = (sys.executable, "-m", "tests.fault.killing.working")

DEATH = "DATAFLOW_TEST_DEATH"
"""A variable: the point, the hit, who dies there, and a file that says that it has happened."""


def parts(begin: Begin, log: Callable[[PipelineId], Log]) -> Parts:
    """Return what a real worker process is made of, with a probe that kills."""
    death = json.loads(os.environ[DEATH])
    hits: Counter[str] = Counter()

    def probe(point: str) -> None:
        hits[point] += 1
        if (point, hits[point]) == (death["point"], death["hit"]):
            kill_once(Path(death["mark"]), os.getpid() if death["worker"] else os.getppid())

    made = worker.parts(begin, log)
    return replace(made, contexts=replace(made.contexts, probe=probe), probe=probe)  # type: ignore[type-var]  # a dataclass


def kill_once(mark: Path, pid: int) -> None:
    """Kill a process, unless one was killed already."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    worker.begin(parts)
