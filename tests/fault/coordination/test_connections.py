"""The client of etcd when the network between them is cut, stuck, or loses answers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from dataflow.cluster.coordination.contract import Absent, Delete, Put
from dataflow.cluster.coordination.etcd.keeper import EtcdKeeper
from dataflow.cluster.coordination.etcd.place import Place
from dataflow.cluster.coordination.etcd.watch import Watch
from dataflow.core.errors import Code, Unavailable
from tests.contract.coordination.watching import first_of
from tests.fault.coordination.conftest import BOUND_S, QUICK, Networks
from tests.fault.coordination.observing import Spy, outcome
from tests.network.proxy import proxy_to

EVENTS = 4_000
"""etcd tells a watch that catches up a thousand revisions at a time."""

CUT_BYTES = 60_000
"""Of 4,000 events of some 90 bytes: within a thousand, and several times."""


async def test_of_events_that_are_caught_up_none_is_lost_or_told_twice(
    networks: Networks, prefix: str
) -> None:
    """The connection breaks within every batch, whose header is already at the last revision."""
    good, bad = networks.all[:2]
    client = networks.client(good)
    start = (await client.list(prefix)).revision
    async with asyncio.TaskGroup() as group:
        for writer in range(16):
            group.create_task(write(networks, f"{prefix}{writer:02}/", EVENTS // 16))
    written = (await client.list(prefix)).entries
    bad.answers.bytes_max = CUT_BYTES
    changes = await first_of(networks.client(bad).watch(prefix, start), EVENTS)
    assert bad.accepted > 3
    assert sorted(change.key for change in changes) == [entry.key for entry in written]
    revisions = [change.revision for change in changes]
    assert revisions == sorted(set(revisions))


async def write(networks: Networks, prefix: str, count: int) -> None:
    """Write keys, each at a revision of its own."""
    client = networks.client(networks.all[0])
    for number in range(count):
        await client.transact([], [Put(f"{prefix}{number:04}", b"")])


async def test_transactions_are_told_whole_over_fragments_and_cuts(
    networks: Networks, prefix: str
) -> None:
    """A message ends where it is full, in the middle of a handover if need be."""
    good, bad = networks.all[:2]
    client = networks.client(good)
    start = (await client.list(prefix)).revision
    for number in range(8):
        effects = [Put(f"{prefix}{number}/{half}", bytes(400_000)) for half in "ab"]
        await client.transact([], effects)
    bad.answers.bytes_max = 3_000_000
    watch = networks.client(bad).watch(prefix, start)
    async with asyncio.timeout(BOUND_S):
        groups = [await anext(watch) for _ in range(8)]
    assert [[change.key for change in group] for group in groups] == [
        [f"{prefix}{number}/{half}" for half in "ab"] for number in range(8)
    ]
    assert bad.accepted > 1


async def test_a_watch_goes_on_after_its_connection_was_cut(
    networks: Networks, prefix: str
) -> None:
    """By another member, and with what happened meanwhile."""
    client = networks.client(networks.all[2])
    watch = networks.client(*networks.all[:2]).watch(prefix, (await client.list(prefix)).revision)
    told = []
    for number in range(5):
        await client.transact([], [Put(f"{prefix}{number}", b"")])
        told += await first_of(watch, 1)
        networks.all[number % 2].cut()
        await client.transact([], [Delete(f"{prefix}{number}")])
        told += await first_of(watch, 1)
    assert [change.key for change in told] == [f"{prefix}{n // 2}" for n in range(10)]
    assert [change.entry is None for change in told] == [False, True] * 5


async def test_a_watch_that_is_told_nothing_any_more_moves_to_another_member(
    networks: Networks, prefix: str
) -> None:
    """A connection that carries nothing looks like one on which nothing happens."""
    client = networks.client(networks.all[1])
    watch = networks.client(*networks.all[:2]).watch(prefix, (await client.list(prefix)).revision)
    await client.transact([], [Put(prefix + "a", b"")])
    await first_of(watch, 1)
    networks.all[0].hold()
    await client.transact([], [Put(prefix + "b", b"")])
    assert [change.key for change in await first_of(watch, 1)] == [prefix + "b"]


async def test_a_quiet_watch_is_told_how_far_its_member_has_come(
    own_member: str, prefix: str
) -> None:
    """Where nothing happens at all too, or every quiet watch would be taken for a dead one."""
    host, port = own_member.split(":")
    async with proxy_to(host, int(port)) as proxy, AsyncExitStack() as stack:
        networks = Networks([proxy])
        stack.push_async_callback(networks.close)
        client = networks.client()
        revision = (await client.list(prefix)).revision
        watch = Watch(client._calls, QUICK, prefix, revision)
        spy = watch._reader = Spy(revision)
        async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
            reading = group.create_task(first_of(watch.changes(), 1))
            for _ in range(5):
                await spy.progress.acquire()
            await client.transact([], [Put("elsewhere/" + prefix, b"")])
            while spy.seen == revision:
                await spy.progress.acquire()
            reading.cancel()


async def test_a_member_that_does_not_answer_is_left_for_another(
    networks: Networks, prefix: str
) -> None:
    """A frozen process accepts connections and requests, and that is all."""
    client = networks.client(*networks.all[:2])
    await client.transact([], [Put(prefix + "a", b"")])
    networks.all[0].hold()
    async with asyncio.timeout(BOUND_S):
        assert len((await client.list(prefix)).entries) == 1
        lease = await client.grant(timedelta(minutes=10))
        await client.keep_alive(lease)
        await client.revoke(lease)


async def test_a_member_that_cannot_be_reached_costs_no_certainty(
    networks: Networks, prefix: str
) -> None:
    """What was never sent has not happened: a transaction goes to the next member."""
    networks.all[0].refuse()
    key = prefix + "a"
    done = await networks.client().transact([Absent(key)], [Put(key, b"")])
    assert done.succeeded


async def test_a_transaction_that_nobody_can_take_in_is_not_unknown(
    networks: Networks, prefix: str
) -> None:
    """And it ends: the caller may simply try again."""
    for network in networks.all:
        network.refuse()
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(Unavailable) as failure:
            await networks.client().transact([], [Put(prefix + "a", b"")])
    assert failure.value.code == Code.BUSY


async def test_every_call_ends_where_nobody_answers(networks: Networks, prefix: str) -> None:
    """Without a bound a node would hang where it should give its shards up."""
    client = networks.client()
    lease = await client.grant(timedelta(minutes=10))
    keeper = EtcdKeeper(Place([str(network) for network in networks.all]), timedelta(seconds=10))
    for network in networks.all:
        network.hold()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        for call in (
            client.list(prefix),
            client.grant(timedelta(minutes=10)),
            client.keep_alive(lease),
            client.revoke(lease),
            client.transact([], [Put(prefix + "a", b"")]),
            asyncio.to_thread(keeper.keep_alive, lease),
        ):
            group.create_task(outcome(call))
    keeper.close()


async def test_a_keeper_asks_another_member_the_next_time(networks: Networks) -> None:
    """Each attempt is short; the lease lives through a member that hangs."""
    lease = await networks.client().grant(timedelta(minutes=10))
    networks.all[0].hold()
    keeper = EtcdKeeper(Place([str(network) for network in networks.all]), timedelta(seconds=20))
    try:
        with pytest.raises(Unavailable):
            await asyncio.to_thread(keeper.keep_alive, lease)
        kept = await asyncio.to_thread(keeper.keep_alive, lease)
        assert kept == timedelta(minutes=10)
    finally:
        keeper.close()


@pytest.mark.parametrize("broken", ["silent", "cut"])
async def test_what_may_have_happened_is_not_done_again(
    broken: str, networks: Networks, prefix: str
) -> None:
    """The answer is lost, the effect is not; another member would do it a second time.

    The caller lists, and finds its own value there.
    """
    client = networks.client(*networks.all[:2])
    start = (await client.list(prefix)).revision
    networks.all[0].hold_answers()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        attempt = group.create_task(outcome(client.transact([], [Put(prefix + "a", b"mine")])))
        witness = networks.client(networks.all[2]).watch(prefix, start)
        told = await first_of(witness, 1)
        if broken == "cut":
            networks.all[0].cut()
    assert attempt.result() == Code.OUTCOME_UNKNOWN
    listing = await client.list(prefix)
    assert [(entry.value, entry.revision) for entry in listing.entries] == [
        (b"mine", told[0].revision)
    ]


async def test_slow_is_not_broken(networks: Networks, prefix: str) -> None:
    """A network of 50 ms each way costs time, and no attempt."""
    network = networks.all[0]
    client = networks.client(network)
    start = (await client.list(prefix)).revision
    network.delay(0.05)
    watch = client.watch(prefix, start)
    await client.transact([], [Put(prefix + "a", b"")])
    assert [change.key for change in await first_of(watch, 1)] == [prefix + "a"]
    assert network.accepted == 1
