"""One life of a node, in a forked process that may be killed at a named point or moment.

Run as a program it is a cradle: it imports everything once, starts no thread, and forks a node
for every line of JSON on standard input. A fork takes milliseconds where a new interpreter takes
most of a second, and a SIGKILL is as final for it as for any process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dataflow.engine.preview
import dataflow.engine.task  # noqa: F401 - imported before the first fork
from dataflow.app.logs import configure
from dataflow.app.node import Node
from dataflow.app.settings import Settings
from dataflow.app.standalone import node
from dataflow.core import commands as c
from dataflow.core.errors import DataFlowError, Unavailable
from dataflow.core.ids import CommandId, PipelineId
from dataflow.core.spec import canonical
from dataflow.core.state import Drain, State, Status
from dataflow.engine.records import Patch, ReplayLetters, Setting, Wanted
from dataflow.server.specs import spec_of
from dataflow.v1 import pipeline_pb2 as pb
from dataflow.wire.json import from_value
from tests.fault.killing import working
from tests.fault.killing.graphs import Graph
from tests.fault.killing.scenarios import PATCH, SCENARIOS, Scenario, pushed_records
from tests.fault.killing.streams import GRAPHS

PIPELINE = PipelineId("p")
PUSH_ROWS = 260
LIFE_MAX = timedelta(seconds=60)


@dataclass(frozen=True)
class Life:
    """What to do in one life, and how it ends."""

    folder: Path
    scenario: Scenario | Graph
    point: str = ""
    hit: int = 0
    after_s: float = 0.0
    workers: int = 0
    worker_dies: bool = False
    """A worker process does, and its node lives on."""


class Reaper:
    """A probe that kills the process at the n-th hit of one point, and counts all of them."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.hits: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self.hits[point] += 1
        if point == self._life.point and self.hits[point] == self._life.hit:
            mark = self._life.folder / "died"
            pids = _children() if self._life.worker_dies else [os.getpid()]
            for pid in pids:
                working.kill_once(mark, pid)


def _children() -> list[int]:
    """Return the processes that this one has begun."""
    pid = os.getpid()
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def live(life: Life, reaper: Reaper) -> None:
    """Open the node, see that the pipeline exists and runs, and wait until it has ended."""
    async with asyncio.timeout(LIFE_MAX.total_seconds()):
        settings = Settings(data_dir=life.folder / "data", workers=life.workers)
        async with node(settings, reaper, working.COMMAND) as served:
            await _ensure(served, life)
            if life.scenario.pushed:
                await _push(served, life)
            state = await _ended(served)
            if life.scenario.replayed and state.status is Status.STOPPED:
                await _replay(served, life)
                state = await _ended(served)
    if state.status is not Status.STOPPED:
        raise RuntimeError(f"{state.status}: {state.error}")


async def _ended(served: Node) -> State:
    """Return the state once the pipeline no longer runs."""
    while (state := (await served.pipeline(PIPELINE)).state).status is Status.RUNNING:  # noqa: ASYNC110 - the state is what is waited for
        await asyncio.sleep(0.005)
    return state


async def _ensure(served: Node, life: Life) -> None:
    request = from_value(life.scenario.spec(life.folder), pb.CreatePipelineRequest)
    spec = canonical(spec_of(request))
    await _execute(served, create=c.CreatePipeline(spec), start=c.StartPipeline())


async def _execute(served: Node, **bodies: c.UserCommand) -> None:
    """Carry out commands; each has its name for an id, so that it is carried out once."""
    commands = [
        c.Command(PIPELINE, CommandId(name), "test", body, name.encode())
        for name, body in bodies.items()
    ]
    for answer in await served.execute(commands):
        if isinstance(answer, DataFlowError):
            raise answer


async def _replay(served: Node, life: Life) -> None:
    """Ask for all letters to be replayed, unless that was taken, and start the run that does so."""
    asked = life.folder / "asked"
    if not asked.exists():
        settings = tuple(Setting(name, expression) for name, expression in PATCH.items())
        asking = ReplayLetters("again", Wanted(step="source"), Patch(settings))
        await served.replay_letters(PIPELINE, asking)
        asked.touch()
    await _execute(served, again=c.StartPipeline())


async def _push(served: Node, life: Life) -> None:
    """Push what was not acknowledged and the last that was once more, then stop the pipeline."""
    records = pushed_records(life.folder)
    batches = [records[n : n + PUSH_ROWS] for n in range(0, len(records), PUSH_ROWS)]
    acks = life.folder / "acks"
    acked = int(acks.read_text() or 0) if acks.exists() else 0
    state = (await served.pipeline(PIPELINE)).state
    if state.status is not Status.RUNNING or state.draining is Drain.STOP:
        return  # It died while it stopped: everything had been pushed.
    for number in range(max(0, acked - 1), len(batches)):
        body = b"\n".join(json.dumps(record).encode() for record in batches[number])
        await _push_one(served, f"b{number}", body)
        acks.write_text(str(number + 1))
    while True:
        shown = await served.pipeline(PIPELINE)
        ledgers = shown.decision.ledgers if shown.decision else {}
        if "sink" in ledgers and ledgers["sink"].records_read >= len(records):
            break
        if shown.state.status is not Status.RUNNING:
            return
        await asyncio.sleep(0.005)
    stop = c.Command(PIPELINE, CommandId("stop"), "test", c.StopPipeline("done"), b"stop")
    for answer in await served.execute([stop]):
        if isinstance(answer, DataFlowError) and not isinstance(answer, Unavailable):
            raise answer


async def _push_one(served: Node, name: str, body: bytes) -> None:
    """Push a batch, again where nobody could be asked: the worker that parsed it has died."""
    while True:
        try:
            await served.ingest(PIPELINE, name, "application/x-ndjson", body)
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return


def _child(life: Life) -> None:
    reaper = Reaper(life)
    death = {"point": life.point, "hit": life.hit, "worker": life.worker_dies}
    os.environ[working.DEATH] = json.dumps({**death, "mark": str(life.folder / "died")})
    if life.after_s:
        timer = threading.Timer(life.after_s, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    try:
        asyncio.run(live(life, reaper))
    except BaseException:  # noqa: BLE001 - the parent reads it
        (life.folder / "error").write_text(traceback.format_exc())
        os._exit(1)
    (life.folder / "hits").write_text(json.dumps(reaper.hits))
    os._exit(0)


def _life(line: str) -> Life:
    given: dict[str, Any] = json.loads(line)
    by_name = {scenario.name: scenario for scenario in (*SCENARIOS, *GRAPHS)}
    return Life(
        folder=Path(given["folder"]),
        scenario=by_name[given["scenario"]],
        point=given.get("point", ""),
        hit=given.get("hit", 0),
        after_s=given.get("after_s", 0.0),
        workers=given.get("workers", 0),
        worker_dies=given.get("worker_dies", False),
    )


def main() -> None:
    """Fork a life for every line; answer with how it ended: 0, 1, or minus the signal."""
    configure("console")  # to standard error: the answers alone go to the output
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(_life(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
