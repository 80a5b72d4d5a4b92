"""A cluster of real processes to measure: etcd, Cassandra, nodes; and what can be seen of it."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Cluster as Driver
from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from dataflow.client import DataFlow
from dataflow.client.messages import Command
from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination.etcd.client import Etcd as EtcdClient
from dataflow.cluster.coordination.etcd.place import Patience, Place
from dataflow.cluster.membership import Membership
from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import NodeId, PipelineId, Run, ShardId, shard_of
from deploy.stack.cassandra import Cassandra
from deploy.stack.etcd import Etcd
from deploy.stack.nodes import Nodes, Stores

NODES = ("node-1", "node-2", "node-3")

ETCD_MEMBERS = 3

LEASE_TTL_S = 3

SETTLE_S_MAX = 180
"""Ten times what balancing a thousand shards took on two idle cores."""

POLL_S = 0.25
"""Between looks at what is measured in seconds."""


@dataclass(frozen=True, slots=True)
class Bed:
    """The running cluster."""

    folder: Path
    etcd: Etcd
    cassandra: Cassandra
    stores: Stores
    nodes: Nodes
    shards: int

    def etcd_leader(self) -> int:
        """Return which member of etcd leads.

        Raises:
            RuntimeError: none says that it does.
        """
        for member, address in enumerate(self.etcd.addresses):
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                if "\netcd_server_is_leader 1" in answer.read().decode():
                    return member
        raise RuntimeError("no member of etcd leads")


@contextmanager
def cluster(folder: Path, shards: int) -> Iterator[Bed]:
    """Return three ready nodes over three members of etcd and one Cassandra."""
    with (
        Etcd(folder / "etcd", members=ETCD_MEMBERS) as etcd,
        Cassandra(folder / "cassandra") as cassandra,
    ):
        stores = Stores(etcd.addresses, cassandra.addresses)
        with started(folder, NODES, stores, shards) as nodes:
            yield Bed(folder, etcd, cassandra, stores, nodes, shards)


def started(folder: Path, names: Sequence[str], stores: Stores, shards: int) -> Nodes:
    """Return nodes as all are here, which start with their context."""
    return Nodes(folder, names, stores, lease_ttl_s=LEASE_TTL_S, shards=shards)


@asynccontextmanager
async def seen(bed: Bed) -> AsyncGenerator[Membership, None]:
    """Return the cluster as its keys in etcd tell it."""
    client = EtcdClient(Place(bed.etcd.addresses), Patience())
    try:
        async with Membership.open(client, bed.stores.cluster) as membership:
            yield membership
    finally:
        await client.close()


async def until(
    membership: Membership, holds: Callable[[ClusterMap], bool], what: str
) -> ClusterMap:
    """Return the first map for which something holds.

    Raises:
        TimeoutError: it does not in good time; says what.
    """
    try:
        async with asyncio.timeout(SETTLE_S_MAX):
            while not holds(found := membership.map):
                await membership.changed(found.revision)
            return found
    except TimeoutError:
        owners = Counter(owner.node for owner in membership.map.owners.values())
        raise TimeoutError(f"{what}: not after {SETTLE_S_MAX} s; owners: {owners}") from None


def is_settled(found: ClusterMap, nodes: Collection[str]) -> bool:
    """Tell whether exactly these nodes are there, and serve every shard where it should be."""
    target = found.target()
    return (
        set(found.nodes) == set(nodes)
        and len(target) == len(found.owners)
        and all(o.is_serving and target[s] == o.node for s, o in found.owners.items())
    )


def owned_by(found: ClusterMap, node: str) -> set[ShardId]:
    """Return the shards of a node."""
    return {shard for shard, owner in found.owners.items() if owner.node == NodeId(node)}


class Registers:
    """What is decided, read from the store itself: nothing that was killed is asked for it.

    Every write to a shard's registers raises its tick, so a shard is read again only when that has
    moved: reading all of them ten times a second took more of Cassandra than the pipelines did.
    """

    def __init__(self, bed: Bed) -> None:
        host, _, port = bed.cassandra.address.rpartition(":")
        self._driver = Driver(
            [host], port=int(port), sockopts=[(IPPROTO_TCP, TCP_NODELAY, 1)], protocol_version=5
        )
        self._session: Session = self._driver.connect(bed.stores.cluster)
        self._ticks = self._prepared("SELECT DISTINCT shard, tick FROM decisions WHERE shard = ?")
        self._stamps = self._prepared("SELECT pipeline, run, number FROM decisions WHERE shard = ?")
        self._seen: dict[ShardId, int] = {}

    def _prepared(self, text: str) -> PreparedStatement:
        statement = self._session.prepare(text)
        statement.consistency_level = ConsistencyLevel.ONE
        return statement

    def stamps(self, shards: Collection[ShardId]) -> Mapping[PipelineId, Stamp]:
        """Return the latest decision of every pipeline of some shards."""
        return {
            PipelineId(row.pipeline): Stamp(Run(row.run), row.number)
            for row in self._rows(self._stamps, shards)
            if row.run is not None
        }

    def news(self, shards: Collection[ShardId]) -> Mapping[PipelineId, Stamp]:
        """Return the same of those shards in which something was decided since the last call."""
        ticks = {ShardId(row.shard): row.tick for row in self._rows(self._ticks, shards)}
        moved = {shard for shard, tick in ticks.items() if self._seen.get(shard) != tick}
        self._seen |= ticks  # BEFORE the rows are read: what is written meanwhile is seen again.
        return self.stamps(moved)

    def _rows(self, statement: PreparedStatement, shards: Collection[ShardId]) -> Iterator[Any]:
        asked = [self._session.execute_async(statement, (shard,)) for shard in shards]
        return (row for one in asked for row in one.result())

    def close(self) -> None:
        """Close the connections."""
        self._driver.shutdown()


async def decided_s(
    registers: Registers, shards: int, before: Mapping[PipelineId, Stamp], since: float
) -> Mapping[PipelineId, float]:
    """Wait until every pipeline has decided in a new run; return when each was seen to have.

    A run first stamps the register with itself and the number that it found there: that is no
    decision yet.

    Raises:
        TimeoutError: some did not in good time; says how many.
    """
    took: dict[PipelineId, float] = {}
    while left := before.keys() - took.keys():
        if time.monotonic() - since > SETTLE_S_MAX:
            raise TimeoutError(f"{len(left)} pipelines did not decide: {sorted(left)[:3]}, …")
        now = await asyncio.to_thread(registers.news, {shard_of(p, shards) for p in left})
        at = time.monotonic() - since
        for pipeline in left:
            stamp = now.get(pipeline, Stamp())
            if stamp.run > before[pipeline].run and stamp.number > before[pipeline].number:
                took[pipeline] = at
        await asyncio.sleep(POLL_S)
    return took


async def execute(address: str, commands: Sequence[Command]) -> None:
    """Have commands carried out in bulk.

    Raises:
        RuntimeError: one was refused.
    """
    async with DataFlow(address) as df:
        async for answer in df.execute(iter(commands)):
            if answer.HasField("refusal"):
                raise RuntimeError(answer.refusal.message)
