"""Make rows up, a batch at a time, each from the seed and its own number alone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Chunk, Context, Pinned, Rejected, Source, SourceStep, Split, SplitId
from dataflow.connectors.generator import (
    Choice,
    Column,
    Float,
    GeneratorOptions,
    GeneratorPosition,
    Integer,
    Sequential,
    Text,
    Timestamp,
)

BATCH_ROWS = 10_000
"""Rows of a batch unless ``batchSize`` says otherwise: large enough for columns to be fast."""

TICK_S_FIRST, TICK_S_MAX = 0.1, 0.5
"""At a low rate a batch is what falls due in this time, which grows from batch to batch: the first
rows come soon, and later ones cost little. A batch takes a fifth of a millisecond of processor
through the whole pipeline, however few its rows are; so what is overdue comes in one."""

LATE_TICKS, LATE_TICK_S_MAX = 8, 4.0
"""Where the process is too busy to make rows when they are due, a batch waits for those of eight
times what it was late by: fewer and larger ones leave time for whatever else is waiting."""

SPLIT = Split(SplitId("rows"))

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Values: TypeAlias = "pa.Array[Any]"

HEX = pa.array([f"{i:04x}" for i in range(1 << 16)])
"""Four digits at a time: Arrow writes no hexadecimal."""

CONSTANTS_MAX = 256
"""Arrow's scalars of each kind that are kept. To make one from a value of Python's it looks for
python-dateutil each time, in vain where that is not installed: half the time of a batch of ten
rows."""

DIGITS = 16
"""Hexadecimal digits of 64 bits."""


def open_source(step: SourceStep, options: GeneratorOptions, context: Context) -> Generator:
    """Return the source of one step."""
    return Generator(step, options, context)


ROWS_AT_ONCE = 500
"""Made in less time than a thread takes to be handed them (0.1 ms)."""


ROWS_AHEAD = 64
"""At a low rate rows are made before they are due: 64 of them take as long as one, 0.15 ms."""


class Generator(Source[GeneratorPosition, Pinned]):
    """One split without end, or of as many rows as asked for."""

    fixed = True

    def __init__(self, step: SourceStep, options: GeneratorOptions, context: Context) -> None:
        self.bounded = options.rows > 0
        self._options = options
        self._clock = context.clock
        self._next = 0
        self._ahead: tuple[int, pa.RecordBatch] | None = None
        self._batch_rows = step.batch_size or BATCH_ROWS

    async def splits(self) -> Sequence[Split]:
        """Return the one split there is."""
        return (SPLIT,)

    async def read(
        self,
        split: Split,  # noqa: ARG002 - there is but one
        start: GeneratorPosition | None,
    ) -> AsyncGenerator[Chunk[GeneratorPosition], None]:
        """Yield rows from ``start``, each batch when its last row is due, the first row at once.

        Raises:
            Rejected: a column has run out of numbers.
        """
        first = self._next = start.row if start else 0
        began_s, rate = self._clock.steady(), self._options.rows_per_second
        tick_s = TICK_S_FIRST
        while not self.bounded or self._next < self._options.rows:
            row, stop = self._next, self._next + self._batch_rows
            if rate:
                due = first + 1 + int((self._clock.steady() - began_s) * rate)
                stop = min(stop, max(due, row + max(1, int(rate * tick_s))))
            if self.bounded:
                stop = min(stop, self._options.rows)
            if rate:
                late_s = await self._until(began_s + (stop - 1 - first) / rate)
                tick_s = max(min(tick_s * 2, TICK_S_MAX), min(late_s * LATE_TICKS, LATE_TICK_S_MAX))
            if stop - row <= ROWS_AHEAD:
                batch = self._from_ahead(row, stop)
            elif stop - row <= ROWS_AT_ONCE:
                batch = rows_of(self._options, row, stop)
            else:
                batch = await asyncio.to_thread(rows_of, self._options, row, stop)
            self._next = stop
            yield Chunk(batch, GeneratorPosition(row=stop))

    async def _until(self, due_s: float) -> float:
        """Wait for a moment; return how much later than asked for the process went on."""
        now_s = self._clock.steady()
        await asyncio.sleep(max(0.0, due_s - now_s))
        return self._clock.steady() - max(now_s, due_s)

    def _from_ahead(self, row: int, stop: int) -> pa.RecordBatch:
        """Return a few rows, out of many made at once; right before a column runs out, these."""
        if self._ahead is None or not self._ahead[0] <= row < stop <= self._ahead[0] + ROWS_AHEAD:
            try:
                self._ahead = row, rows_of(self._options, row, row + ROWS_AHEAD)
            except Rejected:
                return rows_of(self._options, row, stop)
        first, rows = self._ahead
        return rows.slice(row - first, stop - row)

    async def lag(self) -> tuple[int, int]:
        """Return the rows still to be made; there is no telling of what never ends."""
        return max(0, self._options.rows - self._next) if self.bounded else -1, -1


def rows_of(options: GeneratorOptions, start: int, stop: int) -> pa.RecordBatch:
    """Return the rows numbered from ``start`` up to, but not including, ``stop``.

    Raises:
        Rejected: a column has run out of numbers.
    """
    numbers = pa.arange(start, stop)  # type: ignore[attr-defined]  # not in the stubs
    arrays = [_column(column, options.seed, numbers) for column in options.columns]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in options.columns])


def _column(column: Column, seed: int, numbers: Values) -> Values:
    match column:
        case Sequential():
            return pc.add(numbers, _int64(column.start))
        case Timestamp():
            return _moments(column, numbers)
        case Integer():
            span = column.max - column.min + 1
            drawn = _below(_drawn(column.name, seed, numbers), span)
            return pc.add(drawn, _uint64(column.min)).view(pa.int64())  # wraps, as it should
        case Float():
            whole = pc.shift_right(_drawn(column.name, seed, numbers), _uint64(11))
            share = pc.multiply(whole.cast(pa.float64()), _float64(2.0**-53))
            spread = pc.multiply(share, _float64(column.max - column.min))
            return pc.add(spread, _float64(column.min))
        case Choice():
            picked = _below(_drawn(column.name, seed, numbers), len(column.choices))
            return _texts(column.choices).take(picked)
        case Text():
            return _digits(column, seed, numbers)


def _moments(column: Timestamp, numbers: Values) -> Values:
    start_us, step_us = (column.start - EPOCH) // MICROSECOND, column.step // MICROSECOND
    try:
        since = pc.multiply_checked(numbers, _int64(step_us))
        return pc.add_checked(since, _int64(start_us)).cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid as error:
        raise Rejected(
            f"column {column.name!r} has run past the last moment a timestamp can hold; choose"
            " fewer rows or a shorter step",
            field="options.columns",
        ) from error


def _digits(column: Text, seed: int, numbers: Values) -> Values:
    pieces: list[Any] = []
    for index in range(-(-column.length // DIGITS)):
        drawn = _drawn(f"{column.name}\0{index}", seed, numbers)
        for shift in range(0, 64, 16):
            sixteen_bits = pc.bit_wise_and(pc.shift_right(drawn, _uint64(shift)), _uint64(0xFFFF))
            pieces.append(HEX.take(sixteen_bits))
    joined: Values = pc.binary_join_element_wise(*pieces, "")
    return pc.utf8_slice_codeunits(joined, start=0, stop=column.length)


def _drawn(name: str, seed: int, numbers: Values) -> Values:
    """Return 64 random bits a row: SplitMix64 (Steele et al. 2014), which can start anywhere."""
    key = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "little")
    z = pc.multiply(numbers.view(pa.uint64()), _uint64(0x9E3779B97F4A7C15))
    z = pc.add(z, _uint64(key))
    z = pc.multiply(_folded(z, 30), _uint64(0xBF58476D1CE4E5B9))
    z = pc.multiply(_folded(z, 27), _uint64(0x94D049BB133111EB))
    return _folded(z, 31)


def _folded(z: Values, bits: int) -> Values:
    return pc.bit_wise_xor(z, pc.shift_right(z, _uint64(bits)))


def _below(drawn: Values, span: int) -> Values:
    """Return numbers from 0 up to, but not including, ``span``; Arrow has no remainder."""
    if span == 1 << 64:
        return drawn
    times = pc.divide(drawn, _uint64(span))
    return pc.subtract(drawn, pc.multiply(times, _uint64(span)))


@lru_cache(CONSTANTS_MAX)
def _uint64(value: int) -> pa.Scalar[Any]:
    return pa.scalar(value % (1 << 64), pa.uint64())


@lru_cache(CONSTANTS_MAX)
def _int64(value: int) -> pa.Scalar[Any]:
    return pa.scalar(value, pa.int64())


@lru_cache(CONSTANTS_MAX)
def _float64(value: float) -> pa.Scalar[Any]:
    return pa.scalar(value, pa.float64())


@lru_cache(CONSTANTS_MAX)
def _texts(values: tuple[str, ...]) -> Values:
    return pa.array(values, pa.string())
