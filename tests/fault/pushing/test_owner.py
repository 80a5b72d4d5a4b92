"""A batch that was acknowledged is written once, whatever happens to the owner of its pipeline.

Senders push through any program of the cluster, and again under the same id until they are
answered, while owners are killed, frozen past their leases, and started again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import httpx
import pytest

from deploy.stack.nodes import Gateways, Nodes, Stores
from tests.databases import Database
from tests.fault.cluster.asking import Asking, Document
from tests.fault.connectors.lives import differences
from tests.integration.connectors.kafka.places import messages, new_topic, values

NAMES = ("a", "b", "c")
SENDERS = 4
ROWS = 20
"""Of each batch."""

SETTLE_S = 90.0
PIPELINES = ("file", "table", "topic")
"""By where their rows go."""

SPEC: Document = {
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

    async def owner(self, pipeline: str) -> str:
        """Return the node that owns a pipeline."""
        return str((await self.asking.ask("GET", path_of(pipeline))).body["owner"])

    async def kill(self, pipeline: str) -> None:
        """End an owner as a power cut does, and start it again once another has taken over."""
        name = await self.owner(pipeline)
        self.away.add(name)
        await asyncio.to_thread(self.nodes[name].kill)
        await self.until_replaced(name, pipeline)
        await asyncio.to_thread(self.nodes[name].start)
        self.away.discard(name)

    async def freeze(self, pipeline: str) -> None:
        """Freeze an owner until another owns the pipeline; it wakes and believes it still does."""
        name = await self.owner(pipeline)
        await asyncio.to_thread(self.nodes[name].pause)
        await self.until_replaced(name, pipeline)
        await asyncio.sleep(1)
        self.nodes[name].resume()

    async def until_replaced(self, name: str, pipeline: str) -> None:
        """Return when another node owns a pipeline."""
        async with asyncio.timeout(SETTLE_S):
            while await self.owner(pipeline) == name:  # noqa: ASYNC110 - other processes bring it about
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
            for pipeline in PIPELINES:
                answer = await self.asking.ask(
                    "POST", f"{path_of(pipeline)}/batches", {"batchId": batch, "records": rows}
                )
                assert answer.is_accepted, answer
            self.acknowledged.add(batch)

    async def until_more(self) -> None:
        """Return when some more have been acknowledged."""
        more = len(self.acknowledged) + 20
        await until(lambda: len(self.acknowledged) >= more)


async def test_no_acknowledged_batch_is_lost_or_written_twice(
    stores: Stores, kafka: str, database: Database, tmp_path: Path
) -> None:
    """The promise of a push pipeline in a cluster, with an owner killed, frozen, and killed."""
    ends = Ends(tmp_path / "out.jsonl", database, kafka, new_topic(kafka))
    async with opened(tmp_path / "nodes", stores, kafka) as cluster:
        asking, senders = cluster.asking, Senders(cluster.asking)
        for name, sink in ends.sinks().items():
            spec = {"pipelineId": name, **SPEC, "sink": sink}
            created = await asking.ask("POST", "/pipelines", spec, f"create-{name}")
            assert created.is_accepted, created
            started = await asking.ask("POST", f"{path_of(name)}/start", {}, f"start-{name}")
            assert started.is_accepted
        async with asyncio.TaskGroup() as tasks:
            for sender in range(SENDERS):
                tasks.create_task(senders.send(sender))
            faults = (cluster.kill, cluster.freeze, cluster.kill)
            for fault, pipeline in zip(faults, ("file", "topic", "table"), strict=True):
                await senders.until_more()
                await fault(pipeline)
                await senders.until_more()
            senders.over.set()
        rows = len(senders.acknowledged) * ROWS
        for name in PIPELINES:
            await until(partial(ends.have, name, rows))
            assert (
                await asking.ask("POST", f"{path_of(name)}/stop", {}, f"stop-{name}")
            ).is_accepted
            assert judged(ends.found(name), senders.acknowledged) == [], name
        events = (await asking.ask("GET", f"{path_of('file')}/events?pageSize=500")).body["events"]
        await until(lambda: events[-1] in published(kafka, topic_of(stores)))
        assert first_times(published(kafka, topic_of(stores))) == events
        assert not asking.odd


@dataclass(frozen=True)
class Ends:
    """Where the rows of each pipeline go, and what another client finds there."""

    file: Path
    database: Database
    broker: str
    topic: str

    def __post_init__(self) -> None:
        self.database.execute("CREATE TABLE rows (batch text, n bigint)")

    def sinks(self) -> Mapping[str, Document]:
        """Return the sinks by their pipelines."""
        table, topic = {"table": "rows"}, {"topic": self.topic, "idPrefix": self.topic}
        file = {"shared": True}
        return {
            "file": {"sinkType": "file", "connectionString": f"{self.file}", "options": file},
            "table": {
                "sinkType": "postgres",
                "connectionString": self.database.url,
                "options": table,
            },
            "topic": {"sinkType": "kafka", "connectionString": self.broker, "options": topic},
        }

    def have(self, pipeline: str, rows: int) -> bool:
        """Tell whether so many rows of a pipeline are there."""
        return len(self.found(pipeline)) >= rows

    def found(self, pipeline: str) -> list[tuple[str, int]]:
        """Return the rows of a pipeline that readers see."""
        if pipeline == "table":
            return [(f"{batch}", n) for batch, n in self.database.witnessed("TABLE rows")]
        if pipeline == "topic":
            return [(row["batch"], row["n"]) for row in values(self.broker, self.topic)]
        if not self.file.exists():
            return []
        whole = self.file.read_text().rpartition("\n")[0]
        return [(row["batch"], row["n"]) for row in map(json.loads, whole.splitlines())]


def judged(rows: Iterable[tuple[str, int]], acknowledged: set[str]) -> Sequence[str]:
    """Tell what is wrong with rows: those of each batch are there, and once."""
    return differences(rows, ((batch, n) for batch in acknowledged for n in range(ROWS)))


def path_of(pipeline: str) -> str:
    """Return where a pipeline is asked for."""
    return f"/pipelines/{pipeline}"


def topic_of(stores: Stores) -> str:
    """Return where the cluster publishes its events."""
    return f"{stores.cluster}-events"


def published(kafka: str, topic: str) -> list[Document]:
    """Return the events of the first pipeline that readers of the bus see, in order."""
    found = messages(kafka, topic)
    return [json.loads(one.value() or b"") for one in found if one.key() == b"file"]


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
