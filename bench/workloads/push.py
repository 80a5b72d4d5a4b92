"""Records pushed by a client, each batch acknowledged when it is durable."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import polars as pl
import pyarrow as pa

from bench.report import Row, median
from bench.server import Server, place
from bench.workloads.workload import Ask, Workload
from dataflow.client import Batch, DataFlow
from dataflow.client.records import batch_of

PIPELINE = "pushed"
RECORDS = 3_000_000
BATCH = 10_000
"""Records: 1 MB, as much as the SDK puts into a batch."""

DIFFERENT = 16
"""Batches that are made before the clock starts, and pushed again and again under new ids."""

CONNECTIONS = 4
"""Over HTTP, each with one batch under way."""

TEXT = 68
"""Characters of text that make a record 100 B in memory: 8 + 8 + 8 + 4 for the text's end."""

JSON_TEXT = 34
"""Characters of text that make a record 100 B as a line of JSON."""

SPEC: dict[str, Any] = {
    "pipelineId": PIPELINE,
    "source": {
        "sourceType": "push",
        "options": {
            "schema": {"id": "int64", "time": "int64", "value": "float64", "text": "string"},
            "bufferBytes": 1 << 36,
        },
    },
}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to push."""

    name: str
    batches: Callable[[], Sequence[bytes]]
    push: Callable[[Server, DataFlow, Iterator[bytes]], Awaitable[list[float]]]


def run(ask: Ask) -> list[Row]:
    """Push each way, to a paused pipeline (the log alone) and to a running one."""
    rows = []
    for way in (
        Way("Arrow over gRPC", arrow_batches, over_grpc),
        Way("NDJSON over HTTP", ndjson_batches, over_http),
    ):
        batches = way.batches()
        for state in ("paused", "running"):
            runs = []
            for _ in range(ask.runs):
                runs.append(asyncio.run(_measured(ask.rows, way, batches, state)))
                ask.tell(f"{runs[-1].system}: {runs[-1].rows_per_s:,.0f}/s, {runs[-1].detail}")
            rows.append(median(runs))
    return rows


async def _measured(count: int, way: Way, batches: Sequence[bytes], state: str) -> Row:
    total = max(count // BATCH, 1)
    with place() as here, here.server() as (server, _):
        async with DataFlow(server.grpc) as df:
            sink = {"sinkType": "file", "connectionString": str(here.folder / "out.csv")}
            await df.create({**SPEC, "sink": sink})
            await df.start(PIPELINE)
            if state == "paused":
                await df.pause(PIPELINE)
            cpu_s, started = server.cpu_s(), time.perf_counter()
            latencies = await way.push(server, df, islice(cycle(batches), total))
            seconds, cpu_s = time.perf_counter() - started, server.cpu_s() - cpu_s
            peak = server.peak_rss_mib()
    rows = total * BATCH
    latencies.sort()
    return Row(
        workload="push",
        system=f"dataflow, {way.name}, {state}",
        rows=rows,
        seconds=seconds,
        rows_per_s=rows / seconds,
        cpu_s=cpu_s,
        peak_rss_mib=peak,
        detail=f"a batch of {BATCH:,}: p50 {_at(latencies, 50):.0f} ms,"
        f" p99 {_at(latencies, 99):.0f} ms",
    )


def _at(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1e3


async def over_grpc(_: Server, df: DataFlow, batches: Iterator[bytes]) -> list[float]:
    """Push over one stream; return how long each batch took."""
    began: list[float] = []

    def source() -> Iterator[Batch]:
        for records in batches:
            began.append(time.perf_counter())
            yield Batch(records, "application/vnd.apache.arrow.stream")

    latencies: list[float] = []
    async for answer in df.push_many(PIPELINE, source()):
        _check(answer.records)
        latencies.append(time.perf_counter() - began[len(latencies)])
    return latencies


async def over_http(server: Server, _: DataFlow, batches: Iterator[bytes]) -> list[float]:
    """Push over a few connections that are kept; return how long each batch took."""
    latencies: list[float] = []
    numbered = enumerate(batches)

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        for number, body in numbered:
            started = time.perf_counter()
            head = (
                f"POST /api/v1/pipelines/{PIPELINE}/batches?batchId=batch-{number} HTTP/1.1\r\n"
                f"host: 127.0.0.1:{server.http_port}\r\ncontent-type: application/x-ndjson\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode())
            writer.write(body)
            _check(json.loads(await _answer(reader))["records"])
            latencies.append(time.perf_counter() - started)
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as tasks:
        for _number in range(CONNECTIONS):
            tasks.create_task(caller())
    return latencies


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body of an answer that says how long it is, as this server's do."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    if not head.startswith("http/1.1 200"):
        raise RuntimeError(f"{head.splitlines()[0]}: {body.decode()}")
    return body


def _check(records: int) -> None:
    if records != BATCH:
        raise RuntimeError(f"{records} records were acknowledged, not {BATCH}")


def arrow_batches() -> list[bytes]:
    """Return different batches as Arrow streams, 100 B a record."""
    return [
        batch_of(pa.Table.from_batches(_records(number, TEXT).to_arrow().to_batches()), "").records
        for number in range(DIFFERENT)
    ]


def ndjson_batches() -> list[bytes]:
    """Return different batches as NDJSON, 100 B a record."""
    return [_records(number, JSON_TEXT).write_ndjson().encode() for number in range(DIFFERENT)]


def _records(number: int, text: int) -> pl.DataFrame:
    first = 1_000_000 + number * BATCH
    ids = pl.int_range(first, first + BATCH, dtype=pl.Int64, eager=True).alias("id")
    letters = (ids * 7_919 % 999_983).cast(pl.String).str.zfill(6)
    return pl.DataFrame(
        {
            "id": ids,
            "time": ids + 1_700_000_000,
            "value": (ids % 1_000).cast(pl.Float64) + 0.25,
            "text": letters + pl.Series(["x" * (text - 6)]),
        }
    )


WORKLOAD = Workload(
    "push",
    "records of 100 B, each batch durable before it is acknowledged",
    RECORDS,
    run,
)
