"""What befalls a cluster: each seed draws some of these, and when, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.simulation.network import Weather
from tests.simulation.nodes import TTL

if TYPE_CHECKING:
    from tests.simulation.world import World

Fault: TypeAlias = Callable[["World", Random], Coroutine[Any, Any, None]]

FAULTS_MAX = 6
"""A run of twenty seconds has room for so many that still meet each other."""

FORGETS = 30
"""Compactions in a row, six seconds long."""

LASTS_S_MAX = 8.0
"""Some end within a lease, some outlast two."""


async def _for_a_while(random: Random) -> None:
    """Wait: anything, or until a lease is doubted and not yet over, where much goes wrong."""
    if random.random() < 0.2:
        await asyncio.sleep(TTL.total_seconds() * (0.7 + 0.35 * random.random()))
    else:
        await asyncio.sleep(0.3 + random.random() * LASTS_S_MAX)


async def crash(world: World, random: Random) -> None:
    """Kill a node, and start it again later."""
    node = random.choice(world.nodes)
    node.crash()
    await _for_a_while(random)
    node.boot_if_down()


async def pause(world: World, random: Random) -> None:
    """Stop a node's process, or all of its machine's, and let it go on."""
    node, with_worker = random.choice(world.nodes), random.random() < 0.5
    await _hold(world, random, node.name, with_worker=with_worker, stops_clock=False)


async def suspend(world: World, random: Random) -> None:
    """Stop a node's machine with its clocks, as when it is moved to another host."""
    node = random.choice(world.nodes)
    world.reads_are_promised = False
    await _hold(world, random, node.name, with_worker=True, stops_clock=True)


async def _hold(
    world: World, random: Random, name: str, *, with_worker: bool, stops_clock: bool
) -> None:
    life = next(node.life for node in world.nodes if node.name == name)
    if life is None or life.process.held:
        return
    world.note(name, "is held", "with its clocks" if stops_clock else "")
    held = life.processes if with_worker else life.processes[:2]
    for process in held:
        process.hold(stops_clock=stops_clock)
    await _for_a_while(random)
    world.note(name, "goes on")
    for process in held:
        process.go_on()


async def cut(world: World, random: Random) -> None:
    """Cut two parties apart, in one direction or both."""
    names = [node.name for node in world.nodes]
    source = random.choice(names)
    others = [*names, "journal", "coordination", "views", "sinks"]
    others += [gateway.process.name for gateway in world.gateways]
    target = random.choice([other for other in others if other != source])
    both = [(source, target), (target, source)]
    cuts = both if random.random() < 0.6 else [random.choice(both)]
    await _cut(world, random, cuts)


async def isolate(world: World, random: Random) -> None:
    """Cut a node from everybody."""
    node = random.choice(world.nodes).name
    others = [p.name for p in world.loop.processes if p.name != node]
    names = sorted(set(others))
    await _cut(world, random, [c for o in names for c in ((node, o), (o, node))])


async def split(world: World, random: Random) -> None:
    """Cut a node and a gateway from the rest: who asks there must not be shown the past."""
    here = [random.choice(world.nodes).name, random.choice(world.gateways).process.name]
    names = [node.name for node in world.nodes]
    names += [gateway.process.name for gateway in world.gateways]
    there = [name for name in names if name not in here]
    there += ["coordination"] if random.random() < 0.5 else ["coordination", "journal"]
    cuts = [cut for one in here for other in there for cut in ((one, other), (other, one))]
    await _cut(world, random, cuts, at_least_s=3.0)


async def _cut(
    world: World, random: Random, cuts: list[tuple[str, str]], at_least_s: float = 0.0
) -> None:
    world.note("network", "cuts", cuts)
    for source, target in cuts:
        world.network.cut(source, target)
    await asyncio.sleep(at_least_s)
    await _for_a_while(random)
    world.note("network", "mends", cuts)
    for source, target in cuts:
        world.network.mend(source, target)


