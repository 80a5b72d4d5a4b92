"""A batch that was acknowledged is written once, whatever happens to the owner of its pipeline.

Senders push through any program of the cluster, and again under the same id until they are
answered, while owners are killed, frozen past their leases, and started again.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import pytest

from deploy.stack.nodes import Gateways, Nodes, Stores
from tests.fault.cluster.asking import Asking, Document
from tests.integration.connectors.kafka.places import messages

NAMES = ("a", "b", "c")
SENDERS = 4
ROWS = 20
"""Of each batch."""

SETTLE_S = 90.0
PATH = "/pipelines/orders"

SPEC: Document = {
    "pipelineId": "orders",
    "source": {"sourceType": "push", "options": {"schema": {"batch": "string", "n": "int64"}}},
    "options": {
        "checkpointInterval": "200ms",
        "maxAttempts": 10_000,
        "backoffInitial": "50ms",
        "backoffMax": "500ms",
    },
}

pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """Three nodes and a gateway, each of which is asked."""

    nodes: dict[str, Nodes]
    gateway: Gateways
    asking: Asking
    away: set[str] = field(default_factory=set)

    async def owner(self) -> str:
        """Return the node that owns the pipeline."""
        return str((await self.asking.ask("GET", PATH)).body["owner"])

    async def kill(self, name: str) -> None:
        """End a node as a power cut does, and start it again once another has taken over."""
        self.away.add(name)
        await asyncio.to_thread(self.nodes[name].kill)
        await self.until_replaced(name)
        await asyncio.to_thread(self.nodes[name].start)
        self.away.discard(name)

    async def freeze(self, name: str) -> None:
        """Freeze a node until another owns the pipeline; it wakes as one that believes it does."""
        await asyncio.to_thread(self.nodes[name].pause)
        await self.until_replaced(name)
        await asyncio.sleep(1)
        self.nodes[name].resume()

    async def until_replaced(self, name: str) -> None:
        """Return when another node owns the pipeline."""
        async with asyncio.timeout(SETTLE_S):
            while await self.owner() == name:  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.1)


@asynccontextmanager
async def opened(folder: Path, stores: Stores, kafka: str) -> AsyncGenerator[Cluster, None]:
    """Start everything; on leaving, it is killed."""
    settings = {
        "kafka_brokers": kafka,
        "events_topic": topic_of(stores),
        "shards": 6,
        "lease_ttl_s": 2,
        "stop_grace_s": 5,
    }
    nodes = {name: Nodes(folder, (name,), stores, **settings) for name in NAMES}
    gateway = Gateways(folder, ("gateway",), stores, kafka_brokers=kafka)
    try:
        for one in nodes.values():  # The first alone: it begins what ends them with this process.
            await asyncio.to_thread(one.start)
        await asyncio.to_thread(gateway.start)
        async with httpx.AsyncClient(trust_env=False) as http:
            cluster: Cluster

            def addresses() -> list[str]:
                there = [one for name, one in nodes.items() if name not in cluster.away]
                return [f"http://{one.http()}" for one in (gateway, *there)]

            cluster = Cluster(nodes, gateway, Asking(addresses, Random(7), http))
            yield cluster
    finally:
        for program in (*nodes.values(), gateway):
            program.__exit__(None, None, None)


@pytest.fixture
def stores(etcd: str, cassandra: str, keyspace_name: str) -> Stores:
    """Return a cluster of this process's own on the machine's servers."""
    return Stores([etcd], [cassandra], keyspace_name)


@dataclass
class Senders:
    """Push batches until told to end; each is pushed until it is acknowledged."""

    asking: Asking
    acknowledged: set[str] = field(default_factory=set)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, sender: int) -> None:
        """Push one batch after the other."""
        number = 0
        while not self.over.is_set():
            batch, number = f"{sender}-{number}", number + 1
            rows = [{"batch": batch, "n": n} for n in range(ROWS)]
            answer = await self.asking.ask(
                "POST", f"{PATH}/batches", {"batchId": batch, "records": rows}
            )
            assert answer.is_accepted, answer
            self.acknowledged.add(batch)

    async def until_more(self) -> None:
        """Return when some more have been acknowledged."""
        more = len(self.acknowledged) + 20
        await until(lambda: len(self.acknowledged) >= more)


async def test_no_acknowledged_batch_is_lost_or_written_twice(
    stores: Stores, kafka: str, tmp_path: Path
) -> None:
    """The promise of a push pipeline in a cluster, with an owner killed, frozen, and killed."""
    out = tmp_path / "out.jsonl"
    sink = {"sinkType": "file", "connectionString": str(out), "options": {"shared": True}}
    async with opened(tmp_path / "nodes", stores, kafka) as cluster:
        asking, senders = cluster.asking, Senders(cluster.asking)
        created = await asking.ask("POST", "/pipelines", {**SPEC, "sink": sink}, "create")
        assert created.is_accepted, created
        assert (await asking.ask("POST", f"{PATH}/start", {}, "start")).is_accepted
        async with asyncio.TaskGroup() as tasks:
            for sender in range(SENDERS):
                tasks.create_task(senders.send(sender))
            for fault in (cluster.kill, cluster.freeze, cluster.kill):
                await senders.until_more()
                await fault(await cluster.owner())
                await senders.until_more()
            senders.over.set()
        rows = len(senders.acknowledged) * ROWS
        await until(lambda: out.exists() and out.read_bytes().count(b"\n") >= rows)
        assert (await asking.ask("POST", f"{PATH}/stop", {}, "stop")).is_accepted
        assert judged(out, senders.acknowledged) == []
        events = (await asking.ask("GET", f"{PATH}/events?pageSize=500")).body["events"]
        await until(lambda: events[-1] in published(kafka, topic_of(stores)))
        assert first_times(published(kafka, topic_of(stores))) == events
        assert not asking.odd


def judged(out: Path, acknowledged: set[str]) -> list[str]:
    """Tell what is wrong with a file: the rows of each batch are there, and once."""
    lines = map(json.loads, out.read_text().splitlines())
    found = Counter((row["batch"], row["n"]) for row in lines)
    wanted = {(batch, n) for batch in acknowledged for n in range(ROWS)}
    twice = {row for row, count in found.items() if count > 1}
    kinds = {"lost": wanted - found.keys(), "twice": twice, "unasked": found.keys() - wanted}
    return [f"{kind}: {len(rows)}, {sorted(rows)[:3]}" for kind, rows in kinds.items() if rows]


def topic_of(stores: Stores) -> str:
    """Return where the cluster publishes its events."""
    return f"{stores.cluster}-events"


def published(kafka: str, topic: str) -> list[Document]:
    """Return the events of the pipeline that readers of the bus see, in order."""
    found = messages(kafka, topic)
    return [json.loads(one.value() or b"") for one in found if one.key() == b"orders"]


def first_times(events: list[Document]) -> list[Document]:
    """Return events without those that a reader has seen before, by their numbers."""
    seen: list[Document] = []
    for event in events:
        if not seen or event["sequence"] > seen[-1]["sequence"]:
            seen.append(event)
    return seen


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds."""
    async with asyncio.timeout(SETTLE_S):
        while not holds():  # noqa: ASYNC110 - other processes bring it about
            await asyncio.sleep(0.1)
