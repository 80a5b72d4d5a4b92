"""A file in, a file out, by keys: one row of each, a table joined, a lookup; through the server."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from bench.data import names, readings
from bench.peers import environment
from bench.report import Row
from bench.server import Place
from bench.workloads.etl import WARM_UP_ROWS, driven
from bench.workloads.turns import Measure, in_turns
from bench.workloads.workload import Ask, Workload

KEYS = 1_000_000
KNOWN = 100_000
"""Keys of a table that is joined or looked up; a tenth of the readings have one of them."""

FEWER_ROWS = {"bytewax": 10}
"""It gets a tenth, as its rate does not depend on how many there are."""


def run(workload: str, ask: Ask) -> list[Row]:
    """Measure the platform and each peer in turn."""
    systems: dict[str, Measure] = {"dataflow": partial(_ours, workload)}
    systems |= {peer: partial(_theirs, workload, peer) for peer in ask.peers}
    source_of = partial(readings, keys=KEYS)
    check = partial(_check, workload)
    return in_turns(ask, systems, FEWER_ROWS, source_of=source_of, check=check)


def pipeline(workload: str, name: str, source: str, target: str) -> dict[str, Any]:
    """Return the pipeline: one step between files."""
    file = {"sourceType": "file", "connectionString": source}
    table = {"sourceType": "file", "connectionString": str(names(KNOWN))}
    sources = {"readings": file, "names": table} if workload == "join_table" else {"readings": file}
    return {
        "pipelineId": name,
        "name": workload,
        "sources": sources,
        "transforms": [{"id": "step", "inputs": [*sources], **STEPS[workload]}],
        "sinks": {"sink": {"sinkType": "file", "connectionString": target, "input": "step"}},
        "options": {"checkpointInterval": "1s"},
    }


STEPS: dict[str, dict[str, Any]] = {
    "deduplicate": {"transformType": "deduplicate", "options": {"keys": ["key"]}},
    "join_table": {
        "transformType": "join",
        "options": {"leftKeys": ["key"], "rightKeys": ["key"]},
    },
    "enrich": {
        "transformType": "enrich",
        "options": {
            "keys": ["key"],
            "columns": {"name": "string"},
            "lookup": {"type": "file", "path": str(names(KNOWN))},
        },
    },
}


def expected(workload: str, source: Path) -> pl.DataFrame:
    """Return what Polars says that the rows should be."""
    rows, table = pl.scan_csv(source), pl.scan_csv(names(KNOWN))
    match workload:
        case "deduplicate":
            made = rows.unique("key", keep="first")
        case "join_table":
            made = rows.join(table, on="key")
        case _:
            made = rows.join(table, on="key", how="left")
    return made.sort(pl.all()).collect()


def _check(workload: str, source: Path, target: Path) -> None:
    """Compare what a system wrote, in whatever order.

    Raises:
        AssertionError: they differ; says where.
    """
    wanted = expected(workload, source)
    with target.open() as file:
        has_header = file.readline().startswith("key,")
    found = pl.read_csv(target, has_header=has_header, new_columns=wanted.columns)
    assert_frame_equal(found.sort(pl.all()), wanted)


def _ours(workload: str, source: Path, target: Path, here: Place) -> Row:
    with here.server() as (server, _):
        warm, out = str(readings(WARM_UP_ROWS, KEYS)), f"{here.folder}/warm.csv"
        asyncio.run(driven(server, pipeline(workload, "warm-up", warm, out)))
        work = pipeline(workload, "readings", str(source), str(target))
        seconds, cpu_s = asyncio.run(driven(server, work))
        taken = environment.Taken(seconds, cpu_s, server.peak_rss_mib())
    return _row(workload, "dataflow", source, taken)


def _theirs(workload: str, peer: str, source: Path, target: Path, _: Place) -> Row:
    taken = environment.run(peer, workload, source, target)
    return _row(workload, peer, source, taken)


def _row(workload: str, system: str, source: Path, taken: environment.Taken) -> Row:
    rows = int(source.stem.rpartition("-")[2])
    return Row(
        workload=workload,
        system=system,
        rows=rows,
        seconds=taken.seconds,
        rows_per_s=rows / taken.seconds,
        cpu_s=taken.cpu_s,
        peak_rss_mib=taken.peak_rss_mib,
    )


DEDUPLICATE, JOIN_TABLE, ENRICH = (
    Workload(name, summary, 10_000_000, partial(run, name), ("polars", "bytewax"))
    for name, summary in (
        ("deduplicate", "CSV to the first row of each of 1,000,000 keys, exactly once"),
        ("join_table", "CSV joined with a table of 100,000 keys, exactly once"),
        ("enrich", "CSV with a name for each key, looked up in a file, exactly once"),
    )
)
