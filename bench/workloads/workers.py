"""Rows in the program's own process or in a worker process: what each carries, and who waits."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

from bench.data import orders
from bench.report import Row, compared, median
from bench.server import Server, place
from bench.workloads.commands import PIPELINES, updates_of
from bench.workloads.etl import PIPELINE, WARM_UP_ROWS, Suffix, work
from bench.workloads.starting import create
from bench.workloads.workload import Ask, Workload, file_pipeline
from dataflow.client import DataFlow
from dataflow.v1 import event_pb2 as pb

WAYS: Mapping[str, Mapping[str, str]] = {
    "inline": {},
    "workers = 1": {"DATAFLOW_WORKERS": "1"},
}

P50, P99 = 49, 98
"""In the list of 99 cut points."""

COMMANDS_MAX = 20_000
"""More than a caller who waits for each gets answered meanwhile."""


def run(ask: Ask) -> list[Row]:
    """Measure both ways in turn: files alone, then commands beside a file of JSON."""
    rows: list[Row] = []
    for suffix in ("csv", "ndjson"):
        rows += _in_turn(ask, partial(_files, suffix, ask.rows))
    return rows + _in_turn(ask, partial(_commands, ask.rows))


def _in_turn(ask: Ask, measure: Callable[[str], Row]) -> list[Row]:
    measured: dict[str, list[Row]] = {way: [] for way in WAYS}
    for _ in range(ask.runs):
        for way, runs in measured.items():
            runs.append(measure(way))
            ask.tell(f"{runs[-1].system}: {runs[-1].rows_per_s:,.0f}/s {runs[-1].detail}")
    inline, process = (median(runs) for runs in measured.values())
    return compared(inline, [process])


def _files(suffix: Suffix, rows: int, way: str) -> Row:
    """From a file to a file, as in ``csv_etl`` and ``ndjson_etl``; CPU is that of all processes."""
    with place() as here, here.server(WAYS[way]) as (server, _):
        warm_up = orders(WARM_UP_ROWS, "csv"), here.folder / "warm-up.csv"
        asyncio.run(work(server, "warm-up", *warm_up))
        target = here.folder / f"out.{suffix}"
        cpu_s = server.whole_cpu_s()
        seconds, _ = asyncio.run(work(server, PIPELINE, orders(rows, suffix), target))
        return Row(
            workload="workers",
            system=f"{suffix}, {way}",
            rows=rows,
            seconds=seconds,
            rows_per_s=rows / seconds,
            cpu_s=server.whole_cpu_s() - cpu_s,
            peak_rss_mib=server.whole_rss_mib(),
        )


def _commands(rows: int, way: str) -> Row:
    """One caller updates pipelines, one command at a time, while a file of JSON is read."""
    with place() as here, here.server(WAYS[way]) as (server, _):
        asyncio.run(create(server.grpc, PIPELINES))
        warm_up = orders(WARM_UP_ROWS, "csv"), here.folder / "warm-up.csv"
        asyncio.run(work(server, "warm-up", *warm_up))
        spec = file_pipeline("busy", str(orders(rows, "ndjson")), str(here.folder / "out.ndjson"))
        took = asyncio.run(_asked(server, spec))
        cuts = statistics.quantiles([s * 1e3 for s in took], n=100, method="inclusive")
        detail = f"p50 {cuts[P50]:.1f} ms, p99 {cuts[P99]:.1f} ms, longest {max(took) * 1e3:.0f} ms"
        return Row(
            workload="workers",
            system=f"commands beside ndjson, {way}",
            rows=len(took),
            seconds=sum(took),
            rows_per_s=len(took) / sum(took),
            detail=detail,
        )


async def _asked(server: Server, spec: Mapping[str, object]) -> list[float]:
    """Return how long each command took that was asked for while the pipeline ran."""
    took: list[float] = []
    async with DataFlow(server.grpc) as df:
        await df.create(dict(spec))
        await df.start("busy")
        for number, command in enumerate(updates_of(COMMANDS_MAX, new_expressions=False)):
            if number % 50 == 0 and (await df.get("busy")).status != pb.STATUS_RUNNING:
                break
            started = time.perf_counter()
            await df.update(command.update.pipeline_id, command.update)
            took.append(time.perf_counter() - started)
    return took


WORKLOAD = Workload(
    "workers",
    "files, and commands beside them, with the rows in the program's process or in a worker's",
    3_000_000,
    run,
)
