"""Two owners who each believe in their right to a shard, and a third who keeps raising the fence.

One append in ten is given up after 4 ms, without anybody knowing whether it was written. Whatever
was acknowledged must be in the log, once, in an unbroken chain, and no record of a smaller fence
behind one of a larger.

    .venv/bin/python -m tests.fault.journal.race --seconds 300
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import click

from dataflow.core.errors import Code, Corrupted, Fenced, Unavailable
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.cassandra import Options
from dataflow.journal.contract import AppendId, Fence, Hash, Held, Journal, Nonce, Record
from deploy.stack import shared
from tests.contract.journal.adversary import Hasty, opened
from tests.fault.journal.writing import records

SHARD = ShardId(1)
WRITERS = 2
BUCKET_EVENTS = 500
"""So that buckets are sealed in the race, too."""

APPENDS_A_REIGN = 10
"""About so many appends does an owner make before the next one comes, however slow the store is."""

APPENDS_MIN, SECONDS_MAX = 50, 120.0
"""A race goes on until it has seen something, for so long."""


@dataclass
class Report:
    """What happened, and what should not have."""

    acknowledged: dict[Offset, tuple[Hash, Fence]] = field(default_factory=dict)
    appends: int = 0
    unknown: int = 0
    fences: dict[Nonce, Fence] = field(default_factory=dict)
    anomalies: list[str] = field(default_factory=list)

    def take(self, claim: Held, written: list[Record]) -> None:
        """Note what an owner was told is durable."""
        self.appends += 1
        for record in written:
            if record.offset in self.acknowledged:
                self.anomalies.append(f"record {record.offset} was acknowledged twice")
            self.acknowledged[record.offset] = (record.hash, claim.fence)

    def __str__(self) -> str:
        return (
            f"{self.appends} acknowledged appends of {len(self.acknowledged)} records,"
            f" {self.unknown} unknown outcomes, {len(self.fences)} fences,"
            f" {len(self.anomalies)} anomalies"
        )


async def race(options: Options, seconds: float, seed: int = 1) -> Report:
    """Let owners race for a shard that nobody has written yet, then look at what is there."""
    report = Report()
    journals = [(await opened(Hasty, options, BUCKET_EVENTS))[0] for _ in range(WRITERS + 1)]
    began = time.monotonic()

    def goes_on() -> bool:
        passed = time.monotonic() - began
        return passed < seconds or (report.appends < APPENDS_MIN and passed < SECONDS_MAX)

    chance = random.Random(seed)
    async with asyncio.TaskGroup() as group:
        for number, journal in enumerate(journals[:WRITERS]):
            group.create_task(_write(journal, f"w{number}", report, goes_on))
        group.create_task(_kick(journals[-1], report, chance, goes_on))
    await _check(journals[-1], report)
    for journal in journals:
        await journal.close()
    return report


async def _acquire(journal: Journal, name: str, report: Report) -> Held | None:
    nonce = Nonce(f"{name}-{len(report.fences)}-{time.monotonic_ns()}")
    try:
        claim = await journal.acquire(SHARD, nonce)
    except Unavailable:
        return None
    report.fences[nonce] = claim.fence
    return claim


async def _write(journal: Journal, name: str, report: Report, goes_on: Callable[[], bool]) -> None:
    """Acquire the shard and append until somebody else has it, again and again."""
    chance = random.Random(name)
    while goes_on():
        began = time.monotonic()
        claim = await _acquire(journal, name, report)
        took_s = time.monotonic() - began
        try:
            while claim is not None and goes_on():
                made = records(claim, claim.offset % 3 + 1, f"{name}-{claim.fence}")
                claim = await _append(journal, claim, made, report)
                report.take(claim, made)
        except Fenced:
            await asyncio.sleep(chance.uniform(0, took_s * APPENDS_A_REIGN))
        except Corrupted as error:
            report.anomalies.append(str(error))


async def _append(journal: Journal, claim: Held, made: list[Record], report: Report) -> Held:
    append_id = AppendId(f"{claim.fence}-{claim.head.hex()}")
    while True:
        try:
            return await journal.append(claim, made, append_id)
        except Unavailable as error:
            if error.code is not Code.OUTCOME_UNKNOWN:
                raise
            report.unknown += 1


async def _kick(
    journal: Journal, report: Report, chance: random.Random, goes_on: Callable[[], bool]
) -> None:
    """Raise the fence now and then, and write nothing."""
    took_s = 0.0
    while goes_on():
        await asyncio.sleep(chance.uniform(0, took_s * APPENDS_A_REIGN))
        began = time.monotonic()
        await _acquire(journal, "kicker", report)
        took_s = time.monotonic() - began


async def _check(journal: Journal, report: Report) -> None:
    found: dict[Offset, Record] = {}
    async for page in journal.read(SHARD, Offset(0)):  # It checks the chain, so nothing is missing.
        found |= {record.offset: record for record in page}
    for offset, (hash_, fence) in report.acknowledged.items():
        if offset not in found or found[offset].hash != hash_:
            report.anomalies.append(f"record {offset} of fence {fence} is not what was written")
    fences = [int(record.actor.rpartition("-")[2]) for record in found.values()]
    for number, (before, after) in enumerate(pairwise(fences), start=2):
        if after < before:
            report.anomalies.append(f"record {number} has fence {after}, the one before {before}")


@click.command()
@click.option("--seconds", default=300.0, show_default=True)
@click.option("--server", help="host:port; the machine's shared one if it is not given.")
def main(seconds: float, server: str | None) -> None:
    """Race on a keyspace of its own, and say what happened."""
    options = Options([server or shared("cassandra")], f"race_{time.time_ns() // 10**9}")
    report = asyncio.run(race(options, seconds))
    click.echo("\n".join([str(report), *report.anomalies[:20]]))
    raise SystemExit(bool(report.anomalies))


if __name__ == "__main__":
    main()
