"""A whole cluster to be broken: nodes behind networks, a gateway, private etcd and Cassandra.

node a --[to etcd, x 3]--> etcd 0, 1, 2
--[to Cassandra]--> Cassandra
<-[from the others]-- b, c, gateway
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import httpx

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination.etcd.client import Etcd as EtcdClient
from dataflow.cluster.coordination.etcd.place import Place
from dataflow.cluster.membership import Membership
from dataflow.core.ids import NodeId
from deploy.stack import Cassandra, Etcd
from deploy.stack.nodes import Gateways, Nodes, Stores
from deploy.stack.ports import LOOPBACK, free_ports
from tests.fault.coordination.gateway import leader_of
from tests.network.proxy import Proxy, proxy_to

NAMES = ("a", "b", "c")
SHARDS = 12
TTL_S = 3
JOURNAL_PATIENCE_S = 2

SETTLE_S = 90.0
"""For a healed cluster to be whole again, on a machine that may be ten times busier than ours."""

ENDED_BY_WATCHDOG = 70
"""A node whose loop was stuck when its lease was lost: its supervisor starts it again."""

Link = Literal["etcd", "cassandra", "peers"]


@dataclass
class Member:
    """One node, and what lies between it and everything else."""

    program: Nodes
    links: Mapping[Link, Sequence[Proxy]]
    frozen: bool = False
    wanted: int | None = None
    """How its process shall have ended; None while it shall run."""

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return self.program.names[0]


@dataclass
class Stage:
    """What can be broken, and what was."""

    etcd: Etcd
    cassandra: Cassandra
    members: dict[str, Member]
    gateway: Gateways
    membership: Membership
    done: Counter[str] = field(default_factory=Counter)
    """What has been done to the cluster."""
    findings: list[str] = field(default_factory=list)

    @property
    def map(self) -> ClusterMap:
        """The cluster as etcd has it."""
        return self.membership.map

    @property
    def running(self) -> Sequence[str]:
        """The nodes that shall run."""
        return [name for name, member in self.members.items() if member.wanted is None]

    @property
    def addresses(self) -> Sequence[str]:
        """Where the cluster is asked, by HTTP."""
        programs = [self.members[name].program for name in self.running]
        return [f"http://{one.http()}" for one in (self.gateway, *programs)]

    async def start(self, *names: str) -> None:
        """Start nodes together, and return when they are ready."""
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self._start(self.members[name]))

    async def _start(self, member: Member) -> None:
        await asyncio.to_thread(member.program.start)
        member.wanted = None

    async def kill(self, name: str) -> None:
        """End a node as a power cut does."""
        self.done["kill -9"] += 1
        member = self.members[name]
        member.wanted = -9
        await asyncio.to_thread(member.program.kill)
        self._check_end(member)

    async def stop(self, name: str) -> None:
        """End a node as its operator does: it hands its shards over."""
        self.done["SIGTERM"] += 1
        member = self.members[name]
        member.wanted = 0
        await asyncio.to_thread(member.program.stop)
        self._check_end(member)

    def _check_end(self, member: Member) -> None:
        if (code := member.program.exit_code()) != member.wanted:
            self.findings.append(f"{member.name} ended with {code}, not with {member.wanted}")

    async def pause(self, name: str) -> None:
        """Freeze a node."""
        self.done["SIGSTOP"] += 1
        self.members[name].frozen = True
        await asyncio.to_thread(self.members[name].program.pause)

    def resume(self, name: str) -> None:
        """Let a frozen node run on."""
        self.members[name].frozen = False
        self.members[name].program.resume()

    def cut(self, name: str, link: Link, how: Callable[[Proxy], None] = Proxy.hold) -> None:
        """Cut a node off from something; by default what it sends is held back."""
        self.done[f"cut from {link}"] += 1
        for network in self.members[name].links[link]:
            how(network)

    def join(self, name: str, link: Link) -> None:
        """Let a node reach something again."""
        for network in self.members[name].links[link]:
            network.resume()

    async def steer(self, path: str) -> None:
        """Tell the cluster something about a node or a shard."""
        async with httpx.AsyncClient(timeout=SETTLE_S) as http:
            url = f"http://{self.gateway.http()}/api/v1/cluster/{path}"
            (await http.post(url, json={})).raise_for_status()

    async def without(self, *names: str) -> None:
        """Return when others serve every shard."""
        try:
            async with asyncio.timeout(SETTLE_S):
                while set(self._serving()) & set(names) or not self._is_served():
                    await self.membership.changed(self.map.revision, timedelta(seconds=0.2))
        except TimeoutError:
            self.findings.append(f"{names} not replaced within {SETTLE_S:g} s: {self.shown()}")

    def _serving(self) -> Counter[str]:
        seen = self.map
        owners = [seen.owner(shard) for shard, own in seen.owners.items() if own.is_serving]
        return Counter(str(owner.node) for owner in owners if owner is not None)

    def _is_served(self) -> bool:
        return self.map.meta is not None and self._serving().total() == self.map.meta.shards

    def boot(self, name: str) -> str:
        """Return which life of a node is registered."""
        registered = self.map.nodes.get(NodeId(name))
        return registered.boot if registered is not None else ""

    async def check_stopped(self, *names: str) -> None:
        """Find fault with a node that takes requests although its lease has run out."""
        async with httpx.AsyncClient(timeout=SETTLE_S) as http:
            for name in names:
                url = f"http://{self.members[name].program.http()}/ready"
                if (answer := await http.get(url)).is_success:
                    self.findings.append(f"{name} takes requests without a lease: {answer.text}")

    async def leader(self) -> int:
        """Return which member leads etcd."""
        return await leader_of(self.etcd.addresses)

    async def heal(self) -> None:
        """Undo everything that was done, whoever did it; return when the cluster is whole."""
        for number in range(len(self.etcd)):
            if self.etcd.running(number):
                self.etcd.resume(number)
        if self.cassandra.running():
            self.cassandra.resume()
        await asyncio.to_thread(self.etcd.start)
        await asyncio.to_thread(self.cassandra.start)
        for name, member in self.members.items():
            for link in member.links:
                self.join(name, link)
            if member.frozen:
                self.resume(name)
        await self.revive()
        await self.start(*(n for n, m in self.members.items() if not m.program.running()))
        await self.settled()

    async def revive(self) -> None:
        """Start again what ended itself; only a stuck loop is a reason to."""
        for name in self.running:
            code = self.members[name].program.exit_code()
            if code == ENDED_BY_WATCHDOG:
                self.done["ended by its watchdog"] += 1
            elif code is not None:
                self.findings.append(f"{name} ended by itself, with {code}")

    async def settled(self) -> None:
        """Return when every shard is served by a node that runs, and none moves."""
        try:
            async with asyncio.timeout(SETTLE_S):
                while not self._is_settled():
                    await self.membership.changed(self.map.revision, timedelta(seconds=0.2))
        except TimeoutError:
            self.findings.append(f"not settled within {SETTLE_S:g} s: {self.shown()}")

    def _is_settled(self) -> bool:
        seen = self.map
        present = {str(node) for node, one in seen.nodes.items() if not one.draining}
        running = set(self.running)
        return self._is_served() and present == running == set(self._serving()) and not seen.moves

    def shown(self) -> str:
        """Return who is there and who owns what, for a reader."""
        nodes = {str(n): "draining" if r.draining else r.boot for n, r in self.map.nodes.items()}
        owners = {int(s): f"{o.node}/{o.boot}/{o.fence}" for s, o in self.map.owners.items()}
        return f"nodes {nodes}, owners {owners}, moves {list(self.map.moves)}"


@asynccontextmanager
async def staged(folder: Path, **settings: object) -> AsyncGenerator[Stage, None]:
    """Start everything, nodes with these settings too; on leaving, it is killed."""
    with Etcd(folder, members=3) as etcd, Cassandra(folder) as cassandra:
        async with AsyncExitStack() as stack:
            client = EtcdClient(Place(etcd.addresses))
            stack.push_async_callback(client.close)
            settings = {
                **settings,
                "lease_ttl_s": TTL_S,
                "shards": SHARDS,
                "stop_grace_s": 8,
                "journal_patience_s": JOURNAL_PATIENCE_S,
            }
            stores = etcd, cassandra
            members = {
                name: await _member(stack, _made(folder, name, settings), stores) for name in NAMES
            }
            gateway = Gateways(folder, ("gateway",), Stores(etcd.addresses, cassandra.addresses))
            stack.callback(gateway.__exit__, None, None, None)
            membership = await stack.enter_async_context(Membership.open(client, "dataflow"))
            stage = Stage(etcd, cassandra, members, gateway, membership)
            await stage.start(*NAMES)
            await asyncio.to_thread(gateway.start)
            await stage.settled()
            yield stage


def _made(folder: Path, name: str, settings: Mapping[str, object]) -> Callable[..., Nodes]:
    return lambda stores, **own: Nodes(folder, (name,), stores, **settings, **own)


async def _member(
    stack: AsyncExitStack, make: Callable[..., Nodes], stores: tuple[Etcd, Cassandra]
) -> Member:
    async def network(address: str) -> Proxy:
        host, _, port = address.rpartition(":")
        return await stack.enter_async_context(proxy_to(host, int(port)))

    etcd, cassandra = stores
    (listens,) = free_ports(1)
    links: dict[Link, Sequence[Proxy]] = {
        "etcd": [await network(address) for address in etcd.addresses],
        "cassandra": [await network(cassandra.address)],
        "peers": [await network(f"{LOOPBACK}:{listens}")],
    }
    reached = Stores([str(p) for p in links["etcd"]], [str(p) for p in links["cassandra"]])
    program = make(
        reached,
        DATAFLOW_NODE_ADDRESS=str(links["peers"][0]),
        DATAFLOW_NODE_LISTEN=f"{LOOPBACK}:{listens}",
    )
    stack.callback(program.__exit__, None, None, None)
    return Member(program, links)
