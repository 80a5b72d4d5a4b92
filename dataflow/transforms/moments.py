"""Columns of event time as numbers: microseconds since 1970."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.transforms.binding import Array
from dataflow.transforms.hashing import Mask

Moments: TypeAlias = npt.NDArray[np.int64]

NEVER = -(2**62)
"""Before every moment; far enough from the end of int64 to be computed with."""

ALWAYS = 2**62
"""Behind every moment."""

_MICROS = pa.timestamp("us")


def moments_of(batch: pa.RecordBatch, name: str, option: str) -> tuple[Moments, Mask | None]:
    """Return the moments of a column, and which rows have one; None if all do.

    Raises:
        Rejected: it is missing, is no time, or holds a moment that microseconds cannot tell.
    """
    if name not in batch.schema.names:
        listed = ", ".join(batch.schema.names)
        raise Rejected(f"column {name!r} is missing; there are {listed}", field=option)
    column = batch.column(name)
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        message = f"column {name!r} is {column.type}; give one of timestamps, or cast it in a map"
        raise Rejected(message, field=option)
    numbers = _micros(column, name, option)
    valid = None
    if numbers.null_count:
        valid = numbers.is_valid().to_numpy(zero_copy_only=False)
        numbers = numbers.fill_null(0)
    return numbers.to_numpy(), valid


def _micros(column: Array, name: str, option: str) -> Array:
    try:
        fine = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
        zoned = (
            pa.timestamp("us", column.type.tz) if pa.types.is_timestamp(column.type) else _MICROS
        )
        return column.cast(zoned, safe=not fine).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise Rejected(f"column {name!r}: {error}", field=option) from error
