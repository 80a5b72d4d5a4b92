"""What must hold after whatever was done: of commands, events, fences and logs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fault.cluster.asking import Asking, Document
from tests.fault.cluster.commands import Ledger, check_again

PAGE = 1_000

AT_ONCE = 8


async def events_of(asking: Asking, pipeline: str) -> list[Document]:
    """Return all events of a pipeline."""
    found: list[Document] = []
    while True:
        after = int(found[-1]["sequence"]) if found else 0
        path = f"/pipelines/{pipeline}/events?after={after}&pageSize={PAGE}"
        page = (await asking.ask("GET", path)).body["events"]
        found += page
        if len(page) < PAGE:
            return found


async def check_commands(asking: Asking, ledger: Ledger) -> list[str]:
    """Compare what clients were told with what was journalled."""
    findings: list[str] = []
    room = asyncio.Semaphore(AT_ONCE)
    known: set[str] = set()

    async def look(pipeline: str) -> None:
        async with room:
            events = await events_of(asking, pipeline)
        findings.extend(_gaps(pipeline, events))
        for (command, kind), times in Counter(map(_command, events)).items():
            known.add(command)
            if times > 1 and not command.startswith("engine-"):
                findings.append(f"{pipeline} holds {times} {kind} of command {command}")

    async def again(number: int) -> None:
        async with room:
            await check_again(asking, ledger, ledger.accepted[number])

    async with asyncio.TaskGroup() as tasks:
        for pipeline in ledger.pipelines:
            tasks.create_task(look(pipeline))
    findings += [f"lost: {s.command} {s.path}" for s in ledger.accepted if s.command not in known]
    findings += [f"done: {s.command}" for s in ledger.rejected if s.command in known]
    stable = [n for n, s in enumerate(ledger.accepted) if _is_stable(s.path)]
    async with asyncio.TaskGroup() as tasks:
        for number in stable[:: max(1, len(stable) // 50)]:
            tasks.create_task(again(number))
    return findings


def _command(event: Document) -> tuple[str, str]:
    return event["commandId"], event["tags"]["type"]


def _is_stable(path: str) -> bool:
    """Tell whether an answer is told as it was: stops and pauses show what came of them."""
    return not path.endswith(("/pause", "/stop"))


def _gaps(pipeline: str, events: Sequence[Document]) -> Iterator[str]:
    sequences = [int(event["sequence"]) for event in events]
    if sequences != list(range(1, len(events) + 1)):
        yield f"{pipeline} has events {sequences}"
    offsets = [int(event["offset"]) for event in events if "offset" in event]
    if offsets != sorted(set(offsets)):
        yield f"{pipeline} has events at offsets {offsets}"


@dataclass
class Logs:
    """The logs of all programs, read on from where they were last read."""

    files: Sequence[Path]

    def __post_init__(self) -> None:
        self._read = dict.fromkeys(self.files, 0)
        self._fences: dict[int, list[int]] = defaultdict(list)

    def findings(self) -> list[str]:
        """Return what no log should say, of what was written since the last time."""
        found: list[str] = []
        for file in self.files:
            with file.open("rb") as log:
                log.seek(self._read[file])
                text = log.read()
            whole = text.rpartition(b"\n")[0]
            self._read[file] += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                found += self._taken(line, file.parent.name)
        return [*found, *self._shared()]

    def _taken(self, line: str, name: str) -> Iterator[str]:
        try:
            said: Document = json.loads(line)
        except ValueError:
            if line.strip():
                yield f"{name} says {line[:1000]}"
            return
        if said.get("event") == "shard acquired":
            self._fences[said["shard"]].append(said["fence"])
        if said.get("logger", "").startswith(DRIVER):
            return
        if "exception" in said or (said["level"] == "error" and said["event"] not in ERRORS):
            yield f"{name} says {line[-2500:]}"

    def _shared(self) -> Iterator[str]:
        """Tell of a fence that two owners were given: both may write."""
        for shard, fences in self._fences.items():
            if len(set(fences)) < len(fences):
                yield f"shard {shard} was acquired with fences {fences}"


DRIVER = "cassandra"
"""Whose words about servers that cannot be reached are its own."""

ERRORS = frozenset(
    {
        "giving the shards up",
        "the node did not stop serving after its lease was lost: ending it",
    }
)
"""What has to be told to somebody, and here is what was to happen."""
