"""The client of etcd when members of three are killed and frozen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from dataflow.cluster.coordination.contract import (
    Absent,
    Change,
    Coordination,
    LeaseId,
    Put,
    Revision,
)
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.keeper import EtcdKeeper
from dataflow.cluster.coordination.etcd.place import Place
from dataflow.core.errors import Code, Unavailable
from deploy.stack import Etcd as Servers
from tests.contract.coordination.watching import first_of
from tests.fault.coordination.conftest import BOUND_S, QUICK
from tests.fault.coordination.gateway import leader_of
from tests.fault.coordination.observing import outcome

TTL = timedelta(seconds=10)
BEFORE, AFTER = 20, 60
"""How many transactions are acknowledged before a fault, and after it."""


def first(servers: Servers, member: int) -> Place:
    """Return all members, one of them first."""
    return Place(servers.addresses[member:] + servers.addresses[:member])


@asynccontextmanager
async def connected(*places: Place) -> AsyncIterator[list[Etcd]]:
    """Connect to each place."""
    async with AsyncExitStack() as stack:
        clients = [Etcd(place, QUICK) for place in places]
        for client in clients:
            stack.push_async_callback(client.close)
        yield clients


class Writer:
    """Puts keys one after another, each once, and remembers what it was told."""

    def __init__(self, client: Coordination, prefix: str, lease: LeaseId) -> None:
        self._client = client
        self._prefix = prefix
        self._lease = lease
        self._attempts = 0
        self.acknowledged: dict[str, Revision] = {}
        self.unknown: set[str] = set()

    async def write(self, count: int) -> None:
        """Go on until so many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted:
            key = f"{self._prefix}{self._attempts:05}"
            self._attempts += 1
            try:
                done = await self._client.transact([], [Put(key, b"", self._lease)])
                self.acknowledged[key] = done.revision
            except Unavailable as failure:
                if failure.code == Code.OUTCOME_UNKNOWN:
                    self.unknown.add(key)


async def keep(keeper: EtcdKeeper, lease: LeaseId) -> None:
    """Keep a lease for ever, as a node's thread does."""
    while True:
        try:
            await asyncio.to_thread(keeper.keep_alive, lease)
        except Unavailable as failure:
            assert failure.code == Code.BUSY  # noqa: PT017 - LeaseLost is unavailable too
        await asyncio.sleep(TTL.total_seconds() / 10)


class Told:
    """What a watch has told so far."""

    def __init__(self, watch: AsyncIterator[Sequence[Change]]) -> None:
        self._watch = watch
        self._grown = asyncio.Condition()
        self.changes: list[Change] = []

    async def follow(self) -> None:
        """Remember everything."""
        async for changes in self._watch:
            async with self._grown:
                self.changes += changes
                self._grown.notify_all()

    async def reach(self, count: int) -> None:
        """Wait until there are so many."""
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.changes) >= count)


def killed(servers: Servers, member: int) -> None:
    """End the process."""
    servers.kill(member)


def frozen(servers: Servers, member: int) -> None:
    """Stop the process; its connections stay."""
    servers.pause(member)


@pytest.mark.parametrize("fault", [killed, frozen])
@pytest.mark.parametrize("who", ["the leader", "a follower"])
async def test_writes_watches_and_leases_outlive_a_member(
    fault: Callable[[Servers, int], None], who: str, members: Servers, prefix: str
) -> None:
    """Nothing acknowledged is lost, nothing is told twice, the lease is there while it is kept.

    Client, watcher and keeper are all connected to the member that goes.
    """
    leader = await leader_of(members.addresses)
    member = leader if who == "the leader" else (leader + 1) % 3
    place = first(members, member)
    keeper = EtcdKeeper(place, TTL)
    async with connected(place, place) as (client, watcher), asyncio.timeout(BOUND_S):
        lease = await client.grant(TTL)
        writer = Writer(client, prefix, lease)
        told = Told(watcher.watch(prefix, (await client.list(prefix)).revision))
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(keep(keeper, lease)),
                group.create_task(told.follow()),
            ]
            await writer.write(BEFORE)
            fault(members, member)
            await writer.write(AFTER)
            entries = (await client.list(prefix)).entries
            await told.reach(len(entries))
            for task in background:
                task.cancel()
        keeper.close()
        there = {entry.key: entry.revision for entry in entries}
        assert writer.acknowledged.items() <= there.items()
        assert there.keys() <= writer.acknowledged.keys() | writer.unknown
        assert [(change.key, change.revision) for change in told.changes] == list(there.items())
        await client.revoke(lease)


async def test_a_leader_that_wakes_up_changes_nothing(members: Servers, prefix: str) -> None:
    """What it was asked before it froze it may still do, once; it answers nothing old."""
    leader = await leader_of(members.addresses)
    async with connected(first(members, leader), first(members, (leader + 1) % 3)) as (old, other):
        start = (await old.list(prefix)).revision
        members.pause(leader)
        async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
            asked = group.create_task(code_of(old.transact([], [Put(prefix + "a", b"old")])))
            key = prefix + "b"
            await keep_trying(lambda: other.transact([Absent(key)], [Put(key, b"new")]))
            await asked
            members.resume(leader)
        async with connected(Place([members.addresses[leader]])) as (woken,):
            entries = {entry.key: entry.value for entry in (await woken.list(prefix)).entries}
            assert entries.get(prefix + "b") == b"new"
            told = await first_of(woken.watch(prefix, start), len(entries))
    assert len({change.key for change in told}) == len(told)
    assert asked.result() == Code.OUTCOME_UNKNOWN


async def code_of(call: Awaitable[object]) -> str:
    """Return the code of a failure, or nothing."""
    try:
        await call
    except Unavailable as failure:
        return failure.code
    return ""


async def keep_trying(call: Callable[[], Awaitable[object]]) -> None:
    """Ask again while there is no leader; what is unknown may come twice."""
    failed = await code_of(call())
    while failed:
        await asyncio.sleep(0.05)
        failed = await code_of(call())


async def test_without_a_majority_every_call_ends_and_afterwards_all_goes_on(
    members: Servers, prefix: str
) -> None:
    """Old keys must not be served from a member that cannot know whether they are old."""
    leader = await leader_of(members.addresses)
    alive = (leader + 1) % 3
    place = first(members, alive)
    keeper = EtcdKeeper(place, TTL)
    async with connected(place, place) as (client, watcher), asyncio.timeout(3 * BOUND_S):
        lease = await client.grant(timedelta(minutes=10))
        done = await client.transact([], [Put(prefix + "a", b"", lease)])
        watch = watcher.watch(prefix, done.revision)
        for member in range(3):
            if member != alive:
                members.pause(member)
        async with asyncio.TaskGroup() as group:
            for call in (
                client.list(prefix),
                client.transact([], [Put(prefix + "b", b"")]),
                client.keep_alive(lease),
                asyncio.to_thread(keeper.keep_alive, lease),
            ):
                group.create_task(outcome(call))
        for member in range(3):
            members.resume(member)
        await keep_trying(lambda: client.transact([], [Put(prefix + "c", b"")]))
        await keep_trying(lambda: asyncio.to_thread(keeper.keep_alive, lease))
        told = await first_of(watch, 1)
        while told[-1].key != prefix + "c":
            told += await first_of(watch, 1)
        keys = {entry.key for entry in (await client.list(prefix)).entries}
        assert keys >= {prefix + "a", prefix + "c"}
    keeper.close()
