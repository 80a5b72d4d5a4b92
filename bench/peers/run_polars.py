"""The work as a raw Polars script: lazy, streaming, on every core."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bench.data import names
from bench.peers.timing import main

KNOWN = 100_000
KEPT = (pl.col("price") > 500) & pl.col("country").is_in(["DE", "FR", "GB", "US"])
TOTAL = (pl.col("price") * pl.col("quantity")).alias("total")


def csv(source: Path, target: Path) -> None:
    """Filter and compute from CSV to CSV."""
    pl.scan_csv(source).filter(KEPT).with_columns(TOTAL).sink_csv(target)


def ndjson(source: Path, target: Path) -> None:
    """Filter and compute from NDJSON to NDJSON."""
    pl.scan_ndjson(source).filter(KEPT).with_columns(TOTAL).sink_ndjson(target)


def aggregate(source: Path, target: Path) -> None:
    """Count and add up by key."""
    made = pl.len().alias("n"), pl.col("value").sum().alias("total")
    pl.scan_csv(source).group_by("key").agg(made).sink_csv(target)


def flat_map(source: Path, target: Path) -> None:
    """Write a row for each tag."""
    tags = pl.col("tags").str.split(";").alias("tag")
    made = pl.scan_csv(source).select("id", "country", tags)
    made.explode("tag").drop_nulls("tag").sink_csv(target)


def deduplicate(source: Path, target: Path) -> None:
    """Keep one row of each key, the first."""
    pl.scan_csv(source).unique("key", keep="first").sink_csv(target)


def join_table(source: Path, target: Path) -> None:
    """Join with a table."""
    pl.scan_csv(source).join(pl.scan_csv(names(KNOWN)), on="key").sink_csv(target)


def enrich(source: Path, target: Path) -> None:
    """Add the name of each key, where it has one."""
    table = pl.scan_csv(names(KNOWN))
    pl.scan_csv(source).join(table, on="key", how="left").sink_csv(target)


if __name__ == "__main__":
    main(
        {
            "csv_etl": csv,
            "ndjson_etl": ndjson,
            "aggregate": aggregate,
            "flat_map": flat_map,
            "deduplicate": deduplicate,
            "join_table": join_table,
            "enrich": enrich,
        }
    )
