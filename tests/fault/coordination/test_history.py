"""The client of etcd when history is long, large, or forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dataflow.cluster.coordination.contract import Compacted, Listing, Put
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.place import PAGE_KEYS
from dataflow.cluster.coordination.etcd.rpcs import RANGE
from dataflow.cluster.coordination.etcd.watch import Watch
from dataflow.cluster.coordination.rules import OPERATIONS_MAX
from dataflow.core.errors import Unavailable
from tests.contract.coordination.watching import first_of
from tests.fault.coordination.conftest import BOUND_S, QUICK, Member
from tests.fault.coordination.gateway import compact
from tests.fault.coordination.observing import Spy

KEYS = 2 * PAGE_KEYS + 1


async def fill(client: Etcd, prefix: str) -> None:
    """Write more keys than a page holds."""
    keys = [f"{prefix}{number:05}" for number in range(KEYS)]
    for first in range(0, KEYS, OPERATIONS_MAX):
        await client.transact([], [Put(key, b"old") for key in keys[first:][:OPERATIONS_MAX]])


class Interrupted:
    """Does something after the first page of every list."""

    def __init__(self, client: Etcd, times: int) -> None:
        self._ask = client._calls.ask
        self._times = times

    async def __call__(self, rpc: Any, request: Any, **how: Any) -> Any:  # noqa: ANN401 - of any rpc
        answer = await self._ask(rpc, request, **how)
        if rpc is RANGE and not request.revision and self._times:
            self._times -= 1
            await self.happens()
        return answer

    async def happens(self) -> None:
        """Is told by each test."""
        raise NotImplementedError


async def test_a_list_of_many_pages_is_as_of_one_revision(
    member: Member, client: Etcd, prefix: str
) -> None:
    """A shard that moves while its owners are listed is seen once, where it was."""
    await fill(client, prefix)

    class Moved(Interrupted):
        async def happens(self) -> None:
            await member.by_network.transact([], [Put(f"{prefix}{KEYS - 1:05}", b"new")])

    before = await client.list(prefix + "0")
    client._calls.ask = Moved(client, 1)  # type: ignore[method-assign]  # until the test ends
    listing = await client.list(prefix)
    assert listing == Listing(before.revision, before.entries)
    assert [entry.key for entry in listing.entries] == [f"{prefix}{n:05}" for n in range(KEYS)]
    assert {entry.value for entry in listing.entries} == {b"old"}


@pytest.mark.parametrize("times", [1, 100])
async def test_a_list_whose_revision_is_forgotten_begins_anew(
    times: int, member: Member, client: Etcd, prefix: str
) -> None:
    """Half of it as of another revision would be no list; and there is an end to beginning."""
    await fill(client, prefix)

    class Forgotten(Interrupted):
        async def happens(self) -> None:
            done = await client.transact([], [Put(prefix, b"")])
            await compact(member.endpoint, done.revision)

    client._calls.ask = Forgotten(client, times)  # type: ignore[method-assign]  # until the test ends
    if times == 1:
        assert len((await client.list(prefix)).entries) == KEYS + 1
    else:
        with pytest.raises(Unavailable):
            await client.list(prefix)


async def test_a_watch_of_what_is_forgotten_ends_at_once(
    member: Member, client: Etcd, prefix: str
) -> None:
    """It would wait for what never comes; etcd gives no reason, only a revision."""
    start = (await client.list(prefix)).revision
    await member.forget(prefix)
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(Compacted):
            await anext(client.watch(prefix, start))
    again = client.watch(prefix, (await client.list(prefix)).revision)
    await client.transact([], [Put(prefix + "b", b"")])
    assert [change.key for change in await first_of(again, 1)] == [prefix + "b"]


async def test_a_watch_that_was_cut_off_while_history_was_forgotten_ends(
    member: Member, client: Etcd, prefix: str
) -> None:
    """What happened meanwhile is lost to it, and it says so."""
    watch = member.by_network.watch(prefix, (await client.list(prefix)).revision)
    await client.transact([], [Put(prefix + "a", b"")])
    await first_of(watch, 1)
    member.network.refuse()
    await member.forget(prefix)
    member.network.resume()
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(Compacted):
            await anext(watch)


async def test_a_quiet_watch_outlives_what_is_forgotten(
    member: Member, client: Etcd, prefix: str
) -> None:
    """It was told how far its member had come: by the cut nothing of its own was lost."""
    revision = (await client.list(prefix)).revision
    watch = Watch(member.by_network._calls, QUICK, prefix, revision)
    spy = watch._reader = Spy(revision)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        reading = group.create_task(first_of(watch.changes(), 1))
        await spy.progress.acquire()  # the watch is open
        await member.forget("elsewhere/" + prefix)
        while spy.seen < revision + 3:
            await spy.progress.acquire()
        member.network.cut()
        await client.transact([], [Put(prefix + "a", b"")])
    assert [change.key for change in reading.result()] == [prefix + "a"]
