"""What is done to a cluster: each fault by its name, from its first blow to its last.

A fault may leave anything broken: afterwards everything is healed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from tests.disks import enlarge
from tests.fault.cluster.stage import TTL_S, Link, Stage
from tests.network.proxy import Proxy

Fault = Callable[[Stage, Random], Awaitable[None]]

PAST_LEASE_S = TTL_S + 2.0
WITHIN_LEASE_S = TTL_S / 3

FULL_S = 60.0
"""For pipelines to fill a disk that is too small for them."""

ETCD_TOO_FEW_S = 10.0
CASSANDRA_SHORT_S, CASSANDRA_LONG_S = 5.0, 20.0

LINKS: Sequence[Link] = ("etcd", "cassandra", "peers")
HOW: Sequence[Callable[[Proxy], None]] = (Proxy.hold, Proxy.refuse, Proxy.hold_answers)


async def kill(stage: Stage, draw: Random) -> None:
    """End an owner as a power cut does; others take its shards up."""
    victim = draw.choice(stage.running)
    await stage.kill(victim)
    await stage.without(victim)


async def kill_and_restart(stage: Stage, draw: Random) -> None:
    """End an owner, and start it again under the same name at once."""
    victim = draw.choice(stage.running)
    await stage.kill(victim)
    await stage.start(victim)


async def kill_two(stage: Stage, draw: Random) -> None:
    """End two of three; the last one takes everything up."""
    victims = draw.sample(stage.running, 2)
    for victim in victims:
        await stage.kill(victim)
    await stage.without(*victims)


async def freeze_past_lease(stage: Stage, draw: Random) -> None:
    """Freeze an owner until others have its shards, then let it go on: it must write nothing."""
    victim = draw.choice(stage.running)
    boot = stage.boot(victim)
    await stage.pause(victim)
    await stage.without(victim)
    stage.resume(victim)
    await stage.settled()
    if stage.boot(victim) == boot:
        stage.findings.append(f"{victim} has come back as if it had never been away")


async def freeze_within_lease(stage: Stage, draw: Random) -> None:
    """Freeze an owner for less than its lease: nobody is to notice."""
    victim = draw.choice(stage.running)
    await stage.pause(victim)
    await asyncio.sleep(WITHIN_LEASE_S)
    stage.resume(victim)


async def cut_from_etcd(stage: Stage, draw: Random) -> None:
    """Keep an owner from etcd alone: it stops before its lease ends, and comes back."""
    victim = draw.choice(stage.running)
    async with cut(stage, victim, "etcd"):
        await stage.without(victim)
        await stage.check_stopped(victim)


async def cut_from_cassandra(stage: Stage, draw: Random) -> None:
    """Keep an owner from Cassandra alone: it gives its shards to those who can reach it."""
    victim = draw.choice(stage.running)
    async with cut(stage, victim, "cassandra"):
        await stage.without(victim)


async def cut_from_peers(stage: Stage, draw: Random) -> None:
    """Keep the others and the gateway from a node: it stays the owner, and they wait."""
    async with cut(stage, draw.choice(stage.running), "peers"):
        await asyncio.sleep(PAST_LEASE_S)


async def cut_all_peers(stage: Stage, _: Random) -> None:
    """Keep all nodes from each other: each is reached by its own clients alone."""
    for name in stage.running:
        stage.cut(name, "peers")
    await asyncio.sleep(PAST_LEASE_S)


async def freeze_etcd_leader(stage: Stage, _: Random) -> None:
    """Freeze etcd's leader: the others elect one, and no node is to lose its lease."""
    stage.done["etcd leader frozen"] += 1
    leader = await stage.leader()
    await asyncio.to_thread(stage.etcd.pause, leader)
    await asyncio.sleep(PAST_LEASE_S)
    stage.etcd.resume(leader)


async def kill_etcd_leader(stage: Stage, _: Random) -> None:
    """End etcd's leader, and start it again."""
    stage.done["etcd leader killed"] += 1
    leader = await stage.leader()
    await asyncio.to_thread(stage.etcd.kill, leader)
    await asyncio.sleep(TTL_S)
    await asyncio.to_thread(stage.etcd.start, leader)


async def freeze_etcd_majority(stage: Stage, draw: Random) -> None:
    """Leave etcd without a majority: every node stops by its deadline, and resumes after."""
    stage.done["etcd majority frozen"] += 1
    members = draw.sample(range(len(stage.etcd)), 2)
    for member in members:
        await asyncio.to_thread(stage.etcd.pause, member)
    await asyncio.sleep(ETCD_TOO_FEW_S)
    await stage.check_stopped(*stage.running)
    for member in members:
        stage.etcd.resume(member)


