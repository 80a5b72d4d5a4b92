"""One round: load on a whole cluster, one fault, everything healed, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from tests.fault.cluster.asking import Asking
from tests.fault.cluster.commands import Client, Ledger
from tests.fault.cluster.faults import Fault
from tests.fault.cluster.rows import Lines
from tests.fault.cluster.stage import Stage
from tests.fault.cluster.verdict import Logs, check_commands

CLIENTS = 4
LINES = 6
ROWS = 1_000
"""Five seconds at the rate of a line: a fault finds most of them running."""

BEFORE_S, AFTER_S = 0.5, 0.5
"""Load without a fault."""


@dataclass
class Told:
    """What a round was like."""

    findings: list[str] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0
    attempts: int = 0
    rows: int = 0
    seconds: float = 0.0


class Rounds:
    """Rounds over one cluster, each with pipelines and clients of its own."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        self._rounds = 0
        programs = [one.program for one in stage.members.values()]
        self._logs = Logs([program.log() for program in (*programs, stage.gateway)])

    async def one(self, fault: Fault, draw: Random, folder: Path | None = None) -> Told:
        """Load the cluster, break it, heal it, and compare; pipelines write into ``folder``."""
        self._rounds += 1
        began_s = asyncio.get_running_loop().time()
        stage, told = self._stage, Told()
        async with _client() as http:
            asking = Asking(lambda: stage.addresses, draw, http)
            ledger = Ledger()
            lines = Lines(asking, ledger)
            lines.plan(folder or self._folder, f"r{self._rounds}", LINES, ROWS)
            over = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for number in range(CLIENTS):
                    client = Client(f"r{self._rounds}-client-{number}", asking, ledger)
                    tasks.create_task(client.work(over))
                await lines.begin(lines.all)
                tasks.create_task(lines.disturb(over))
                await asyncio.sleep(BEFORE_S)
                await fault(stage, draw)
                await stage.heal()
                await asyncio.sleep(AFTER_S)
                over.set()
            await lines.complete()
            told.findings += await check_commands(asking, ledger)
            told.findings += [*asking.odd, *ledger.findings, *lines.findings]
            told.attempts = asking.attempts
        told.findings += stage.findings + self._logs.findings()
        stage.findings.clear()
        told.accepted, told.rejected = len(ledger.accepted), len(ledger.rejected)
        told.rows = sum(line.rows for line in lines.all)
        told.seconds = asyncio.get_running_loop().time() - began_s
        return told


@asynccontextmanager
async def _client() -> AsyncGenerator[httpx.AsyncClient, None]:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=100)) as http:
        yield http
