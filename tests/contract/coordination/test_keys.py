"""What every coordination service does with keys and transactions."""

from __future__ import annotations

import asyncio

import pytest

from dataflow.cluster.coordination import rules
from dataflow.cluster.coordination.contract import (
    Absent,
    Condition,
    Coordination,
    Delete,
    Effect,
    Entry,
    Put,
    Revision,
    Unchanged,
)
from dataflow.core.errors import Code, Rejected, Unavailable
from tests.contract.coordination.conftest import Shared


async def test_what_was_put_is_listed_as_of_its_revision(
    shared: Shared, client: Coordination
) -> None:
    """Others compare with that revision: a value under a wrong one would pass for unchanged."""
    key = shared.prefix + "a"
    done = await client.transact([], [Put(key, b"1")])
    listing = await client.list(shared.prefix)
    assert listing.entries == [Entry(key, b"1", done.revision)]
    assert listing.revision >= done.revision


async def test_a_listing_is_in_order_and_of_the_prefix_alone(
    shared: Shared, client: Coordination
) -> None:
    """``nodes/`` is no part of ``nodes``' neighbour, and every reader pages in the same order."""
    inside = [f"{shared.prefix}nodes/{n}" for n in ("b", "é", "a", "c")]
    outside = [shared.prefix + key for key in ("nodes", "nodes0", "node", "other")]
    await client.transact([], [Put(key, b"") for key in (*inside, *outside)])
    listing = await client.list(shared.prefix + "nodes/")
    assert [entry.key for entry in listing.entries] == sorted(inside)


async def test_another_client_sees_what_was_acknowledged(
    shared: Shared, client: Coordination
) -> None:
    """A list that may be old would let two nodes believe that a shard is free."""
    for count in range(20):
        await client.transact([], [Put(shared.prefix + str(count), b"")])
        assert len((await shared.client().list(shared.prefix)).entries) == count + 1


async def test_every_effect_of_a_transaction_has_one_revision(
    shared: Shared, client: Coordination
) -> None:
    """A reader as of that revision sees all of it; one before sees nothing."""
    keys = [shared.prefix + key for key in "abc"]
    done = await client.transact([], [Put(key, b"") for key in keys])
    listing = await client.list(shared.prefix)
    assert {entry.revision for entry in listing.entries} == {done.revision}


async def test_a_key_that_is_absent_is_taken_once(shared: Shared, client: Coordination) -> None:
    """This is how a shard gets one owner."""
    key = shared.prefix + "owner"
    first = await client.transact([Absent(key)], [Put(key, b"one")])
    second = await client.transact([Absent(key)], [Put(key, b"two")])
    assert (first.succeeded, second.succeeded) == (True, False)
    assert second.found == {key: Entry(key, b"one", first.revision)}


async def test_of_many_who_take_a_key_at_once_one_does(shared: Shared) -> None:
    """A condition that is checked before it is acted on would let several through."""
    key = shared.prefix + "owner"
    async with asyncio.TaskGroup() as group:
        tries = [
            group.create_task(shared.client().transact([Absent(key)], [Put(key, b"%d" % n)]))
            for n in range(16)
        ]
    winners = [n for n, attempt in enumerate(tries) if attempt.result().succeeded]
    assert [entry.value for entry in (await shared.client().list(key)).entries] == [
        b"%d" % n for n in winners
    ]


async def test_what_has_changed_since_is_not_overwritten(
    shared: Shared, client: Coordination
) -> None:
    """Even with the same value: the change itself is what a condition speaks of."""
    key = shared.prefix + "a"
    first = await client.transact([], [Put(key, b"1")])
    second = await client.transact([Unchanged(key, first.revision)], [Put(key, b"1")])
    third = await client.transact([Unchanged(key, first.revision)], [Delete(key)])
    assert (second.succeeded, third.succeeded) == (True, False)
    assert third.found == {key: Entry(key, b"1", second.revision)}


