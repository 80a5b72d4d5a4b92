"""The tests of this folder catch a client of etcd that is broken on purpose, one way at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from dataflow.cluster.coordination.contract import Change, Listing, Revision
from dataflow.cluster.coordination.etcd import messages
from dataflow.cluster.coordination.etcd.calls import Calls
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.keeper import EtcdKeeper
from dataflow.cluster.coordination.etcd.members import Member as Connection
from dataflow.cluster.coordination.etcd.members import Members
from dataflow.cluster.coordination.etcd.place import PAGE_KEYS
from dataflow.cluster.coordination.etcd.rpcs import RANGE
from dataflow.cluster.coordination.etcd.session import Session
from dataflow.cluster.coordination.etcd.watch import PROGRESS, Reader, Watch
from dataflow.core.errors import DataFlowError
from dataflow.v1 import etcd_pb2 as pb
from tests.contract.coordination import watching
from tests.fault.coordination import test_connections, test_history, test_secured
from tests.fault.coordination.conftest import Member, Networks, Server

Patch = tuple[type, str, Callable[..., Any]]
Test = Callable[..., Awaitable[None]]

BOUND_S = 8.0
"""Twice what any call may take: what a broken client waits for longer, it waits for for ever."""

CAUGHT = (AssertionError, DataFlowError, TimeoutError, BaseExceptionGroup, pytest.fail.Exception)

read, ask, call = Reader.read, Calls.ask, Connection.call


def resumes_from_the_header(
    self: Reader, response: pb.EtcdWatchResponse
) -> Sequence[Sequence[Change]]:
    """What lies between the first thousand events and the store's revision is lost by a cut."""
    complete = read(self, response)
    self.seen = max(self.seen, Revision(response.header.revision))
    return complete


def takes_fragments_for_whole(
    self: Reader, response: pb.EtcdWatchResponse
) -> Sequence[Sequence[Change]]:
    """A handover is seen in two halves."""
    response.fragment = False
    return read(self, response)


def keeps_halves(self: Reader) -> None:
    """The first half of a handover is seen twice."""


def tells_again(self: Reader, response: pb.EtcdWatchResponse) -> Sequence[Sequence[Change]]:
    """What a watch is reopened at is told a second time."""
    self.seen = Revision(0)
    return read(self, response)


def stays(self: Members, member: Connection) -> None:
    """A frozen member is asked for ever."""


async def waits_for_ever(
    self: Connection,
    rpc: Any,  # noqa: ANN401 - of any
    *asked: Any,  # noqa: ANN401 - of any
) -> Any:  # noqa: ANN401 - of any
    """A call through a connection that carries nothing never ends."""
    request, metadata, _ = asked
    return await call(self, rpc, request, metadata, 1e6)


async def does_it_again(self: Calls, *asked: Any) -> Any:  # noqa: ANN401 - of any rpc
    """A transaction whose answer is lost happens twice."""
    return await ask(self, *asked, changing=True)


async def watches_behind(self: Watch) -> AsyncIterator[pb.EtcdWatchRequest]:
    """Of a quiet watch whose first revision is to come a member says nothing."""
    key, end = messages.span(self._prefix)
    create = pb.EtcdWatchCreate(key=key, range_end=end, start_revision=self._reader.seen + 1)
    yield pb.EtcdWatchRequest(create=create)
    while True:
        await asyncio.sleep(self._progress_s)
        yield PROGRESS


async def asks_for_no_progress(self: Watch) -> AsyncIterator[pb.EtcdWatchRequest]:
    """A quiet watch looks dead, and what it could not have missed counts as forgotten."""
    key, end = messages.span(self._prefix)
    create = pb.EtcdWatchCreate(key=key, range_end=end, start_revision=self._reader.seen)
    yield pb.EtcdWatchRequest(create=create)


begun = Watch.__init__


def believes_in_silence(self: Watch, *given: Any) -> None:  # noqa: ANN401 - as the original's
    """A connection that carries nothing looks like one on which nothing happens."""
    begun(self, *given)
    self._silence_s = 1e6


async def overlooks_what_is_forgotten(self: Watch, response: pb.EtcdWatchResponse) -> None:
    """It waits for what never comes."""


async def lists_each_page_as_of_now(self: Calls, rpc: Any, request: Any, **how: Any) -> Any:  # noqa: ANN401 - of any rpc
    """What moves meanwhile is seen where it was, or not at all."""
    if rpc is RANGE:
        request = pb.EtcdRangeRequest(
            key=request.key, range_end=request.range_end, limit=request.limit
        )
    return await ask(self, rpc, request, **how)


async def lists_one_page(self: Etcd, prefix: str) -> object:
    """The owners of a large cluster's last shards are not seen."""
    key, end = messages.span(prefix)
    request = pb.EtcdRangeRequest(key=key, range_end=end, limit=PAGE_KEYS)
    answer = await self._calls.ask(RANGE, request)
    return Listing(Revision(answer.header.revision), list(map(messages.entry, answer.kvs)))


