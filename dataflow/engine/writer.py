"""The last stage: rows into one sink, and its part of each checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import REFUSED_COLUMNS
from dataflow.connect import Task as TaskId
from dataflow.connect.transform import ORDINAL
from dataflow.core.checkpoint import Checkpoint, Ledger, Totals
from dataflow.core.clock import Clock
from dataflow.core.ids import SplitId
from dataflow.engine.items import BarrierItem, Delivery
from dataflow.engine.limits import TimeLimit
from dataflow.engine.outputs import Output, Staged
from dataflow.engine.rejects import Rejects
from dataflow.engine.tally import Tally


@dataclass(frozen=True, slots=True)
class Sinking:
    """A sink of a task and what stands beside it."""

    name: str
    output: Output
    rejects: Rejects
    batch_rows_max: int
    """Rows a write at most; 0 is no limit."""
    limit: TimeLimit
    clock: Clock
    probe: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A sink's part of a checkpoint: what it staged, its ledger, its share of the sums."""

    sink: str
    staged: Staged
    ledger: Ledger
    totals: Totals
    dead: Sequence[pa.RecordBatch]


class Writer:
    """Drives one sink; its calls never overlap."""

    def __init__(self, task: TaskId, sinking: Sinking) -> None:
        self._task = task
        self._sinking = sinking
        self._tally = Tally(Ledger())
        self._turn = asyncio.Lock()
        self._tells_columns = True
        """The first batch is given to the sink also without rows: its columns make a header."""
        self._dead: list[pa.RecordBatch] = []
        self.dead_bytes = 0
        """Of the dead letters that wait in memory for the next checkpoint."""

    @property
    def name(self) -> str:
        """Return the sink's name."""
        return self._sinking.name

    @property
    def decides(self) -> bool:
        """Tell whether the sink decides a checkpoint, in the transaction that holds its rows."""
        return self._sinking.output.decides

    async def open(self, start: Checkpoint) -> Checkpoint | None:
        """Publish and cut back to what was decided; returns the decision a sink itself holds."""
        return await self._sinking.output.open(self._task, start)

    def begin(self, start: Checkpoint) -> None:
        """Count from where the task begins; called once, before the first row."""
        self._tally = Tally(start.ledgers.get(self.name, Ledger()))

    async def write(self, delivery: Delivery) -> None:
        """Give rows to the sink, and note them for the next checkpoint."""
        began_s = self._sinking.clock.steady()
        for split, batch in delivery.batches:
            await self._write(split, batch)
        took_s = self._sinking.clock.steady() - began_s
        self._tally.account(delivery.ledger)
        ledger = delivery.ledger
        now = self._sinking.clock.now() if ledger.records_read or ledger.records_produced else None
        self._tally.took(delivery.processing_s + took_s, now)
        self._sinking.probe("task.written")

    async def _write(self, split: SplitId, batch: pa.RecordBatch) -> None:
        given = batch
        if not self._sinking.output.keeps_ordinal and batch.schema.get_field_index(ORDINAL) >= 0:
            given = batch.drop_columns([ORDINAL])
        step = self._sinking.batch_rows_max or max(batch.num_rows, 1)
        found: list[pa.RecordBatch] = []
        for offset in range(0, max(batch.num_rows, int(self._tells_columns)), step):
            part = given.slice(offset, step) if given.num_rows > step else given
            give = self._give(part, split)
            refused = await self._sinking.limit.keep(give, self.name)
            if refused is not None and refused.num_rows:
                found.append(_moved(refused, offset))
        self._tells_columns = False
        self._tally.written(given.filter(self._taken(split, batch, found)) if found else given)

    async def _give(self, batch: pa.RecordBatch, split: SplitId) -> pa.RecordBatch | None:
        async with self._turn:
            return await self._sinking.output.write(batch, split)

    def _taken(
        self, split: SplitId, batch: pa.RecordBatch, found: Sequence[pa.RecordBatch]
    ) -> pa.BooleanArray:
        """Let the policy have the rows that the sink refused; tells which it took."""
        every = pa.concat_batches(found)  # type: ignore[attr-defined]  # not in the stubs
        refused = self._sinking.rejects.unwritten(split, batch, every, self._sinking.clock.now())
        self._tally.refused(refused.skipped, refused.dead_count)
        self._dead += refused.dead
        self.dead_bytes += sum(letters.nbytes for letters in refused.dead)
        rows = pa.array(range(batch.num_rows), pa.int64())
        return pc.invert(pc.is_in(rows, value_set=every.column("index")))

    async def prepare(self, barrier: BarrierItem) -> Part:
        """Make everything before the barrier durable; returns the sink's part of a checkpoint."""
        async with self._turn:
            staged = await self._sinking.output.prepare(barrier.number, final=barrier.final)
        self._sinking.probe("task.staged")
        dead, self._dead, self.dead_bytes = self._dead, [], 0
        return Part(self.name, staged, self._tally.ledger, self._tally.totals(), dead)

    async def decide(self, checkpoint: Checkpoint) -> None:
        """Let the sink decide, where it does."""
        async with self._turn:
            await self._sinking.output.decide(checkpoint)

    async def commit(self, checkpoint: Checkpoint) -> None:
        """Make a decided checkpoint visible."""
        if staged := checkpoint.committables.get(self.name, ""):
            async with self._turn:
                await self._sinking.output.commit(staged)

    async def close(self) -> None:
        """Release the sink, after the call it is in."""
        self._sinking.limit.close()
        async with self._turn:
            await self._sinking.output.close()


def _moved(refused: pa.RecordBatch, offset: int) -> pa.RecordBatch:
    """Return what a sink refused of a slice, counted from the first row of the whole batch."""
    index = pc.add(refused.column("index"), pa.scalar(offset, pa.int64()))
    return pa.record_batch([index, refused.column("error")], names=list(REFUSED_COLUMNS))