async def test_a_transaction_whose_conditions_do_not_all_hold_does_nothing(
    shared: Shared, client: Coordination
) -> None:
    """Half of a handover would leave a shard with two owners, or none."""
    there, absent = shared.prefix + "a", shared.prefix + "b"
    put = await client.transact([], [Put(there, b"1")])
    conditions: list[list[Condition]] = [
        [Absent(there), Absent(absent)],
        [Unchanged(there, put.revision), Unchanged(absent, put.revision)],
        [Unchanged(there, Revision(put.revision - 1))],
    ]
    for refused in conditions:
        done = await client.transact(refused, [Put(absent, b"2"), Delete(there)])
        assert not done.succeeded
    assert [e.key for e in (await client.list(shared.prefix)).entries] == [there]


async def test_a_refused_transaction_tells_only_of_what_is_there(
    shared: Shared, client: Coordination
) -> None:
    """The loser of a race learns who won without asking again."""
    there, absent = shared.prefix + "a", shared.prefix + "b"
    put = await client.transact([], [Put(there, b"1")])
    done = await client.transact([Absent(there), Absent(absent)], [Delete(there)])
    assert done.found == {there: Entry(there, b"1", put.revision)}


async def test_a_deleted_key_is_absent_again(shared: Shared, client: Coordination) -> None:
    """A shard that was released can be acquired."""
    key = shared.prefix + "a"
    await client.transact([], [Put(key, b"1")])
    await client.transact([], [Delete(key)])
    assert (await client.list(shared.prefix)).entries == []
    assert (await client.transact([Absent(key)], [Put(key, b"2")])).succeeded


async def test_values_are_bytes_of_any_kind(shared: Shared, client: Coordination) -> None:
    """What a caller encodes is its own affair."""
    values = [b"", b"\0\xff" * 10, bytes(range(256)) * 100]
    await client.transact([], [Put(f"{shared.prefix}{n}", v) for n, v in enumerate(values)])
    assert [e.value for e in (await client.list(shared.prefix)).entries] == values


@pytest.mark.parametrize("operations", [rules.OPERATIONS_MAX, rules.OPERATIONS_MAX + 1])
async def test_a_transaction_holds_so_many_operations(
    operations: int, shared: Shared, client: Coordination
) -> None:
    """A client that allowed more than the service would fail where nobody looks for it."""
    keys = [f"{shared.prefix}{n}" for n in range(operations)]
    conditions, effects = [Absent(key) for key in keys], [Put(key, b"") for key in keys]
    if operations <= rules.OPERATIONS_MAX:
        assert (await client.transact(conditions, effects)).succeeded
        refused = await client.transact(conditions, effects)
        assert (refused.succeeded, set(refused.found)) == (False, set(keys))
    else:
        with pytest.raises(Rejected) as failure:
            await client.transact([], effects)
        assert failure.value.code == Code.TOO_LARGE


@pytest.mark.parametrize("spare", [0, -1])
async def test_a_transaction_holds_so_many_bytes(
    spare: int, shared: Shared, client: Coordination
) -> None:
    """The limit is ours, so that it is the same everywhere."""
    key = shared.prefix + "a"
    put = Put(key, bytes(rules.TRANSACTION_BYTES_MAX - len(key) - spare))
    if spare >= 0:
        assert (await client.transact([], [put])).succeeded
    else:
        with pytest.raises(Rejected) as failure:
            await client.transact([], [put])
        assert failure.value.code == Code.TOO_LARGE


async def test_a_key_with_two_effects_is_refused(shared: Shared, client: Coordination) -> None:
    """Which of them comes last is nothing that services agree about."""
    key = shared.prefix + "a"
    twice: list[list[Effect]] = [[Put(key, b"1"), Put(key, b"2")], [Put(key, b"1"), Delete(key)]]
    for effects in twice:
        with pytest.raises(Rejected):
            await client.transact([], effects)


async def test_an_empty_key_is_refused(client: Coordination) -> None:
    """To etcd the empty key of a range means everything."""
    with pytest.raises(Rejected):
        await client.transact([], [Delete("")])


async def test_a_closed_client_refuses(shared: Shared) -> None:
    """A caller that outlives its client gets an error, and no wait without end."""
    client = shared.client()
    await client.close()
    with pytest.raises(Unavailable):
        await client.list(shared.prefix)
    await client.close()
