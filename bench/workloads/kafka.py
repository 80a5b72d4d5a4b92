"""Kafka in, Kafka out: filter half, compute a field, exactly once, a transaction a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.peers import environment
from bench.peers.environment import Taken
from bench.report import Row, compared, median
from bench.server import Place, Server, place
from bench.workloads.workload import Ask, Workload, completed
from dataflow.client import DataFlow
from deploy.stack.kafka import Kafka

RECORDS = 2_500_000
PARTITIONS = 4
SOURCE = "orders"
AT_ONCE = 10_000
ANSWER_S = 60.0
WARM_UP_RECORDS = 1_000
"""Pass before the clock starts, as in the workloads over files."""

PEERS = ("confluent", "streams", "quix")


def run(ask: Ask) -> list[Row]:
    """Measure the platform and each peer in turn, over the same topic."""
    measured: dict[str, list[Row]] = {"dataflow": [], **{peer: [] for peer in ask.peers}}
    with place() as here, Kafka(here.folder / "kafka") as kafka:
        make(kafka.address, SOURCE)
        make(kafka.address, "warm-up")
        fill(kafka.address, SOURCE, _records(ask.rows))
        fill(kafka.address, "warm-up", _records(WARM_UP_RECORDS))
        numbers = count(1)
        for _ in range(ask.runs):
            for system, runs in measured.items():
                target = f"{system}-{next(numbers)}"
                make(kafka.address, target)
                runs.append(_measured(system, here, (kafka.address, target), ask.rows))
                check_count(kafka.address, target, (ask.rows + 1) // 2)
                ask.tell(f"{system}: {runs[-1].rows_per_s:,.0f} records/s")
    ours, *peers = (median(runs) for runs in measured.values())
    return compared(ours, peers)


def _measured(system: str, here: Place, where: tuple[str, str], records: int) -> Row:
    if system == "dataflow":
        taken = _ours(here, *where)
    else:
        brokers, target = where
        taken = environment.run(system, brokers, SOURCE, target, f"{records}")
    return Row(
        workload=WORKLOAD.name,
        system=system,
        rows=records,
        seconds=taken.seconds,
        rows_per_s=records / taken.seconds,
        cpu_s=taken.cpu_s,
        peak_rss_mib=taken.peak_rss_mib,
    )


def _ours(here: Place, brokers: str, target: str) -> Taken:
    with here.server() as (server, _):
        asyncio.run(_work(server, brokers, "warm-up", f"{target}-warm"))
        seconds, cpu_s = asyncio.run(_work(server, brokers, SOURCE, target))
        return Taken(seconds, cpu_s, server.peak_rss_mib())


async def _work(server: Server, brokers: str, source: str, target: str) -> tuple[float, float]:
    """Let a server do the work once; return seconds from start to completed, and its CPU time."""
    async with DataFlow(server.grpc) as df:
        await df.create(_pipeline(target, brokers, source))
        created = (await df.get(target)).sequence
        cpu_s, started = server.cpu_s(), time.perf_counter()
        await df.start(target)
        await completed(df, target, created)
        return time.perf_counter() - started, server.cpu_s() - cpu_s


def _pipeline(target: str, brokers: str, source: str) -> dict[str, Any]:
    return {
        "pipelineId": target,
        "name": "Every second order",
        "source": {
            "sourceType": "kafka",
            "connectionString": brokers,
            "options": {"topics": [source], "stopAtEnd": True},
        },
        "transforms": [
            {"transformType": "filter", "options": {"expression": "id % 2 = 0"}},
            {"transformType": "map", "options": {"compute": {"total": "price * quantity"}}},
        ],
        "sink": {
            "sinkType": "kafka",
            "connectionString": brokers,
            "options": {"topic": target, "createTopic": {"partitions": PARTITIONS}},
        },
        "options": {"checkpointInterval": "1s"},
    }


def make(brokers: str, topic: str) -> None:
    """Make a topic of four partitions."""
    making = AdminClient({"bootstrap.servers": brokers})
    making.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(ANSWER_S)


def _records(number: int) -> Iterator[dict[str, bytes]]:
    """Yield records of some 120 bytes."""
    for i in range(number):
        yield {
            "value": b'{"id":%d,"customer":"customer-%06d","country":"DE","price":%d.5,'
            b'"quantity":%d,"note":"as ordered by phone"}' % (i, i % 100_000, i % 900, i % 9 + 1)
        }


def fill(brokers: str, topic: str, records: Iterator[dict[str, bytes]]) -> None:
    """Put records into a topic, evenly."""
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    while given := [one for _, one in zip(range(AT_ONCE), records, strict=False)]:
        while given:
            producer.produce_batch(topic, given)
            given = [{"value": one["value"]} for one in given if "_error" in one]
            producer.poll(0.1 if given else 0)
    producer.flush(ANSWER_S)


def check_count(brokers: str, topic: str, expected: int) -> None:
    """Count what a reader of committed records sees.

    Raises:
        RuntimeError: it is another number than expected.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "check",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found, ends_s = 0, time.monotonic() + ANSWER_S
    while found < expected and time.monotonic() < ends_s:
        found += len(consumer.consume(AT_ONCE, 0.5))
    found += len(consumer.consume(AT_ONCE, 1.0))
    consumer.close()
    if found != expected:
        raise RuntimeError(f"{topic} holds {found} records, not {expected}")


WORKLOAD = Workload(
    "kafka_to_kafka",
    "Kafka to Kafka, half filtered, a computed field, exactly once, a transaction a second",
    RECORDS,
    run,
    PEERS,
)
