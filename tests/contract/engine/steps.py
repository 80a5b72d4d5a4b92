"""Steps that do what few real ones do: keep a state, lose a row, take long, tell on the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from dataflow.connect import (
    AtLeastOnceSink,
    Chunk,
    Context,
    Guarantee,
    Operator,
    Options,
    Output,
    Pinned,
    Position,
    Registry,
    SinkSpec,
    SinkStep,
    Source,
    SourceSpec,
    SourceStep,
    Split,
    SplitId,
    Task,
    Transform,
    TransformSpec,
    TransformStep,
    Via,
)
from dataflow.connect.transform import MAIN
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.examples.sqlite_table import SPEC as SQLITE_TABLE

ROWS = 12
"""More than the channels hold one by one, so that a checkpoint comes before the end."""

LAG = (7, 70)


class Row(Position):
    """The next row."""

    row: int = Field(ge=0)


class Numbers(Source[Row, Pinned]):
    """The numbers from 0 on, ``batchSize`` a chunk; tells what is acknowledged."""

    def __init__(self, chunk_rows: int, probe: Callable[[str], None]) -> None:
        self._chunk_rows = chunk_rows
        self._probe = probe

    async def splits(self) -> Sequence[Split]:
        return [Split(SplitId("numbers"))]

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        for first in range(start.row if start else 0, ROWS, self._chunk_rows):
            last = min(first + self._chunk_rows, ROWS)
            ids = pa.array(range(first, last), pa.int64())
            yield Chunk(pa.record_batch({"id": ids}), Row(row=last))

    async def acknowledge(self, split: Split, position: Row) -> None:
        self._probe(f"acknowledged {position.row}")

    async def lag(self) -> tuple[int, int]:
        return LAG


class Still(Numbers):
    """Moves on once, with nothing to tell, and then waits."""

    bounded = False

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        yield Chunk(pa.record_batch({"id": pa.array([], pa.int64())}), Row(row=3))
        await asyncio.Event().wait()


class PassingOptions(Options):
    """What is wrong with a transform."""

    takes_s: float = 0.0
    loses: int = 0
    """Rows of every batch that it gives no account of."""


class Passing(Transform):
    """Passes on what it is given, in its own way."""

    def __init__(self, options: PassingOptions) -> None:
        self._options = options

    def apply(self, batch: pa.RecordBatch) -> Output:
        time.sleep(self._options.takes_s)
        return Output({MAIN: batch.slice(self._options.loses)})


class RunningTotal(Operator):
    """Replaces each number by the sum up to it: a state that is lost or doubled shows."""

    total = 0

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        totals = pc.cumulative_sum(batch.column("id"), start=pa.scalar(self.total))
        self.total = totals[-1].as_py()
        at = batch.schema.get_field_index("id")
        return Output({MAIN: batch.set_column(at, "id", totals)})

    def changes(self, *, whole: bool) -> bytes:
        return str(self.total).encode()

    def restore(self, parts: Sequence[bytes]) -> None:
        self.total = int(parts[-1])


class TellingOptions(Options):
    """What is wrong with a sink."""

    takes_s: float = 0.0


class Telling(AtLeastOnceSink):
    """Tells how many rows it is given; nothing is delivered while a file is in its way."""

    def __init__(self, takes_s: float, held: Path, probe: Callable[[str], None]) -> None:
        self._takes_s = takes_s
        self._held = held
        self._probe = probe

    async def open(self, task: Task) -> None:
        return

    async def write(self, batch: pa.RecordBatch) -> None:
        await asyncio.sleep(self._takes_s)
        self._probe(f"given {batch.num_rows}")

    async def flush(self) -> None:
        while self._held.exists():  # noqa: ASYNC110 - a test removes it
            await asyncio.sleep(0.002)


def open_numbers(step: SourceStep, _: Options, context: Context) -> Numbers:
    """Return the source of a step."""
    return Numbers(step.batch_size, context.probe)


def open_still(step: SourceStep, _: Options, context: Context) -> Still:
    """Return the source of a step."""
    return Still(step.batch_size, context.probe)


def open_passing(_: TransformStep, options: PassingOptions, __: Context) -> Passing:
    """Return the transform of a step."""
    return Passing(options)


def open_running_total(_: TransformStep, __: Options, ___: Context) -> RunningTotal:
    """Return the transform of a step."""
    return RunningTotal()


def open_telling(step: SinkStep, options: TellingOptions, context: Context) -> Telling:
    """Return the sink of a step."""
    return Telling(options.takes_s, context.path(step.connection_string), context.probe)


NUMBERS = SourceSpec(
    name="numbers",
    summary="Numbers.",
    options=Options,
    open=f"{__name__}:open_numbers",
    position=Row,
)
STILL = replace(NUMBERS, name="still", open=f"{__name__}:open_still")
PASSING = TransformSpec(
    name="passing",
    summary="Rows as they come.",
    options=PassingOptions,
    open=f"{__name__}:open_passing",
)
RUNNING_TOTAL = TransformSpec(
    name="running-total",
    summary="Sums.",
    options=Options,
    open=f"{__name__}:open_running_total",
)
TELLING = SinkSpec(
    name="telling",
    summary="Nothing but how much there was.",
    guarantee=Guarantee.AT_LEAST_ONCE,
    options=TellingOptions,
    open=f"{__name__}:open_telling",
)
REGISTRY = Registry([NUMBERS, STILL, PASSING, RUNNING_TOTAL, TELLING, ARROW_FILES, SQLITE_TABLE])
