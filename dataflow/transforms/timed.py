"""Rows with their times; those that have none are refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dataflow.transforms.binding import refused
from dataflow.transforms.moments import Moments, moments_of


class Timed(NamedTuple):
    """Rows that have a time, and those that do not, as ``Output.rejected`` wants them."""

    rows: pa.RecordBatch
    moments: Moments
    rejected: pa.RecordBatch | None


def timed(batch: pa.RecordBatch, column: str, option: str) -> Timed:
    """Return the rows of a batch by whether they have a time; raises as ``moments_of``."""
    moments, valid = moments_of(batch, column, option)
    if valid is None:
        return Timed(batch, moments, None)
    bad = np.flatnonzero(~valid)
    said = pa.array(np.full(len(bad), f"{column} is NULL"), pa.string())
    rejected = refused(batch, pa.array(bad, pa.int64()), said)
    return Timed(batch.filter(pa.array(valid)), moments[valid], rejected)