def keeps_the_token(self: Session, metadata: object) -> None:
    """Everything is refused from the first expiry on."""


ON_NETWORKS: Mapping[str, tuple[Test, Patch]] = {
    "resumes from the header": (
        test_connections.test_of_events_that_are_caught_up_none_is_lost_or_told_twice,
        (Reader, "read", resumes_from_the_header),
    ),
    "fragments taken for whole": (
        test_connections.test_transactions_are_told_whole_over_fragments_and_cuts,
        (Reader, "read", takes_fragments_for_whole),
    ),
    "halves kept": (
        test_connections.test_transactions_are_told_whole_over_fragments_and_cuts,
        (Reader, "restart", keeps_halves),
    ),
    "told again": (
        test_connections.test_a_watch_goes_on_after_its_connection_was_cut,
        (Reader, "read", tells_again),
    ),
    "no other member": (
        test_connections.test_a_member_that_does_not_answer_is_left_for_another,
        (Members, "failed", stays),
    ),
    "no deadline": (
        test_connections.test_every_call_ends_where_nobody_answers,
        (Connection, "call", waits_for_ever),
    ),
    "transactions repeated": (
        partial(test_connections.test_what_may_have_happened_is_not_done_again, "silent"),
        (Calls, "once", does_it_again),
    ),
    "silence believed": (
        test_connections.test_a_watch_that_is_told_nothing_any_more_moves_to_another_member,
        (Watch, "__init__", believes_in_silence),
    ),
}

ON_ONE_MEMBER: Mapping[str, tuple[Test, Patch]] = {
    "forgotten overlooked": (
        test_history.test_a_watch_of_what_is_forgotten_ends_at_once,
        (Watch, "_check", overlooks_what_is_forgotten),
    ),
    "no progress": (
        test_history.test_a_quiet_watch_outlives_what_is_forgotten,
        (Watch, "_requests", asks_for_no_progress),
    ),
    "pages as of now": (
        test_history.test_a_list_of_many_pages_is_as_of_one_revision,
        (Calls, "ask", lists_each_page_as_of_now),
    ),
    "one page": (
        test_history.test_a_list_of_many_pages_is_as_of_one_revision,
        (Etcd, "_list", lists_one_page),
    ),
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for what a broken client never brings."""
    monkeypatch.setattr(watching, "PATIENCE_S", BOUND_S)
    for module in (test_connections, test_history):
        monkeypatch.setattr(module, "BOUND_S", BOUND_S)


def broken(monkeypatch: pytest.MonkeyPatch, patch: Patch) -> None:
    """Break the client."""
    where, attribute, mutation = patch
    monkeypatch.setattr(where, attribute, mutation)


@pytest.mark.parametrize("name", ON_NETWORKS)
async def test_a_client_broken_towards_the_network_is_caught(
    name: str, networks: Networks, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that a broken client passes proves nothing about one that is not."""
    test, patch = ON_NETWORKS[name]
    broken(monkeypatch, patch)
    more = (
        ["silent"] if test is test_connections.test_what_may_have_happened_is_not_done_again else []
    )
    with pytest.raises(CAUGHT):
        await test(*more, networks, prefix)


@pytest.mark.parametrize("name", ON_ONE_MEMBER)
async def test_a_client_broken_towards_history_is_caught(
    name: str, member: Member, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is for what is long, and for what is forgotten."""
    test, patch = ON_ONE_MEMBER[name]
    broken(monkeypatch, patch)
    with pytest.raises(CAUGHT):
        await test(client=member.client, prefix=prefix, member=member)


async def test_a_quiet_watch_that_begins_behind_what_was_seen_is_caught(
    own_member: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its member does not say that it is alive."""
    broken(monkeypatch, (Watch, "_requests", watches_behind))
    with pytest.raises(CAUGHT):
        await test_connections.test_a_quiet_watch_is_told_how_far_its_member_has_come(
            own_member, prefix
        )


async def test_a_client_that_keeps_an_old_token_is_caught(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a keeper that does."""
    broken(monkeypatch, (Session, "refused", keeps_the_token))
    with pytest.raises(CAUGHT):
        await test_secured.test_a_user_comes_in_again_when_its_token_is_forgotten(server)


async def test_a_keeper_that_stays_with_a_member_that_hangs_is_caught(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lose its lease with two members left."""
    keep = EtcdKeeper.keep_alive

    def stays_there(self: EtcdKeeper, lease: Any) -> Any:  # noqa: ANN401 - as the original
        self._at = 0
        return keep(self, lease)

    broken(monkeypatch, (EtcdKeeper, "keep_alive", stays_there))
    with pytest.raises(CAUGHT):
        await test_connections.test_a_keeper_asks_another_member_the_next_time(networks)
