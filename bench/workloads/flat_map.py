"""A file in, a row for each item out: delimited tags come apart, through the real server."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from bench.data import tagged
from bench.peers import environment
from bench.report import Row
from bench.server import Place
from bench.workloads.etl import WARM_UP_ROWS, driven
from bench.workloads.turns import Measure, in_turns
from bench.workloads.workload import Ask, Workload

FEWER_ROWS = {"bytewax": 10}
"""It gets a tenth, as its rate does not depend on how many there are."""


def run(ask: Ask) -> list[Row]:
    """Measure the platform and each peer in turn."""
    systems: dict[str, Measure] = {"dataflow": _ours}
    systems |= {peer: partial(_theirs, peer) for peer in ask.peers}
    return in_turns(ask, systems, FEWER_ROWS, source_of=tagged, check=check)


def pipeline(name: str, source: str, target: str) -> dict[str, Any]:
    """Return the pipeline: one step between two files."""
    options = {"column": "tags", "delimiter": ";", "into": "tag"}
    return {
        "pipelineId": name,
        "name": "Orders by tag",
        "source": {"sourceType": "file", "connectionString": source},
        "transforms": [{"id": "tags", "transformType": "flatMap", "options": options}],
        "sink": {"sinkType": "file", "connectionString": target},
        "options": {"checkpointInterval": "1s"},
    }


def check(source: Path, target: Path) -> None:
    """Compare what a system wrote, in its order, with what Polars says it should be.

    Raises:
        AssertionError: they differ; says where.
    """
    every = pl.read_csv(source).select("id", "country", pl.col("tags").str.split(";").alias("tag"))
    expected = every.explode("tag").drop_nulls("tag")
    with target.open() as file:
        has_header = file.readline() == "id,country,tag\n"
    found = pl.read_csv(target, has_header=has_header, new_columns=expected.columns)
    assert_frame_equal(found, expected)


def _ours(source: Path, target: Path, here: Place) -> Row:
    with here.server() as (server, _):
        warm_up = pipeline("warm-up", str(tagged(WARM_UP_ROWS)), f"{here.folder}/warm.csv")
        asyncio.run(driven(server, warm_up))
        work = pipeline("orders", str(source), str(target))
        seconds, cpu_s = asyncio.run(driven(server, work))
        taken = environment.Taken(seconds, cpu_s, server.peak_rss_mib())
    return _row("dataflow", source, taken)


def _theirs(peer: str, source: Path, target: Path, _: Place) -> Row:
    return _row(peer, source, environment.run(peer, "flat_map", source, target))


def _row(system: str, source: Path, taken: environment.Taken) -> Row:
    rows = int(source.stem.rpartition("-")[2])
    return Row(
        workload="flat_map",
        system=system,
        rows=rows,
        seconds=taken.seconds,
        rows_per_s=rows / taken.seconds,
        cpu_s=taken.cpu_s,
        peak_rss_mib=taken.peak_rss_mib,
    )


WORKLOAD = Workload(
    "flat_map",
    "CSV to a row for each of up to five delimited tags, exactly once",
    5_000_000,
    run,
    ("polars", "bytewax"),
)
