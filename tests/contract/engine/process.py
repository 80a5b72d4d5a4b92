"""The program of a worker process with the steps of the tests: a worker as any, inside a pipe.

What its probes pass is written to a file, for the test that looks on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from dataflow.app import worker
from dataflow.app.clock import SystemClock
from dataflow.connect import Context, Log, Registry
from dataflow.core.ids import PipelineId
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine.objects import Objects
from dataflow.engine.processes.child import Parts
from dataflow.engine.processes.messages import Begin
from tests.contract.engine.steps import REGISTRY
from tests.contract.engine.test_sinks import registry

COMMAND = (sys.executable, "-m", "tests.contract.engine.process")


def settings(root: Path, *, telling: bool = False) -> str:
    """Return what a process is told: where, and whether its steps tell on the engine."""
    return json.dumps({"root": str(root), "telling": telling})


def writing(target: Path) -> PipelineSpec:
    """Return a pipeline that holds the lock of a csv file until its run is told to end."""
    folder = target.parent / "in"
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("1\n2\n")
    source = Source("lines", str(folder), batch_size=1)
    return canonical(PipelineSpec(source=source, sink=Sink("file", str(target))))


def points_in(root: Path) -> list[str]:
    """Return the points that a process has passed."""
    passed = root / "points"
    return passed.read_text().splitlines() if passed.exists() else []


def parts(begin: Begin, log: Callable[[PipelineId], Log]) -> Parts:
    """Return the steps of the tests, over the folder of one."""
    given = json.loads(begin.settings)
    root = Path(given["root"])
    passed = os.open(root / "points", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def probe(point: str) -> None:
        os.write(passed, f"{point}\n".encode())

    clock = SystemClock()

    def context(pipeline: PipelineId, step: str) -> Context:
        return Context(
            pipeline, step, clock, lambda text: text, Path, log=log(pipeline), probe=probe
        )

    steps: Registry = REGISTRY if given["telling"] else registry()
    objects = Objects.local(root / "objects")
    return Parts(steps, context, objects, clock, probe, lambda text: text)


if __name__ == "__main__":
    worker.die_with_parent = lambda: None  # the end of the socket alone must suffice
    worker.begin(parts)
