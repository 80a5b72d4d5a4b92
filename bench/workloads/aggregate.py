"""A file in, groups out: count and sum by few keys and by many, through the real server."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from bench.data import readings
from bench.peers import environment
from bench.report import Row
from bench.server import Place
from bench.workloads.etl import WARM_UP_ROWS, driven
from bench.workloads.turns import Measure, in_turns
from bench.workloads.workload import Ask, Workload

KEYS = (1_000, 1_000_000)

FEWER_ROWS = {"bytewax": 10}
"""It gets a tenth, as its rate does not depend on how many there are."""


def run(ask: Ask) -> list[Row]:
    """Measure the platform and each peer in turn, by number of keys."""
    return [row for keys in KEYS for row in _by(keys, ask)]


def _by(keys: int, ask: Ask) -> list[Row]:
    systems: dict[str, Measure] = {"dataflow": partial(_ours, keys)}
    systems |= {peer: partial(_theirs, keys, peer) for peer in ask.peers}
    source_of = partial(readings, keys=keys)
    return in_turns(ask, systems, FEWER_ROWS, source_of=source_of, check=check)


def pipeline(name: str, source: str, target: str) -> dict[str, Any]:
    """Return the pipeline: one step between two files."""
    step = {
        "id": "by_key",
        "transformType": "aggregate",
        "options": {"groupBy": ["key"], "aggregates": {"n": "count()", "total": "sum(value)"}},
    }
    return {
        "pipelineId": name,
        "name": "Readings by key",
        "source": {"sourceType": "file", "connectionString": source},
        "transforms": [step],
        "sink": {"sinkType": "file", "connectionString": target},
        "options": {"checkpointInterval": "1s"},
    }


def check(source: Path, target: Path) -> None:
    """Compare what a system wrote, in whatever order, with what Polars says it should be.

    Raises:
        AssertionError: they differ; says where.
    """
    made = pl.len().cast(pl.Int64).alias("n"), pl.col("value").sum().alias("total")
    expected = pl.scan_csv(source).group_by("key").agg(made).sort("key").collect()
    with target.open() as file:
        has_header = file.readline() == "key,n,total\n"
    found = pl.read_csv(target, has_header=has_header, new_columns=expected.columns)
    assert_frame_equal(found.sort("key"), expected)


def _ours(keys: int, source: Path, target: Path, here: Place) -> Row:
    with here.server() as (server, _):
        warm_up = pipeline("warm-up", str(readings(WARM_UP_ROWS, keys)), f"{here.folder}/warm.csv")
        asyncio.run(driven(server, warm_up))
        work = pipeline("readings", str(source), str(target))
        seconds, cpu_s = asyncio.run(driven(server, work))
        taken = environment.Taken(seconds, cpu_s, server.peak_rss_mib())
    return _row("dataflow", keys, source, taken)


def _theirs(keys: int, peer: str, source: Path, target: Path, _: Place) -> Row:
    return _row(peer, keys, source, environment.run(peer, "aggregate", source, target))


def _row(system: str, keys: int, source: Path, taken: environment.Taken) -> Row:
    rows = int(source.stem.rpartition("-")[2])
    return Row(
        workload="aggregate",
        system=f"{system}, {keys:,} keys",
        rows=rows,
        seconds=taken.seconds,
        rows_per_s=rows / taken.seconds,
        cpu_s=taken.cpu_s,
        peak_rss_mib=taken.peak_rss_mib,
    )


WORKLOAD = Workload(
    "aggregate",
    "CSV to count and sum by 1,000 and by 1,000,000 keys, exactly once",
    10_000_000,
    run,
    ("polars", "bytewax"),
)
