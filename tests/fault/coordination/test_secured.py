"""The client of an etcd that wants certificates, users and tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import trustme

from dataflow.cluster.coordination.contract import Absent, Coordination, Put, Revision
from dataflow.cluster.coordination.etcd.keeper import EtcdKeeper
from dataflow.cluster.coordination.etcd.place import Login
from dataflow.core.errors import Code, Rejected, Unavailable
from tests.contract.coordination.watching import first_of
from tests.fault.coordination.conftest import BOUND_S, Server
from tests.fault.coordination.secured import PASSWORD, PREFIX, TOKEN_S

FOR_EVER = timedelta(minutes=10)
FORGOTTEN_S = TOKEN_S + 1.5
"""A member looks once a second for tokens that nobody has used."""


async def test_a_user_comes_in_again_when_its_token_is_forgotten(server: Server) -> None:
    """Calls, watches and keepers alike: nobody but the client knows that there are tokens.

    A transaction that was refused for its token has not happened, so it is sent again.
    """
    client = server.client()
    lease = await client.grant(FOR_EVER)
    put = await client.transact([], [Put(PREFIX + "a", b"", lease)])
    watch, idle = client.watch(PREFIX, put.revision), server.client()
    keeper = EtcdKeeper(server.place, timedelta(seconds=100))
    assert await asyncio.to_thread(keeper.keep_alive, lease) == FOR_EVER
    await client.transact([], [Put(PREFIX + "b", b"")])
    await first_of(watch, 1)
    await idle.list(PREFIX)
    async with asyncio.timeout(BOUND_S):
        await asyncio.sleep(FORGOTTEN_S)
        assert (await client.transact([Absent(PREFIX + "c")], [Put(PREFIX + "c", b"")])).succeeded
        await asyncio.sleep(FORGOTTEN_S)
        server.network.cut()
        assert [change.key for change in await first_of(watch, 1)] == [PREFIX + "c"]
        assert len((await idle.list(PREFIX)).entries) == 3
        with pytest.raises(Unavailable):
            await asyncio.to_thread(keeper.keep_alive, lease)
        await asyncio.to_thread(keeper.keep_alive, lease)
    keeper.close()


async def test_what_a_user_may_not_do_is_refused(server: Server) -> None:
    """Once and for all: trying again would not help, and nothing waits."""
    client = server.client()
    for call in (
        client.list("other/"),
        client.transact([], [Put("other/a", b"")]),
        anext(client.watch("other/", Revision(1))),
    ):
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(Rejected) as failure:
                await call
        assert failure.value.code == Code.PERMISSION


@pytest.mark.parametrize("login", [Login("node", "wrong"), Login("nobody", PASSWORD), None])
async def test_a_stranger_is_refused(login: Login | None, server: Server) -> None:
    """Also a keeper; and the password is in no message."""
    place = replace(server.place, login=login)
    keeper = EtcdKeeper(place, timedelta(seconds=100))
    client: Coordination = server.client(place)
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(Rejected) as failure:
            await client.list(PREFIX)
        assert failure.value.code == Code.PERMISSION
        assert "wrong" not in str(failure.value)
        if login is not None:
            with pytest.raises(Rejected):
                await asyncio.to_thread(keeper.keep_alive, await server.client().grant(FOR_EVER))
    keeper.close()


async def test_a_member_that_nobody_vouches_for_is_not_talked_to(server: Server) -> None:
    """Neither is a client without a certificate; what is wrong can be read in the message."""
    assert server.place.tls is not None
    stranger = replace(server.place.tls, root_certificates=trustme.CA().cert_pem.bytes())
    bare = replace(server.place.tls, key=None, certificate=None)
    for tls in (stranger, bare):
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(Unavailable) as failure:
                await server.client(replace(server.place, tls=tls)).transact(
                    [], [Put(PREFIX + "a", b"")]
                )
        assert failure.value.code == Code.BUSY
        assert "failed to connect" in str(failure.value)
