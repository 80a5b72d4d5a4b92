"""Memory is bounded by configuration, however much waits in a topic for a slow sink."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

from bench.report import Row
from bench.server import Place, place
from bench.workloads.kafka import fill, make
from bench.workloads.workload import Ask, Workload
from dataflow.client import DataFlow
from dataflow.v1 import event_pb2 as pb
from deploy.stack.kafka import Kafka

RECORDS = 1_000_000
RECORD_BYTES = 10_000
TOPIC = "backlog"
WATCHED_S = 45.0
"""Longer than the channels take to fill: from then on the sink is what everything waits for."""

PADS = 64
"""Different paddings: what the broker sends is as large on the wire as on disk."""


def run(ask: Ask) -> list[Row]:
    """Read a hundredth and all of it, a server with a worker process each."""
    rows = []
    with place() as here, Kafka(here.folder / "kafka") as kafka:
        for count in (ask.rows // 100, ask.rows):
            topic = f"{TOPIC}-{count}"
            make(kafka.address, topic)
            fill(kafka.address, topic, _records(count))
            written, seconds, server_mib, worker_mib = _watched(here, kafka.address, topic)
            row = Row(
                workload=WORKLOAD.name,
                system=f"dataflow, {count * RECORD_BYTES / 1e6:,.0f} MB wait",
                rows=count,
                seconds=seconds,
                rows_per_s=written / seconds,
                peak_rss_mib=server_mib + worker_mib,
                detail=f"{written:,} written; worker {worker_mib:.0f} MiB, server {server_mib:.0f}",
            )
            ask.tell(f"{row.system}: {row.detail}")
            rows.append(row)
    return rows


def _watched(here: Place, brokers: str, topic: str) -> tuple[int, float, float, float]:
    """Return records written, seconds, and the most that server and worker have held."""
    with here.server({"DATAFLOW_WORKERS": "1"}) as (server, _):
        written, seconds = asyncio.run(_work(server.grpc, here, brokers, topic))
        own = server.peak_rss_mib()
        return written, seconds, own, server.whole_rss_mib() - own


async def _work(grpc: str, here: Place, brokers: str, topic: str) -> tuple[int, float]:
    """Let it work until it has read everything, or for as long as it is watched."""
    loop = asyncio.get_running_loop()
    async with DataFlow(grpc) as df:
        await df.create(_pipeline(topic, brokers, f"{here.folder}/{topic}"))
        began = loop.time()
        await df.start(topic)
        while loop.time() - began < WATCHED_S:
            await asyncio.sleep(0.1)
            if (await df.get(topic)).status != pb.STATUS_RUNNING:
                break
        seconds = loop.time() - began
        return (await df.metrics(topic)).ledger.records_written, seconds


def _pipeline(topic: str, brokers: str, folder: str) -> dict[str, Any]:
    return {
        "pipelineId": topic,
        "source": {
            "sourceType": "kafka",
            "connectionString": brokers,
            "options": {"topics": [topic], "stopAtEnd": True},
        },
        "sink": {
            "sinkType": "file",
            "connectionString": folder,
            "options": {"format": "json", "compression": "gzip"},
        },
    }


def _records(number: int) -> Iterator[dict[str, bytes]]:
    """Yield records of 10 KB that hardly compress."""
    some = random.Random(1)
    pads = [some.randbytes(RECORD_BYTES // 2 - 20).hex().encode() for _ in range(PADS)]
    for i in range(number):
        yield {"value": b'{"id":%d,"pad":"%s"}' % (i, pads[i % PADS])}


WORKLOAD = Workload(
    "kafka_backlog",
    "peak memory while a slow sink takes what waits in a topic",
    RECORDS,
    run,
    runs=1,
)
