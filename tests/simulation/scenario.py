"""One run: a cluster, people who use it, faults, then peace; and whether all came out right."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import structlog

from dataflow.cluster import joining, shard
from tests.simulation.ending import check_ending
from tests.simulation.faults import befall
from tests.simulation.leases import Keeping
from tests.simulation.network import Weather
from tests.simulation.trace import Trace
from tests.simulation.world import World

FAULTS_UNTIL_S = 14.0
"""When the last fault begins; each ends by itself."""

OPERATIONS = 12
"""Of each client, while faults happen."""

SNAPSHOT_EVENTS = 8
"""So few that a shard of a simulation saves some."""

CALM_BY_S = 45.0
"""So long after the last fault everything must be in order again, in virtual time."""


@dataclass
class Result:
    """What became of a seed."""

    seed: int
    violations: list[str]
    trace: Trace
    ended_s: float
    steps: int

    def report(self) -> str:
        """Return what went wrong, the end of its trace, and how to see it again."""
        return "\n".join(
            [
                *self.trace.tail(),
                "",
                *self.violations,
                f"again: python -m tests.simulation --seed {self.seed} --trace",
            ]
        )


def run(seed: int) -> Result:
    """Simulate one seed; deterministic."""
    gc.freeze()  # what is there already is looked through once more by no collection of this run
    gc.disable()
    world = World(seed)
    with (
        _logging_to(world),
        _patched(joining, LeaseThread=Keeping),
        _patched(shard, SNAPSHOT_EVENTS=SNAPSHOT_EVENTS),
    ):
        main = world.loop.outside.start(_main(world, Random(f"{seed}-faults")))
        world.loop.run(FAULTS_UNTIL_S + 60 + CALM_BY_S)
        if not world.violations:
            _conclude(world, main)
    world.over = True
    world.loop.dispose()
    gc.enable()
    gc.unfreeze()
    return Result(seed, world.violations, world.trace, world.loop.time(), world.loop.steps)


def _conclude(world: World, main: asyncio.Task[None]) -> None:
    world.violations += world.loop.failed
    if not main.done():
        world.violations.append(f"not in order in time: {world.unsettled()}")
    elif (error := main.exception()) is not None:
        world.violations.append(f"the simulation itself failed: {error!r}")
    check_ending(world)


async def _main(world: World, random: Random) -> None:
    world.network.weather = _weather(random)
    for node in world.nodes:
        node.boot()
    creating = [
        world.clients[n % len(world.clients)].create(p) for n, p in enumerate(world.pipelines)
    ]
    creators = [
        world.clients[n % len(world.clients)].process.start(work) for n, work in enumerate(creating)
    ]
    wandering = [c.process.start(c.wander(OPERATIONS, FAULTS_UNTIL_S)) for c in world.clients]
    await befall(world, random, FAULTS_UNTIL_S)
    world.network.weather = Weather()
    world.note("world", "is calm")
    for node in world.nodes:
        node.boot_if_down()
    await asyncio.wait([*creators, *wandering])
    operator = world.clients[0]
    while world.unsettled():
        finishing = [operator.process.start(operator.finish(p)) for p in world.pipelines]
        await asyncio.wait(finishing)
        await asyncio.sleep(0.1)
    world.loop.halt()


def _weather(random: Random) -> Weather:
    if random.random() < 0.3:
        return Weather()
    bad = random.random() ** 2
    return Weather(
        delay_s=0.002 + 0.03 * bad, lost=0.05 * bad, repeated=0.05 * bad, late=0.03 * bad
    )


@contextmanager
def _patched(module: Any, **given: Any) -> Iterator[None]:
    """Let a module use other parts for a while."""
    before = {name: getattr(module, name) for name in given}
    for name, part in given.items():
        setattr(module, name, part)
    try:
        yield
    finally:
        for name, part in before.items():
            setattr(module, name, part)


@contextmanager
def _logging_to(world: World) -> Iterator[None]:
    """Put what the shipped code logs into the trace."""

    def note(_: object, level: str, entry: MutableMapping[str, Any]) -> Mapping[str, Any]:
        about = {k: v for k, v in entry.items() if k not in {"event", "exc_info"}}
        world.note("log", level, entry["event"], about)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[note])
    try:
        yield
    finally:
        structlog.configure(**before)
