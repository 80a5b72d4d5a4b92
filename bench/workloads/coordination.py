"""What coordination costs on three members of etcd, and how long a lost leader is felt."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import pairwise

from bench.report import Row
from bench.server import place
from bench.workloads.commands import P50, P99
from bench.workloads.workload import Ask, Workload
from dataflow.cluster.coordination.contract import Absent, Put, Revision
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.keeper import EtcdKeeper
from dataflow.cluster.coordination.etcd.place import Place
from dataflow.core.errors import Unavailable
from deploy.stack import Etcd as Servers

TRANSACTIONS = 2_000
OWNERS = 1_024
"""Shards of a large cluster."""

IN_FLIGHT = 64
TTL = timedelta(seconds=3)
WATCHING_S = 0.3
"""After so long a watch is open."""
AFTER_S = 8.0
"""How long is written after a fault: longer than any that was seen was felt."""


def run(ask: Ask) -> list[Row]:
    """Measure on idle members first, and then take the leader away."""
    with place() as here, Servers(here.folder, members=3) as servers:
        return asyncio.run(_measured(ask, servers))


async def _measured(ask: Ask, servers: Servers) -> list[Row]:
    rows = []
    async with AsyncExitStack() as stack:
        clients = [await _client(stack, servers, member) for member in (0, 1)]
        for measure in (_one_by_one, _at_once, _watched, _listed):
            rows.append(await measure(clients, ask.rows))
            ask.tell(f"{rows[-1].system}: {rows[-1].detail}")
        rows.append(await _kept(clients[0], _place(servers, 0), ask.rows))
    for fault, how in ((servers.kill, "killed"), (servers.pause, "frozen")):
        for first, who in ((0, "it"), (1, "a follower")):
            gaps = [await _gap(servers, fault, first) for _ in range(ask.runs)]
            rows.append(_felt(f"leader {how}, {who} was asked", gaps))
            ask.tell(f"{rows[-1].system}: {rows[-1].detail}")
    expired = f"lease of {TTL.total_seconds():.0f} s expired"
    for frozen, first, how in (
        (False, 1, ""),
        (True, 1, ", leader frozen"),
        (True, 0, ", leader frozen and watched"),
    ):
        took_s = [await _expired(servers, first, frozen=frozen) for _ in range(ask.runs)]
        rows.append(_felt(expired + how, took_s))
        ask.tell(f"{rows[-1].system}: {rows[-1].detail}")
    return rows


async def _client(stack: AsyncExitStack, servers: Servers, first: int) -> Etcd:
    made = Etcd(_place(servers, first))
    stack.push_async_callback(made.close)
    await made.list("warm")
    return made


def _place(servers: Servers, first: int) -> Place:
    return Place(servers.addresses[first:] + servers.addresses[:first])


async def _one_by_one(clients: Sequence[Etcd], count: int) -> Row:
    """Take keys that are absent, as an owner takes shards."""
    return await _timed("transaction, 1 in flight", range(count), lambda n: _take(clients[0], n))


async def _at_once(clients: Sequence[Etcd], count: int) -> Row:
    numbers, system = range(count, 3 * count), f"transaction, {IN_FLIGHT} in flight"
    return await _timed(system, numbers, lambda n: _take(clients[0], n), IN_FLIGHT)


async def _watched(clients: Sequence[Etcd], count: int) -> Row:
    """Until a watcher at another member is told what a transaction has done."""
    writer, watcher = clients
    watch = watcher.watch("watched/", (await watcher.list("watched/")).revision)

    async def until_told(number: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_put(writer, f"watched/{number}"))
            await anext(watch)

    return await _timed("told at another member", range(count), until_told)


async def _listed(clients: Sequence[Etcd], count: int) -> Row:
    for number in range(OWNERS):
        await _put(clients[0], f"owners/{number:04}")
    numbers = range(max(10, count // 20))
    return await _timed(f"list of {OWNERS:,} keys", numbers, lambda _: clients[0].list("owners/"))


async def _kept(client: Etcd, where: Place, count: int) -> Row:
    """By a keeper, in a thread."""
    lease = await client.grant(timedelta(minutes=10))
    keeper = EtcdKeeper(where, timedelta(minutes=10))
    try:
        return await _timed(
            "keepalive", range(count), lambda _: asyncio.to_thread(keeper.keep_alive, lease)
        )
    finally:
        keeper.close()


async def _take(client: Etcd, number: int) -> None:
    key = f"taken/{number}"
    await client.transact([Absent(key)], [Put(key, bytes(100))])


async def _put(client: Etcd, key: str) -> Revision:
    return (await client.transact([], [Put(key, bytes(100))])).revision


async def _timed(
    system: str, numbers: range, act: Callable[[int], Awaitable[object]], in_flight: int = 1
) -> Row:
    left, took_ms = iter(numbers), list[float]()

    async def caller() -> None:
        for number in left:
            begun = time.perf_counter()
            await act(number)
            took_ms.append((time.perf_counter() - begun) * 1e3)

    cpu_s, begun = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(caller())
    seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_s
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    return Row(
        workload="coordination",
        system=system,
        rows=len(numbers),
        seconds=seconds,
        rows_per_s=len(numbers) / seconds,
        cpu_s=cpu_s,
        detail=f"p50 {cuts[P50]:.1f} ms, p99 {cuts[P99]:.1f} ms",
    )


async def _gap(servers: Servers, fault: Callable[[int], None], first: int) -> float:
    """Return the longest time without an acknowledgement around the loss of the leader.

    The client begins with the member that is ``first`` places behind the leader.
    """
    leader = _leader(servers)
    async with AsyncExitStack() as stack:
        client = await _client(stack, servers, (leader + first) % 3)
        acknowledged = [time.perf_counter()]
        await _put(client, "gap")
        fault(leader)
        until = time.perf_counter() + AFTER_S
        while time.perf_counter() < until:
            try:
                await _put(client, "gap")
                acknowledged.append(time.perf_counter())
            except Unavailable:
                continue
    _heal(servers, leader)
    return max(later - earlier for earlier, later in pairwise(acknowledged))


async def _expired(servers: Servers, first: int, *, frozen: bool) -> float:
    """Return how long after its grant a watcher is told that a lease's key is gone.

    The watcher begins with the member that is ``first`` places behind the leader, which may be
    frozen as soon as it watches.
    """
    leader = _leader(servers)
    async with AsyncExitStack() as stack:
        client = await _client(stack, servers, (leader + 1) % 3)
        watcher = await _client(stack, servers, (leader + first) % 3)
        begun = time.perf_counter()
        lease = await client.grant(TTL)
        put = await client.transact([], [Put("mine", b"", lease)])
        async with asyncio.TaskGroup() as group:
            group.create_task(_until_gone(watcher, put.revision))
            await asyncio.sleep(WATCHING_S)
            if frozen:
                servers.pause(leader)
        took_s = time.perf_counter() - begun
    _heal(servers, leader)
    return took_s


async def _until_gone(watcher: Etcd, after: Revision) -> None:
    await anext(watcher.watch("mine", after))


def _heal(servers: Servers, leader: int) -> None:
    if servers.running(leader):
        servers.resume(leader)
    servers.start()


def _felt(system: str, took_s: Sequence[float]) -> Row:
    return Row(
        workload="coordination",
        system=system,
        rows=len(took_s),
        seconds=statistics.median(took_s),
        detail=f"{min(took_s):.2f} to {max(took_s):.2f} s",
    )


def _leader(servers: Servers) -> int:
    while True:
        for number, endpoint in enumerate(servers.addresses):
            url = f"http://{endpoint}/v3/maintenance/status"
            with urllib.request.urlopen(url, b"{}", timeout=10) as answer:
                status = json.load(answer)
            if status["leader"] == status["header"]["member_id"]:
                return number
        time.sleep(0.05)


WORKLOAD = Workload(
    "coordination",
    "etcd on three members: transactions, watches, keepalives, a lost leader",
    TRANSACTIONS,
    run,
    runs=5,
)
