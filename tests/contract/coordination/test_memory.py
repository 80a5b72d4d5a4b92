"""What only the memory twin can show: time by hand, and revisions that nobody else counts up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from dataflow.cluster.coordination.contract import (
    Absent,
    Compacted,
    Delete,
    LeaseLost,
    Put,
)
from dataflow.cluster.coordination.memory import Memory, MemoryKeeper, Service
from tests.contract.coordination.watching import PATIENCE_S, first_of, next_of

TTL = timedelta(seconds=10)


class HandClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)

    def steady(self) -> float:
        return self.now_s


class LoopClock(HandClock):
    """Time as the running loop has it, as in a simulation."""

    def steady(self) -> float:
        return asyncio.get_running_loop().time()


async def test_what_changes_nothing_makes_no_revision() -> None:
    """As in etcd: a delete of what is not there, no effect at all, or one that was refused."""
    client = Memory(Service(HandClock()))
    put = await client.transact([], [Put("a", b"")])
    assert [
        (await client.transact([], [Delete("b")])).revision,
        (await client.transact([Absent("b")], [])).revision,
        (await client.transact([Absent("a")], [Delete("a")])).revision,
        (await client.list("")).revision,
    ] == [put.revision] * 4


async def test_a_lease_ends_when_its_time_is_over_and_not_before() -> None:
    """A simulation decides when that is; each keepalive begins the whole time again."""
    clock = HandClock()
    service = Service(clock)
    client, keeper = Memory(service), MemoryKeeper(service)
    lease = await client.grant(TTL)
    await client.transact([], [Put("a", b"", lease)])
    clock.now_s = 9.9
    assert keeper.keep_alive(lease) == TTL
    clock.now_s = 19.8
    assert len((await client.list("")).entries) == 1
    clock.now_s = 19.9
    with pytest.raises(LeaseLost):
        keeper.keep_alive(lease)
    assert (await client.list("")).entries == []


async def test_a_watcher_asleep_wakes_when_a_lease_is_due() -> None:
    """Nobody asks: a simulation whose last event is an expiry must not stand still before it."""
    client = Memory(Service(LoopClock()))
    start = (await client.list("")).revision
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(first_of(client.watch("", start), 2))
        await asyncio.sleep(0)  # the watcher is asleep before there is a lease to wait for
        lease = await client.grant(timedelta(milliseconds=50))
        await client.transact([], [Put("a", b"", lease)])
    assert watching.result()[-1].entry is None


async def test_time_that_was_moved_by_hand_shows_when_asked_for() -> None:
    """A simulator that stops clocks says itself when they go on."""
    clock = HandClock()
    service = Service(clock)
    client = Memory(service)
    lease = await client.grant(TTL)
    put = await client.transact([], [Put("a", b"", lease)])
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(next_of(client.watch("", put.revision)))
        await asyncio.sleep(0)
        clock.now_s = 10.0
        service.expire()
    assert [change.entry for change in watching.result()] == [None]


async def test_what_is_compacted_is_told_to_those_who_come_too_late_alone() -> None:
    """A watcher that has seen everything so far need not list again."""
    service = Service(HandClock())
    client = Memory(service)
    early = (await client.list("")).revision
    idle = client.watch("b", early)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(next_of(idle))
        await asyncio.sleep(0)
        for _ in range(2):
            await client.transact([], [Put("a", b"")])
        last = await client.transact([], [Put("a", b"")])
        await asyncio.sleep(0)
        service.compact(last.revision)
        with pytest.raises(Compacted):
            await next_of(client.watch("", early))
        await client.transact([], [Put("b", b"")])
    assert [change.key for change in waiting.result()] == ["b"]
    behind = await next_of(client.watch("", last.revision))
    assert [change.key for change in behind] == ["b"]


async def test_two_services_that_are_asked_the_same_answer_the_same() -> None:
    """A seed replays: lease ids and revisions are counted, not drawn."""

    async def story() -> object:
        client = Memory(Service(HandClock()))
        leases = [await client.grant(TTL) for _ in range(3)]
        await client.transact([], [Put("a", b"", leases[1]), Put("b", b"")])
        await client.revoke(leases[1])
        return leases, await client.list("")

    async with asyncio.timeout(PATIENCE_S):
        assert await story() == await story()
