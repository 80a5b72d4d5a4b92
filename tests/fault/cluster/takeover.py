"""How long after the death of its owner a pipeline decides again, as its clients see it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import httpx

from tests.fault.cluster.asking import Asking
from tests.fault.cluster.commands import Ledger
from tests.fault.cluster.rows import Line, Lines
from tests.fault.cluster.stage import Stage

LINES = 12
ROWS = 1_000_000
"""More than are written while it is measured."""

RUNNING_S = 3.0
LOOK_S = 0.1


async def takeovers(stage: Stage, folder: Path, prefix: str, draw: Random) -> list[float]:
    """Kill an owner of running pipelines; return after how many seconds each has decided."""
    async with httpx.AsyncClient() as http:
        asking = Asking(lambda: stage.addresses[:1], draw, http)
        lines = Lines(asking, Ledger())
        lines.plan(folder, prefix, LINES, ROWS)
        await lines.begin(lines.all)
        await asyncio.sleep(RUNNING_S)
        owners = {line.pipeline: (await _shown(asking, line))["owner"] for line in lines.all}
        victim = draw.choice(sorted(set(owners.values())))
        killed = datetime.now(UTC)
        await stage.kill(victim)
        async with asyncio.TaskGroup() as tasks:
            waiting = [
                tasks.create_task(_decided(asking, line, killed))
                for line in lines.all
                if owners[line.pipeline] == victim
            ]
        for line in lines.all:
            await lines.command("POST", f"/pipelines/{line.pipeline}/stop", {})
        await stage.heal()
    return [task.result() for task in waiting]


async def _shown(asking: Asking, line: Line) -> dict[str, str]:
    return (await asking.ask("GET", f"/pipelines/{line.pipeline}")).body


async def _decided(asking: Asking, line: Line, killed: datetime) -> float:
    """Return how long after a moment it is seen to have decided rows that are younger."""
    while True:
        metrics = (await asking.ask("GET", f"/pipelines/{line.pipeline}/metrics")).body
        if datetime.fromisoformat(metrics["lastProcessedAt"]) > killed:
            return (datetime.now(UTC) - killed).total_seconds()
        await asyncio.sleep(LOOK_S)
