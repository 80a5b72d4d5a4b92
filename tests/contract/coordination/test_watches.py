"""What every coordination service tells those who watch."""

from __future__ import annotations

import asyncio

import pytest

from dataflow.cluster.coordination.contract import (
    Absent,
    Compacted,
    Coordination,
    Delete,
    Entry,
    Put,
    Revision,
)
from dataflow.core.errors import Unavailable
from tests.contract.coordination.conftest import Shared
from tests.contract.coordination.watching import PATIENCE_S, first_of, next_of


async def test_what_happened_behind_a_revision_is_told(
    shared: Shared, client: Coordination
) -> None:
    """Between a list and its watch nothing is lost."""
    key = shared.prefix + "a"
    before = await client.transact([], [Put(key, b"1")])
    put = await client.transact([], [Put(key, b"2")])
    deleted = await client.transact([], [Delete(key)])
    watch = client.watch(shared.prefix, before.revision)
    put_change, delete_change = await first_of(watch, 2)
    assert (put_change.key, put_change.revision) == (key, put.revision)
    assert put_change.entry == Entry(key, b"2", put.revision)
    assert (delete_change.key, delete_change.entry) == (key, None)
    assert delete_change.revision == deleted.revision


async def test_what_happens_later_is_told(shared: Shared, client: Coordination) -> None:
    """By any client, to any client."""
    listing = await client.list(shared.prefix)
    watch = shared.client().watch(shared.prefix, listing.revision)
    waiting = asyncio.ensure_future(next_of(watch))  # noqa: TID251 - is awaited below
    await asyncio.sleep(0.1)
    await client.transact([], [Put(shared.prefix + "a", b"1")])
    assert [change.key for change in await waiting] == [shared.prefix + "a"]


async def test_the_changes_of_a_transaction_come_together(
    shared: Shared, client: Coordination
) -> None:
    """A handover is seen whole: at no time does a shard appear to have no owner, or two."""
    start = await client.transact([], [Put(f"{shared.prefix}{n:03}", b"") for n in range(100)])
    await client.transact(
        [],
        [Delete(f"{shared.prefix}{n:03}") for n in range(50)]
        + [Put(f"{shared.prefix}{n:03}", bytes(1000)) for n in range(50, 100)],
    )
    changes = await next_of(client.watch(shared.prefix, start.revision))
    assert [c.key for c in changes] == [f"{shared.prefix}{n:03}" for n in range(100)]
    assert [c.entry is None for c in changes] == [n < 50 for n in range(100)]


async def test_changes_elsewhere_are_not_told(shared: Shared, client: Coordination) -> None:
    """A watcher of one cluster does not hear of another, nor of half a transaction that is."""
    start = (await client.list(shared.prefix)).revision
    inside, outside = shared.prefix + "in/a", shared.prefix + "out/a"
    await client.transact([], [Put(outside, b"")])
    await client.transact([], [Put(outside, b""), Put(inside, b"")])
    changes = await next_of(client.watch(shared.prefix + "in/", start))
    assert [change.key for change in changes] == [inside]


async def test_nothing_is_told_of_what_was_refused(shared: Shared, client: Coordination) -> None:
    """Nor of a delete of what is not there."""
    start = await client.transact([], [Put(shared.prefix + "a", b"")])
    await client.transact([Absent(shared.prefix + "a")], [Delete(shared.prefix + "a")])
    await client.transact([], [Delete(shared.prefix + "b")])
    last = await client.transact([], [Put(shared.prefix + "c", b"")])
    changes = await next_of(client.watch(shared.prefix, start.revision))
    assert [change.revision for change in changes] == [last.revision]


async def test_every_change_is_told_once_and_in_order(shared: Shared, client: Coordination) -> None:
    """While they happen, to several watchers, each at its own pace."""
    start = (await client.list(shared.prefix)).revision
    watches = [shared.client().watch(shared.prefix, start) for _ in range(3)]

    async def write() -> list[Revision]:
        return [
            (await client.transact([], [Put(shared.prefix + str(n % 7), b"%d" % n)])).revision
            for n in range(100)
        ]

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        reading = [group.create_task(first_of(watch, 100)) for watch in watches]
    for changes in (task.result() for task in reading):
        assert [change.revision for change in changes] == writing.result()
        assert [change.entry.value for change in changes if change.entry] == [
            b"%d" % n for n in range(100)
        ]


async def test_a_watch_may_begin_at_the_very_beginning(
    shared: Shared, client: Coordination
) -> None:
    """Revision 0 is behind nothing: every change that is remembered comes."""
    revisions = [
        (await client.transact([], [Put(shared.prefix + "a", b"")])).revision for _ in range(2)
    ]
    start = Revision(revisions[0] - 1)
    assert [c.revision for c in await first_of(client.watch(shared.prefix, start), 2)] == revisions


async def test_a_watch_behind_a_revision_that_never_was_ends(
    shared: Shared, client: Coordination
) -> None:
    """A service that was restored from a backup counts again from there: list, and watch anew."""
    future = Revision((await client.list(shared.prefix)).revision + 1_000_000)
    with pytest.raises(Compacted):
        await next_of(client.watch(shared.prefix, future))


async def test_closing_the_client_ends_its_watches(shared: Shared) -> None:
    """A task that waits for a change that nobody will bring would keep a program from ending."""
    client = shared.client()
    watch = client.watch(shared.prefix, (await client.list(shared.prefix)).revision)
    waiting = asyncio.ensure_future(next_of(watch))  # noqa: TID251 - is awaited below
    await asyncio.sleep(0.1)
    await client.close()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable):
            await waiting