async def freeze_cassandra(stage: Stage, _: Random) -> None:
    """Freeze Cassandra for longer than a request waits: outcomes are unknown, not failed."""
    await _freeze_cassandra(stage, CASSANDRA_SHORT_S)


async def freeze_cassandra_long(stage: Stage, _: Random) -> None:
    """Freeze Cassandra for longer than anybody waits for it."""
    await _freeze_cassandra(stage, CASSANDRA_LONG_S)


async def _freeze_cassandra(stage: Stage, seconds: float) -> None:
    stage.done["Cassandra frozen"] += 1
    await asyncio.to_thread(stage.cassandra.pause)
    await asyncio.sleep(seconds)
    stage.cassandra.resume()


async def kill_cassandra(stage: Stage, _: Random) -> None:
    """End Cassandra, and start it again over what it has written."""
    stage.done["Cassandra killed"] += 1
    await asyncio.to_thread(stage.cassandra.kill)
    await asyncio.to_thread(stage.cassandra.start)


async def leave(stage: Stage, draw: Random) -> None:
    """Stop a node under load: it hands its shards over."""
    await stage.stop(draw.choice(stage.running))


async def drain(stage: Stage, draw: Random) -> None:
    """Have a node give its shards away while it stays, and take some again."""
    stage.done["drain"] += 1
    name = draw.choice(stage.running)
    await stage.steer(f"nodes/{name}/drain")
    await stage.without(name)
    await stage.steer(f"nodes/{name}/undrain")


async def rolling_restart(stage: Stage, _: Random) -> None:
    """Stop and start each node in turn, as an upgrade does."""
    for name in tuple(stage.members):
        await stage.stop(name)
        await stage.start(name)


async def scale(stage: Stage, draw: Random) -> None:
    """Go from three nodes to one, to three, and to two."""
    leaving = draw.sample(stage.running, 2)
    for name in leaving:
        await stage.stop(name)
    await stage.start(*leaving)
    await stage.settled()
    await stage.stop(draw.choice(stage.running))


async def swizzle(stage: Stage, draw: Random, seconds: float = 12.0) -> None:
    """Cut and freeze at random, one after another, and undo it in another order."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        undo: list[Callable[[], None]] = []
        for _ in range(draw.randint(1, 4)):
            undo.append(await _one(stage, draw))
            await asyncio.sleep(draw.uniform(0, 2))
        draw.shuffle(undo)
        for one in undo:
            one()
            await asyncio.sleep(draw.uniform(0, 1))
        await stage.revive()
        await stage.start(*(n for n in stage.running if not stage.members[n].program.running()))


async def _one(stage: Stage, draw: Random) -> Callable[[], None]:
    name, link, how = draw.choice(stage.running), draw.choice(LINKS), draw.choice(HOW)
    member = stage.members[name]
    if draw.random() < 0.3 and not member.frozen:
        await stage.pause(name)
        return lambda: stage.resume(name)
    stage.cut(name, link, how)
    return lambda: stage.join(name, link)


async def swizzle_long(stage: Stage, draw: Random) -> None:
    """Do the same for a minute."""
    await swizzle(stage, draw, 60.0)


def full_disk(folder: Path) -> Fault:
    """Return a fault that waits until a disk is full, ends an owner, and makes room."""

    async def fill(stage: Stage, draw: Random) -> None:
        async with asyncio.timeout(FULL_S):
            while shutil.disk_usage(folder).free:  # noqa: ASYNC110 - others fill it
                await asyncio.sleep(0.05)
        stage.done["disk full"] += 1
        await kill(stage, draw)
        enlarge(folder)

    return fill


@asynccontextmanager
async def cut(stage: Stage, name: str, link: Link) -> AsyncGenerator[None, None]:
    """Keep a node from something while the block lasts; what it sends meanwhile arrives late."""
    stage.cut(name, link)
    try:
        yield
    finally:
        stage.join(name, link)


FAULTS: Mapping[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill,
        kill_and_restart,
        kill_two,
        freeze_past_lease,
        freeze_within_lease,
        cut_from_etcd,
        cut_from_cassandra,
        cut_from_peers,
        cut_all_peers,
        freeze_etcd_leader,
        kill_etcd_leader,
        freeze_etcd_majority,
        freeze_cassandra,
        freeze_cassandra_long,
        kill_cassandra,
        leave,
        drain,
        rolling_restart,
        scale,
        swizzle,
        swizzle_long,
    )
}
