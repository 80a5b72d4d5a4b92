"""Memory is bounded by configuration, not by the input."""

from __future__ import annotations

import asyncio

from bench.data import orders
from bench.report import Row
from bench.server import place
from bench.workloads.etl import work
from bench.workloads.workload import Ask, Workload

ROWS = 37_000_000
"""2 GB of CSV; the small input is a hundredth."""


def run(ask: Ask) -> list[Row]:
    """Read a small and a large file, each in a server of its own."""
    rows = []
    for count in (ask.rows // 100, ask.rows):
        source = orders(count, "csv")
        with place() as here, here.server() as (server, _):
            before = server.rss_mib()
            seconds, cpu_s = asyncio.run(work(server, "orders", source, here.folder / "out.csv"))
            peak = server.peak_rss_mib()
        row = Row(
            workload="memory",
            system=f"dataflow, {source.stat().st_size / 1e6:,.0f} MB",
            rows=count,
            seconds=seconds,
            rows_per_s=count / seconds,
            cpu_s=cpu_s,
            peak_rss_mib=peak,
            detail=f"{before:.0f} MiB before its first pipeline",
        )
        ask.tell(f"{row.system}: {peak:.0f} MiB")
        rows.append(row)
    return rows


WORKLOAD = Workload(
    "memory", "peak memory while reading a small and a large CSV file", ROWS, run, runs=1
)
