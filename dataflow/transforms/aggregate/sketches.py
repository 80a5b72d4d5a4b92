"""Distinct values and quantiles, nearly: sketches whose cells are groups of a table.

Both add up as any other partial aggregate does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from dataflow.connect.batches import one_batch
from dataflow.transforms.aggregate.parts import ROWS, Part
from dataflow.transforms.aggregate.table import Regroup, Table
from dataflow.transforms.hashing import hashed

CELL = "cell"

REGISTER_BITS = 11
REGISTERS = 1 << REGISTER_BITS
"""Of one group: a standard error of 1.04 / sqrt(2048) = 2.3 % (HyperLogLog, Flajolet 2007)."""

RELATIVE_ERROR = 0.01
"""Of a quantile, against the value at its rank (DDSketch, Masson 2019)."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_BEYOND = 1 << 16
"""More than the buckets on either side of 1: log(1e308) / log(gamma) is 35,450."""
_INFINITE, _NAN = 1 << 20, 1 << 21


class Distinct:
    """``approx_distinct(x)``: per group the longest run of zeros by register (HyperLogLog)."""

    def __init__(self, of: str, keys: Sequence[str], regroup: Regroup | None) -> None:
        self._of, self._keys = of, keys
        self.table = Table([*keys, CELL], [Part("max", "zeros")], regroup)

    def add(self, rows: pl.DataFrame) -> None:
        """Take up rows."""
        values = rows.select(*self._keys, self._of).drop_nulls(self._of).unique()
        hashes = pl.Series(hashed(one_batch(values.select(self._of).to_arrow()), [self._of]).high)
        cells = values.drop(self._of).with_columns(
            (hashes // (1 << (64 - REGISTER_BITS))).cast(pl.UInt16).alias(CELL),
            # the bit behind those that are left ends the longest run
            (hashes % (1 << (64 - REGISTER_BITS)) * REGISTERS + (REGISTERS >> 1))
            .bitwise_leading_zeros()
            .cast(pl.UInt8)
            .alias("zeros"),
        )
        self.table.add(self.table.of_rows(cells))

    def results(self, groups: pl.DataFrame) -> pl.DataFrame:
        """Return the estimate of each group that has values (Ertl 2017, algorithm 6)."""
        reached = groups.group_by(self._keys).agg(
            pl.len().alias("used"),
            (0.5 ** (pl.col(Part("max", "zeros").name) + 1)).sum().alias("sum"),
        )
        free = pl.Series(_SIGMA).gather(REGISTERS - reached["used"].cast(pl.Int64))
        estimate = REGISTERS**2 / (2 * math.log(2)) / (reached["sum"] + REGISTERS * free)
        return reached.select(*self._keys, estimate.round().cast(pl.Int64).alias(self.name))

    @property
    def name(self) -> str:
        """The column of the results."""
        return f"distinct {self._of}"


class Quantiles:
    """``quantile(x, q)``: per group how many values are in each bucket of 2 % (DDSketch)."""

    def __init__(
        self, of: str, ranks: Sequence[float], keys: Sequence[str], regroup: Regroup | None
    ) -> None:
        self._of, self._ranks, self._keys = of, ranks, keys
        self.table = Table([*keys, CELL], [ROWS], regroup)

    def add(self, rows: pl.DataFrame) -> None:
        """Take up rows."""
        values = rows.select(*self._keys, self._of).drop_nulls(self._of)
        buckets = pl.Series(CELL, _buckets(values[self._of].cast(pl.Float64).to_numpy()))
        cells = values.drop(self._of).with_columns(buckets)
        self.table.add(self.table.of_rows(cells))

    def results(self, groups: pl.DataFrame) -> pl.DataFrame:
        """Return the value at the rank ``q * (n - 1)``, rounded down, of each group."""
        rows, cell = pl.col(ROWS.name), pl.col(CELL)
        found = (
            cell.filter(rows.cum_sum() > ((rows.sum() - 1) * rank).floor()).first()
            for rank in self._ranks
        )
        named = (each.alias(self.name(rank)) for each, rank in zip(found, self._ranks, strict=True))
        made = groups.sort(CELL).group_by(self._keys).agg(*named)
        return made.with_columns(
            pl.Series(name, _values(made[name].to_numpy())) for name in map(self.name, self._ranks)
        )

    def name(self, rank: float) -> str:
        """Return the column of the results."""
        return f"quantile {self._of} {rank}"


def _buckets(values: np.ndarray) -> np.ndarray:
    """Return the bucket of each value, in the order of the values, NaN behind all others."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.ceil(np.log(np.abs(values)) / math.log(_GAMMA)) + _BEYOND
    finite = np.where(np.isinf(values), _INFINITE, np.where(values == 0, 0, steps))
    return np.where(np.isnan(values), _NAN, np.copysign(finite, values)).astype(np.int32)


def _values(buckets: np.ndarray) -> np.ndarray:
    """Return what stands for each bucket: within ``RELATIVE_ERROR`` of all that is in it."""
    size = np.abs(buckets).astype(np.float64)
    with np.errstate(over="ignore"):
        middle = 2 * np.exp((size - _BEYOND) * math.log(_GAMMA)) / (_GAMMA + 1)
    middle = np.where(size == _INFINITE, np.inf, np.where(size == 0, 0.0, middle))
    return np.where(buckets == _NAN, np.nan, np.copysign(middle, buckets))


def _sigma(free: float) -> float:
    """Return Ertl's sum over the share of registers that are free."""
    if free == 1.0:
        return math.inf
    found, factor, last = free, 1.0, -1.0
    while found != last:
        last = found
        free *= free
        found += free * factor
        factor += factor
    return found


_SIGMA = [_sigma(free / REGISTERS) for free in range(REGISTERS + 1)]
