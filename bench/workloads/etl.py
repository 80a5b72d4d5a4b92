"""Files in, files out: filter and computed column, exactly once, through the real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.data import orders
from bench.peers import environment
from bench.report import Row, compared, median
from bench.server import Place, Server, place
from bench.workloads.same import check_same
from bench.workloads.workload import Ask, Workload, completed, file_pipeline
from dataflow.client import DataFlow

PIPELINE = "orders"

WARM_UP_ROWS = 1_000
"""Pass before the clock starts: a server loads Arrow and Polars once, with its first pipeline.
The peers' clocks start after their imports, too."""
Suffix = Literal["csv", "ndjson"]

FEWER_ROWS: Mapping[str, int] = {"bytewax": 10, "bytewax_orjson": 10, "orjson": 4}
"""Peers that get a fraction of the rows: their rates don't depend on how many there are."""


def run(suffix: Suffix, ask: Ask) -> list[Row]:
    """Measure the platform and each peer in turn, and again: a busy minute hits all of them."""
    workload = f"{suffix}_etl"
    measured: dict[str, list[Row]] = {"dataflow": [], **{peer: [] for peer in ask.peers}}
    for number in range(ask.runs):
        with place() as here:
            done = here.folder / f"dataflow.{suffix}"
            _run(ask, measured, partial(_ours, workload, orders(ask.rows, suffix), done, here))
            for peer in ask.peers:
                rows = ask.rows // FEWER_ROWS.get(peer, 1)
                source, target = orders(rows, suffix), here.folder / f"{peer}.{suffix}"
                _run(ask, measured, partial(_theirs, workload, peer, rows, (source, target)))
                if number == 0:
                    check_same(done, target, rows, is_whole=rows == ask.rows)
    ours, *peers = (median(runs) for runs in measured.values())
    return compared(ours, peers)


def _run(ask: Ask, measured: dict[str, list[Row]], measure: Callable[[], Row]) -> None:
    row = measure()
    ask.tell(f"{row.system}: {row.rows_per_s:,.0f} rows/s")
    measured[row.system].append(row)


def _ours(workload: str, source: Path, target: Path, here: Place) -> Row:
    rows = int(source.stem.rpartition("-")[2])
    with here.server() as (server, _):
        warm_up = orders(WARM_UP_ROWS, "csv"), here.folder / "warm-up.csv"
        asyncio.run(work(server, "warm-up", *warm_up))
        seconds, cpu_s = asyncio.run(work(server, PIPELINE, source, target))
        return Row(
            workload=workload,
            system="dataflow",
            rows=rows,
            seconds=seconds,
            rows_per_s=rows / seconds,
            cpu_s=cpu_s,
            peak_rss_mib=server.peak_rss_mib(),
        )


async def work(server: Server, name: str, source: Path, target: Path) -> tuple[float, float]:
    """Let a server do the work once; return seconds from start to completed, and its CPU time."""
    return await driven(server, file_pipeline(name, str(source), str(target)))


async def driven(server: Server, pipeline: dict[str, Any]) -> tuple[float, float]:
    """Let a server run a bounded pipeline once; return its seconds, and its CPU time."""
    name = pipeline["pipelineId"]
    async with DataFlow(server.grpc) as df:
        await df.create(pipeline)
        created = (await df.get(name)).sequence
        cpu_s, started = server.cpu_s(), time.perf_counter()
        await df.start(name)
        await completed(df, name, created)
        return time.perf_counter() - started, server.cpu_s() - cpu_s


def _theirs(workload: str, peer: str, rows: int, files: tuple[Path, Path]) -> Row:
    taken = environment.run(peer, workload, *files)
    return Row(
        workload=workload,
        system=peer,
        rows=rows,
        seconds=taken.seconds,
        rows_per_s=rows / taken.seconds,
        cpu_s=taken.cpu_s,
        peak_rss_mib=taken.peak_rss_mib,
    )


CSV = Workload(
    "csv_etl",
    "CSV to CSV, filter and computed column, exactly once, a checkpoint a second",
    12_000_000,
    partial(run, "csv"),
    ("polars", "bytewax"),
)
NDJSON = Workload(
    "ndjson_etl",
    "NDJSON to NDJSON, filter and computed column, exactly once, a checkpoint a second",
    6_000_000,
    partial(run, "ndjson"),
    ("polars", "bytewax", "bytewax_orjson", "orjson"),
)
