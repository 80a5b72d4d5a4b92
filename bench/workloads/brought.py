"""Functions of a user's for ``python_step``: a cheap one, one with some work, one that hangs."""

from __future__ import annotations

import ctypes

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc


def cheap(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Compute one column, by one kernel of Arrow's."""
    return batch.append_column("total", pc.multiply(batch["price"], batch["quantity"]))


def medium(frame: pl.DataFrame) -> pl.DataFrame:
    """Compute columns of texts, and the share of each order in those of its country."""
    total = pl.col("price") * pl.col("quantity")
    return frame.with_columns(
        total=total,
        share=total / total.sum().over("country"),
        key=pl.col("country").str.to_lowercase()
        + "-"
        + pl.col("reference").cast(pl.String).str.slice(0, 3),
        first=pl.col("customer").str.split(" ").list.first(),
    )


def deaf(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Hang in C with Python's lock held where the first order says so."""
    if batch["quantity"][0].as_py() < 0:
        ctypes.PyDLL(None).sleep(600)
    return batch
