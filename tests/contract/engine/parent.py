"""A node of one worker process, as small as it can be, for tests that kill or freeze it.

It has a run opened, says so in lines of JSON, and lets the process work ``lease_s`` at a time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from dataflow.app.clock import SystemClock
from dataflow.core import messages as m
from dataflow.core.ids import Run
from dataflow.engine.processes.pool import Processes
from dataflow.engine.processes.process import Node, Program
from tests.contract.engine import process
from tests.contract.engine.owner import PIPELINE
from tests.contract.engine.test_worker import SEED, no_questions


def say(**what: object) -> None:
    """Write a line for the test."""
    print(json.dumps(what), flush=True)  # noqa: T201 - the test reads it


async def run(target: Path, lease_s: float) -> None:
    """Have a run of a csv file opened, and go on for ever."""
    heard: asyncio.Queue[m.ToOwner] = asyncio.Queue()
    program = Program(process.COMMAND, process.settings(target.parent))
    node = Node(heard.put_nowait, no_questions, lambda *_: None)
    clock = SystemClock()
    async with Processes.open(program, 1, node) as processes:
        if lease_s:
            processes.serve(clock.steady() + lease_s)
        processes.receive(m.RunTask(PIPELINE, Run(7), process.writing(target), SEED))
        while True:
            if lease_s:
                processes.serve(clock.steady() + lease_s)
            try:
                async with asyncio.timeout(lease_s / 4 or 1):
                    message = await heard.get()
            except TimeoutError:
                continue
            if isinstance(message, m.Opened):
                say(opened=processes.pids[0])
            elif isinstance(message, m.Failed):
                say(failed=message.error.code)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), float(sys.argv[2])))