async def storm(world: World, random: Random) -> None:
    """Let the network lose, repeat and delay much."""
    calm = world.network.weather
    world.network.weather = Weather(
        delay_s=0.004 + 0.1 * random.random(),
        lost=0.3 * random.random(),
        repeated=0.2 * random.random(),
        late=0.2 * random.random(),
    )
    world.note("network", "storms", world.network.weather)
    await _for_a_while(random)
    world.network.weather = calm


async def freeze_journal(world: World, random: Random) -> None:
    """Stop the journal's servers; what they were sent they do later."""
    await _freeze(world, random, world.journal_process)


async def _freeze(world: World, random: Random, process: Any) -> None:
    if process.held:
        return
    world.note(process.name, "is held")
    process.hold()
    await _for_a_while(random)
    world.note(process.name, "goes on")
    process.go_on()


async def freeze_coordination(world: World, random: Random) -> None:
    """Stop the coordination service: nobody can keep a lease, nor take anything over."""
    await _freeze(world, random, world.coordination.process)


async def stick(world: World, random: Random) -> None:
    """Let a node's loop stand, but not its lease thread: its watchdog shall notice."""
    node = random.choice(world.nodes)
    if (life := node.life) is not None and not life.process.held:
        world.note(life.boot, "is stuck")
        life.process.hold()
        await _for_a_while(random)
        life.process.go_on()


async def lie(world: World, random: Random) -> None:
    """Let the service lose a lease, and say that it was kept."""
    node = random.choice(world.nodes)
    if (life := node.life) is not None and life.member and life.member._lease:
        world.reads_are_promised = False
        world.note("coordination", "loses the lease of", life.boot, "and says nothing")
        world.coordination.lies = True
        world.coordination.revoke(life.member._lease.number)
        await _for_a_while(random)
        world.coordination.lies = False


async def forget(world: World, _: Random) -> None:
    """Let the service forget its past again and again, so that late watches must begin anew."""
    world.note("coordination", "forgets the past")
    for _turn in range(FORGETS):
        world.coordination.compact(world.coordination.list("").revision)
        await asyncio.sleep(0.2)


async def leave(world: World, random: Random) -> None:
    """Stop a node in good order; its supervisor starts it again."""
    node = random.choice(world.nodes)
    if node.life is not None and node.is_up:
        world.note(node.name, "is told to stop")
        node.life.process.call(node.life.stop)


async def pause_worker(world: World, random: Random) -> None:
    """Stop a worker alone: what it says then, it says to a later run."""
    if (life := random.choice(world.nodes).life) is not None:
        await _freeze(world, random, life.worker_process)


FAULTS: Mapping[str, tuple[Fault, int]] = {
    "crash": (crash, 5),
    "pause": (pause, 4),
    "suspend": (suspend, 1),
    "cut": (cut, 4),
    "isolate": (isolate, 2),
    "storm": (storm, 3),
    "freeze journal": (freeze_journal, 2),
    "freeze coordination": (freeze_coordination, 2),
    "stick": (stick, 1),
    "lie": (lie, 1),
    "forget": (forget, 2),
    "leave": (leave, 2),
    "split": (split, 5),
    "pause worker": (pause_worker, 4),
}
"""Each kind, and how often it is drawn."""


async def befall(world: World, random: Random, until_s: float) -> None:
    """Let faults happen until a time, and wait until all of them are over."""
    names = list(FAULTS)
    weights = [FAULTS[name][1] for name in names]
    async with asyncio.TaskGroup() as tasks:
        for _ in range(1 + random.randrange(FAULTS_MAX)):
            name = random.choices(names, weights)[0]
            at_s = 1 + random.random() * (until_s - 1)
            tasks.create_task(_at(world, random, at_s, FAULTS[name][0]))


async def _at(world: World, random: Random, at_s: float, fault: Fault) -> None:
    await asyncio.sleep(at_s - world.loop.time())
    await fault(world, random)
