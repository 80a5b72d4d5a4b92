"""Durable appends a second to the journal in Cassandra, by shards and by events an append."""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.report import Row, median
from bench.workloads.workload import Ask, Workload
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra import Cassandra, Options
from dataflow.journal.contract import AppendId, Held, Nonce, Record, link
from deploy.stack import Cassandra as Server

EVENTS = 50_000
SECONDS_MAX = 5.0
"""Of one cell of the table."""

SHARDS = (1, 16, 32, 64)
EVENTS_AN_APPEND = (1, 16, 64)

PIPELINES = 16
"""Of one shard: 1,000 in all of 64."""

PAYLOAD = bytes(range(256)) + bytes(94)
"""350 B: an event of the peers' size."""

WARM_UP_S = 5.0
"""The server compiles what it does often."""

P50, P99 = 49, 98
"""In the list of 99 cut points."""

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def run(ask: Ask) -> list[Row]:
    """Append to so many shards at once, one append under way in each."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        cells = [(shards, events) for shards in SHARDS for events in EVENTS_AN_APPEND]
        uvloop.run(_cell(server.address, (64, 16), ask.rows, WARM_UP_S))
        measured = []
        for shards, events in cells:
            runs = [
                uvloop.run(_cell(server.address, (shards, events), ask.rows, SECONDS_MAX))
                for _ in range(ask.runs)
            ]
            measured.append(median(runs))
            ask.tell(f"{measured[-1].system}: {measured[-1].detail}")
    return measured


async def _cell(address: str, size: tuple[int, int], rows: int, seconds_max: float) -> Row:
    shards, events = size
    journal = await Cassandra.open(Options([address], "bench"))
    try:
        claims = [
            await journal.acquire(ShardId(shard), Nonce(f"{time.time_ns()}"))
            for shard in range(shards)
        ]
        latencies: list[float] = []
        cpu_s, started = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for claim in claims:
                group.create_task(
                    _writer(journal, claim, size, (rows, started + seconds_max, latencies))
                )
        seconds = time.perf_counter() - started
        cpu_s = time.process_time() - cpu_s
    finally:
        await journal.close()
    cuts = statistics.quantiles([took * 1e3 for took in latencies], n=100, method="inclusive")
    done = len(latencies) * events
    return Row(
        workload="journal",
        system=f"Cassandra, {events} events on each of {shards} shards",
        rows=done,
        seconds=seconds,
        rows_per_s=done / seconds,
        cpu_s=cpu_s,
        peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        detail=(
            f"{len(latencies) / seconds:,.0f} appends/s, p50 {cuts[P50]:.1f} ms,"
            f" p99 {cuts[P99]:.1f} ms"
        ),
    )


async def _writer(
    journal: Cassandra, claim: Held, size: tuple[int, int], until: tuple[int, float, list[float]]
) -> None:
    """Append to one shard, one append after the other."""
    events = size[1]
    rows, deadline, latencies = until
    numbers = [0] * PIPELINES
    while len(latencies) * events < rows and time.perf_counter() < deadline:
        records = _records(claim, events, numbers)
        began = time.perf_counter()
        claim = await journal.append(claim, records, AppendId(f"{claim.fence}-{claim.offset}"))
        latencies.append(time.perf_counter() - began)


def _records(claim: Held, events: int, numbers: list[int]) -> Sequence[Record]:
    head, made = claim.head, []
    for offset in range(claim.offset + 1, claim.offset + 1 + events):
        which = offset % PIPELINES
        numbers[which] += 1
        head = link(head, Offset(offset), PAYLOAD)
        made.append(
            Record(
                offset=Offset(offset),
                pipeline=PipelineId(f"pipeline-{claim.shard}-{which}"),
                sequence=SequenceNumber(numbers[which]),
                type="ConfigUpdated",
                time=NOW,
                actor="bench",
                command_id=CommandId(f"update-{offset}"),
                payload=PAYLOAD,
                hash=head,
            )
        )
    return made


WORKLOAD = Workload(
    "journal",
    "durable appends to the journal in Cassandra, by shards and events an append",
    EVENTS,
    run,
    runs=1,
)
