"""What every coordination service does with leases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dataflow.cluster.coordination.contract import (
    NO_LEASE,
    Absent,
    Coordination,
    LeaseId,
    LeaseLost,
    Put,
    Revision,
)
from dataflow.core.errors import Rejected, Unavailable
from tests.contract.coordination.conftest import Shared
from tests.contract.coordination.watching import next_of

TTL = timedelta(seconds=1)
"""Soon over; the machine's etcd, with elections of a second, makes it two."""

LONGER = timedelta(seconds=4)
"""So long that a busy machine keeps it."""

NEVER = timedelta(minutes=10)
"""Longer than any test."""


async def keys(shared: Shared) -> list[str]:
    """Return what is there now, without the prefix."""
    listing = await shared.client().list(shared.prefix)
    return [entry.key.removeprefix(shared.prefix) for entry in listing.entries]


async def gone(shared: Shared, key: str, since: Revision) -> None:
    """Wait until a key is deleted."""
    await next_of(shared.client().watch(shared.prefix + key, since))


async def test_a_key_shows_its_lease(shared: Shared, client: Coordination) -> None:
    """After an unknown outcome the lease is what tells one's own key from another's."""
    lease = await client.grant(NEVER)
    await client.transact([], [Put(shared.prefix + "a", b"", lease), Put(shared.prefix + "b", b"")])
    listing = await client.list(shared.prefix)
    assert [entry.lease for entry in listing.entries] == [lease, NO_LEASE]


async def test_keys_of_an_expired_lease_go_together(shared: Shared, client: Coordination) -> None:
    """A node that died leaves nothing behind, and at no revision only half of it is gone."""
    lease = await client.grant(TTL)
    mine = [shared.prefix + key for key in "ab"]
    put = await client.transact([], [Put(k, b"", lease) for k in mine] + [Put(shared.prefix, b"")])
    changes = await next_of(client.watch(shared.prefix, put.revision))
    assert [(change.key, change.entry) for change in changes] == [(key, None) for key in mine]
    assert await keys(shared) == [""]


async def test_a_lease_that_is_kept_alive_stays(shared: Shared, client: Coordination) -> None:
    """For longer than its time, by either way of keeping it."""
    keeper = shared.keeper()
    lease = await client.grant(LONGER)
    await client.transact([], [Put(shared.prefix + "a", b"", lease)])
    for turn in range(6):
        await asyncio.sleep(LONGER.total_seconds() / 5)
        kept = (
            await asyncio.to_thread(keeper.keep_alive, lease)
            if turn % 2
            else await client.keep_alive(lease)
        )
        assert kept >= LONGER
    assert await keys(shared) == ["a"]


async def test_an_expired_lease_cannot_be_kept(shared: Shared, client: Coordination) -> None:
    """A holder that slept too long must learn that its keys are gone."""
    keeper = shared.keeper()
    lease = await client.grant(TTL)
    put = await client.transact([], [Put(shared.prefix + "a", b"", lease)])
    await gone(shared, "a", put.revision)
    with pytest.raises(LeaseLost):
        await client.keep_alive(lease)
    with pytest.raises(LeaseLost):
        await asyncio.to_thread(keeper.keep_alive, lease)


async def test_a_revoked_lease_takes_its_keys(shared: Shared, client: Coordination) -> None:
    """An orderly end frees a node's shards at once."""
    keeper = shared.keeper()
    lease, other = await client.grant(NEVER), await client.grant(NEVER)
    await client.transact(
        [], [Put(shared.prefix + "a", b"", lease), Put(shared.prefix + "b", b"", other)]
    )
    await client.revoke(lease)
    assert await keys(shared) == ["b"]
    with pytest.raises(LeaseLost):
        await client.keep_alive(lease)
    with pytest.raises(LeaseLost):
        await asyncio.to_thread(keeper.keep_alive, lease)


async def test_revoking_twice_is_no_error(client: Coordination) -> None:
    """After an unknown outcome it is simply asked again."""
    lease = await client.grant(NEVER)
    await client.revoke(lease)
    await client.revoke(lease)


async def test_a_put_under_a_dead_lease_does_nothing(shared: Shared, client: Coordination) -> None:
    """A key under a lease that has ended would stay for ever."""
    lease = await client.grant(NEVER)
    await client.revoke(lease)
    for dead in (lease, LeaseId(4242)):
        with pytest.raises(LeaseLost):
            await client.transact(
                [], [Put(shared.prefix + "b", b""), Put(shared.prefix + "a", b"", dead)]
            )
    assert await keys(shared) == []


async def test_conditions_are_judged_before_leases(shared: Shared, client: Coordination) -> None:
    """Who lost a race hears who won it, whatever became of the lease."""
    lease = await client.grant(NEVER)
    await client.transact([], [Put(shared.prefix + "a", b"1")])
    await client.revoke(lease)
    done = await client.transact(
        [Absent(shared.prefix + "a")], [Put(shared.prefix + "a", b"2", lease)]
    )
    assert [entry.value for entry in done.found.values()] == [b"1"]


async def test_a_key_belongs_to_the_lease_it_was_last_put_under(
    shared: Shared, client: Coordination
) -> None:
    """What another node has taken over must not go with its former owner."""
    first, second = await client.grant(NEVER), await client.grant(NEVER)
    moved, kept = shared.prefix + "moved", shared.prefix + "kept"
    await client.transact([], [Put(moved, b"", first), Put(kept, b"", first)])
    await client.transact([], [Put(moved, b"", second), Put(kept, b"")])
    await client.revoke(first)
    assert await keys(shared) == ["kept", "moved"]
    await client.revoke(second)
    assert await keys(shared) == ["kept"]


@pytest.mark.parametrize("ttl", [timedelta(), timedelta(seconds=-1), timedelta.max])
async def test_a_time_that_no_lease_can_have_is_refused(
    ttl: timedelta, client: Coordination
) -> None:
    """Services round or refuse such times each in its own way."""
    with pytest.raises(Rejected):
        await client.grant(ttl)


async def test_a_closed_keeper_refuses(shared: Shared, client: Coordination) -> None:
    """A thread that outlives its keeper gets an error, and no wait without end."""
    keeper = shared.keeper()
    lease = await client.grant(NEVER)
    keeper.close()
    with pytest.raises(Unavailable):
        keeper.keep_alive(lease)
    keeper.close()
