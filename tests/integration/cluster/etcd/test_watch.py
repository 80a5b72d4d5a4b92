"""A watch and members that are behind, that end it, or that refuse it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from dataflow.cluster.coordination.contract import Change, Compacted, Put, Revision
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.place import Patience, Place
from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.v1 import etcd_pb2 as pb
from tests.contract.coordination.watching import first_of
from tests.integration.cluster.etcd.members import Member, serving

QUICK = Patience(
    attempt=timedelta(seconds=0.5), call=timedelta(seconds=1), silence=timedelta(seconds=30)
)
SEEN = Revision(10)


def told(*revisions: int) -> pb.EtcdWatchResponse:
    """Return a response with an event at each revision."""
    events = [pb.EtcdEvent(kv=pb.EtcdKeyValue(key=b"a", mod_revision=r)) for r in revisions]
    return pb.EtcdWatchResponse(header=pb.EtcdHeader(revision=99), events=events)


def ended(reason: str = "") -> pb.EtcdWatchResponse:
    """Return what a member says when it ends a watch."""
    return pb.EtcdWatchResponse(canceled=True, cancel_reason=reason)


@asynccontextmanager
async def client_of(*members: Member) -> AsyncIterator[Etcd]:
    """Connect to members, of which the first is asked first."""
    async with serving(*members) as endpoints:
        client = Etcd(Place(endpoints), QUICK)
        yield client
        await client.close()


async def revisions_of(client: Etcd, count: int) -> Sequence[int]:
    """Return what a watch tells."""
    changes: Sequence[Change] = await first_of(client.watch("a", SEEN), count)
    return [change.revision for change in changes]


@pytest.mark.parametrize("reason", ["", "etcdserver: server stopped"])
async def test_a_watch_that_its_member_ends_goes_on_at_the_next(reason: str) -> None:
    """Behind what was told, whatever the reason is, and if there is none."""
    one = Member(50, [told(11, 12), ended(reason)])
    two = Member(50, [told(12, 13)])
    async with client_of(one, two) as client:
        assert await revisions_of(client, 3) == [11, 12, 13]
    assert [watch.start_revision for watch in (*one.watched, *two.watched)] == [SEEN, 12]


@pytest.mark.parametrize("now", [SEEN + 5, None])
async def test_a_member_that_is_behind_is_left_for_one_that_is_not(now: int | None) -> None:
    """It would be silent until it has caught up; also where it cannot find out that it is."""
    behind, current = Member(SEEN - 1, now=now), Member(SEEN, [told(11)])
    async with client_of(behind, current) as client:
        assert await revisions_of(client, 1) == [11]


async def test_a_service_whose_history_is_another_is_told_from_a_member_that_is_behind() -> None:
    """Restored from a backup, it would count up to the watch's revision with other changes."""
    async with client_of(Member(SEEN - 1, now=SEEN - 1)) as client:
        with pytest.raises(Compacted):
            await revisions_of(client, 1)


async def test_a_watch_that_is_not_permitted_ends() -> None:
    """Opening it again would not help."""
    async with client_of(Member(50, [ended("rpc error: etcdserver: permission denied")])) as client:
        with pytest.raises(Rejected) as failure:
            await revisions_of(client, 1)
    assert failure.value.code == Code.PERMISSION


async def test_closing_a_client_leaves_what_is_under_way_unknown() -> None:
    """It may have been carried out: only its answer is not waited for."""
    member = Member(50)
    async with client_of(member) as client, asyncio.TaskGroup() as group:
        attempt = group.create_task(code_of(client.transact([], [Put("a", b"")])))
        await member.busy.wait()
        await client.close()
    assert attempt.result() == Code.OUTCOME_UNKNOWN


async def test_closing_a_client_ends_what_has_not_begun() -> None:
    """A member that accepts connections and says nothing keeps nobody from ending."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        client = Etcd(Place([f"127.0.0.1:{port}"]))
        async with asyncio.TaskGroup() as group:
            attempts = [
                group.create_task(code_of(call))
                for call in (
                    client.list("a"),
                    client.grant(timedelta(seconds=10)),
                    revisions_of(client, 1),
                )
            ]
            await asyncio.sleep(0.1)
            await client.close()
    assert [attempt.result() for attempt in attempts] == [Code.BUSY] * 3


async def code_of(call: Awaitable[object]) -> str:
    """Return the code of a call that fails."""
    with pytest.raises(Unavailable) as failure:
        await call
    return failure.value.code
