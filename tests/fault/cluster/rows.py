"""Pipelines whose every row has a number, and what can be read where they have written."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from tests.fault.cluster.asking import Asking, Document, Unanswered
from tests.fault.cluster.commands import Ledger, send

RATE = 200
"""Rows a second of one pipeline."""

COMPLETE_S = 120.0
"""For what is left when everything is whole again, on a busy machine."""

SHAPES: Sequence[tuple[str, Document]] = (
    ("one.csv", {}),
    ("parts", {"format": "csv", "rotateRows": 370}),
    ("columns", {"format": "parquet", "rotateRows": 450}),
)


@dataclass
class Line:
    """One pipeline, from made-up rows to files."""

    pipeline: str
    target: Path
    options: Document
    rows: int

    @property
    def spec(self) -> Document:
        """The pipeline as a person writes it."""
        return {
            "pipelineId": self.pipeline,
            "source": {
                "sourceType": "generator",
                "batchSize": 20,
                "options": {
                    "rows": self.rows,
                    "rowsPerSecond": RATE,
                    "columns": [{"name": "id", "kind": "sequence"}],
                },
            },
            "sink": {
                "sinkType": "file",
                "connectionString": str(self.target),
                "options": {"shared": True, **self.options},
            },
            "options": {
                "checkpointInterval": "300ms",
                "maxAttempts": 10_000,
                "backoffInitial": "50ms",
                "backoffMax": "1s",
            },
        }

    def found(self) -> list[int]:
        """Return the number of every row that a reader sees, in order."""
        if not self.target.is_dir():
            return list(_numbers(self.target)) if self.target.exists() else []
        parts = sorted(part for part in self.target.iterdir() if not part.name.startswith("."))
        return [number for part in parts for number in _numbers(part)]

    def findings(self) -> Iterator[str]:
        """Tell what is wrong with the output: each row is there once, in its order."""
        found = self.found()
        if found == list(range(self.rows)):
            return
        lost = sorted(set(range(self.rows)) - set(found))
        yield (
            f"{self.pipeline} wrote {len(found)} rows of {self.rows}: lost {len(lost)}"
            f" {lost[:5]}, twice {len(found) - len(set(found))}, in order {found == sorted(found)}"
        )


def _numbers(part: Path) -> Iterator[int]:
    if part.suffix == ".parquet":
        for row in pq.read_table(part).to_pylist():
            yield row["id"]
        return
    with part.open(newline="") as file:
        for line in csv.DictReader(file):
            yield int(line["id"])


@dataclass
class Lines:
    """The pipelines of one round."""

    asking: Asking
    ledger: Ledger
    all: list[Line] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    _commands: int = 0

    def plan(self, folder: Path, prefix: str, count: int, rows: int) -> None:
        """Think of some pipelines that write into a folder."""
        for number in range(count):
            name, options = SHAPES[number % len(SHAPES)]
            target = folder / f"{prefix}-{number}-{name}"
            self.all.append(Line(f"{prefix}-row-{number}", target, options, rows))

    async def begin(self, lines: Sequence[Line]) -> None:
        """Create and start them."""
        for line in lines:
            await self.command("POST", "/pipelines", line.spec)
            await self.command("POST", f"/pipelines/{line.pipeline}/start", {})

    async def command(self, method: str, path: str, body: Document) -> None:
        """Send a command; what becomes of it is written down."""
        self._commands += 1
        command = f"{self.all[0].pipeline}-{self._commands}"
        await send(self.asking, self.ledger, command, (method, path, body))

    async def disturb(self, over: asyncio.Event) -> None:
        """Pause them and let them go on, now and then, until it is over."""
        draw = self.asking.draw
        while not over.is_set():
            path = f"/pipelines/{draw.choice(self.all).pipeline}"
            await self.command("POST", f"{path}/{draw.choice(('pause', 'stop'))}", {})
            await asyncio.sleep(draw.uniform(0, 0.3))
            for verb in ("resume", "start"):
                await self.command("POST", f"{path}/{verb}", {})
            await asyncio.sleep(draw.uniform(0.2, 1.5))

    async def complete(self) -> None:
        """See every one of them through to its end."""
        async with asyncio.TaskGroup() as tasks:
            for line in self.all:
                tasks.create_task(self._complete(line))

    async def _complete(self, line: Line) -> None:
        shown: Document = {}
        try:
            async with asyncio.timeout(COMPLETE_S):
                while (shown := await self._shown(line)).get("reason") != "completed":
                    if shown["status"] == "failed":
                        self.findings.append(f"{line.pipeline} failed: {shown.get('error')}")
                        return
                    verb = {"paused": "resume", "stopped": "start"}.get(shown["status"])
                    if verb is not None:
                        await self.command("POST", f"/pipelines/{line.pipeline}/{verb}", {})
                    await asyncio.sleep(0.2)
        except (TimeoutError, Unanswered) as error:
            self.findings.append(f"{line.pipeline} never completed: {error!r}, {shown}")
            return
        self.findings += line.findings()

    async def _shown(self, line: Line) -> Document:
        return (await self.asking.ask("GET", f"/pipelines/{line.pipeline}")).body
