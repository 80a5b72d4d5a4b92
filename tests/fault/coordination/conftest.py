"""What the tests of a broken etcd share: private members, and networks to break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from dataflow.cluster.coordination.contract import Put
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.place import Login, Patience, Place
from deploy.stack import Etcd as Servers
from tests.fault.coordination.gateway import compact
from tests.fault.coordination.secured import PASSWORD, PREFIX, Certificates, Secured
from tests.network.proxy import Proxy, proxy_to

BOUND_S = 60.0
"""No test here waits longer for anything."""

QUICK = Patience(
    attempt=timedelta(seconds=0.5),
    call=timedelta(seconds=4),
    transaction=timedelta(seconds=2),
    login=timedelta(seconds=10),
    progress=timedelta(seconds=0.1),
    silence=timedelta(seconds=2),
)


@pytest.fixture
def prefix() -> str:
    """Return a prefix of the test's own."""
    return f"test-{Random().getrandbits(64):016x}/"


@pytest.fixture(scope="module")
def own_member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one member whose history a test may shorten."""
    with Servers(tmp_path_factory.mktemp("etcd")) as server:
        yield server.address


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Start three members."""
    with Servers(tmp_path_factory.mktemp("etcd"), members=3) as servers:
        yield servers


@pytest.fixture
async def members(three: Servers) -> AsyncIterator[Servers]:
    """Give three members that a test may kill and freeze; afterwards they are well again."""
    yield three
    for member in range(len(three)):
        if three.running(member):
            three.resume(member)
    await asyncio.to_thread(three.start)


class Networks:
    """One server as several members, each behind a network of its own."""

    def __init__(self, proxies: list[Proxy]) -> None:
        self.all = proxies
        self._clients = AsyncExitStack()

    def client(self, *networks: Proxy, patience: Patience = QUICK) -> Etcd:
        """Return a client that reaches the server by these networks, by all if none is named."""
        made = Etcd(Place([str(proxy) for proxy in networks or self.all]), patience)
        self._clients.push_async_callback(made.close)
        return made

    async def close(self) -> None:
        """Close every client."""
        await self._clients.aclose()


@pytest.fixture
async def networks(etcd: str) -> AsyncIterator[Networks]:
    """Put three networks before the machine's etcd."""
    host, port = etcd.split(":")
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(proxy_to(host, int(port))) for _ in range(3)]
        made = Networks(proxies)
        yield made
        await made.close()


@dataclass(frozen=True, slots=True)
class Member:
    """A server whose history is the test's own, and two ways to reach it."""

    endpoint: str
    client: Etcd
    network: Proxy
    by_network: Etcd

    async def forget(self, prefix: str) -> None:
        """Write three times, and let all but the last be forgotten."""
        done = [await self.client.transact([], [Put(prefix, b"")]) for _ in range(3)]
        await compact(self.endpoint, done[-1].revision)


@pytest.fixture
async def member(own_member: str) -> AsyncIterator[Member]:
    """Connect to a member of the module's own."""
    host, port = own_member.split(":")
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(proxy_to(host, int(port)))
        clients = [Etcd(Place([endpoint]), QUICK) for endpoint in (own_member, str(network))]
        for client in clients:
            stack.push_async_callback(client.close)
        yield Member(own_member, clients[0], network, clients[1])


@pytest.fixture
def client(member: Member) -> Etcd:
    """Return the client that is always connected."""
    return member.client


class Server:
    """The secured member, its place for a user, and clients of it."""

    def __init__(self, place: Place, network: Proxy) -> None:
        self.place = place
        self.network = network
        self._clients = AsyncExitStack()

    def client(self, place: Place | None = None) -> Etcd:
        """Return one more client, which is closed when the test ends."""
        made = Etcd(place or self.place, QUICK)
        self._clients.push_async_callback(made.close)
        return made

    async def close(self) -> None:
        """Close every client."""
        await self._clients.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Start a member of the test's own."""
    certificates = Certificates(tmp_path)
    secured = Secured(tmp_path / "server", certificates)
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(secured.start)
        stack.callback(secured.stop)
        await secured.admit(["root", "node"], PASSWORD, PREFIX)
        host, port = secured.address.split(":")
        network = await stack.enter_async_context(proxy_to(host, int(port)))
        made = Server(
            Place([str(network)], tls=certificates.tls, login=Login("node", PASSWORD)), network
        )
        yield made
        await made.close()
