"""Calendar arithmetic that Arrow has no kernels for, on whole columns."""

from __future__ import annotations

import pyarrow as pa

from dataflow.expressions import vector
from dataflow.expressions.vector import Array, Datum

_EPOCH_DAYS = 719_468  # from 0000-03-01, where the computed year starts, to 1970-01-01


def floor_divide(value: Datum, divisor: int) -> Array:
    """Return the quotient of int64s rounded down; Arrow's rounds towards zero."""
    by = pa.scalar(divisor)
    quotient = vector.divide(value, by)
    below = vector.less(vector.subtract(value, vector.multiply(quotient, by)), vector.ZERO)
    return vector.subtract(quotient, vector.cast(below, pa.int64()))


def add_months(day: Datum, months: int) -> Array:
    """Return date32s moved by calendar months; past the end of a month is its last day.

    Raises:
        ArrowInvalid: a result is no date32.
    """
    count = vector.add(vector.multiply(vector.year(day), pa.scalar(12)), vector.month(day))
    count = vector.add(count, pa.scalar(months - 1))
    first = _first_of_month(count)
    days = vector.subtract(_first_of_month(vector.add(count, vector.ONE)), first)
    offset = vector.subtract(vector.least(vector.day(day), days), vector.ONE)
    return vector.cast(vector.cast(vector.add(first, offset), pa.int32()), pa.date32())


def _first_of_month(count: Datum) -> Array:
    """Return the days since 1970 of the first of months counted from January of year 0.

    H. Hinnant's ``days_from_civil``: years start in March, so that the leap day ends them.
    """
    year = floor_divide(count, 12)
    month = vector.subtract(count, vector.multiply(year, pa.scalar(12)))  # 0 is January
    early = vector.cast(vector.less(month, pa.scalar(2)), pa.int64())
    year = vector.subtract(year, early)
    since_march = vector.add(
        vector.subtract(month, pa.scalar(2)), vector.multiply(early, pa.scalar(12))
    )
    era = floor_divide(year, 400)
    of_era = vector.subtract(year, vector.multiply(era, pa.scalar(400)))
    day_of_year = vector.divide(
        vector.add(vector.multiply(since_march, pa.scalar(153)), pa.scalar(2)), pa.scalar(5)
    )
    leaps = vector.subtract(
        vector.divide(of_era, pa.scalar(4)), vector.divide(of_era, pa.scalar(100))
    )
    day_of_era = vector.add(vector.add(vector.multiply(of_era, pa.scalar(365)), leaps), day_of_year)
    return vector.subtract(
        vector.add(vector.multiply(era, pa.scalar(146_097)), day_of_era), pa.scalar(_EPOCH_DAYS)
    )
