"""The last stage: rows into the sink, and checkpoints around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import REFUSED_COLUMNS, Position
from dataflow.connect import Task as TaskId
from dataflow.connect.transform import ORDINAL
from dataflow.core.checkpoint import DEAD_LETTERS, Checkpoint, Stamp
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Rejected
from dataflow.core.ids import SplitId
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.items import BarrierItem, Rows
from dataflow.engine.limits import TimeLimit
from dataflow.engine.outputs import Output
from dataflow.engine.rejects import Rejects
from dataflow.engine.tally import Tally


@dataclass(frozen=True, slots=True)
class Sinking:
    """The sink of a task and what stands beside it."""

    name: str
    output: Output
    rejects: Rejects
    dead_letters: DeadLetters
    batch_rows_max: int
    """Rows a write at most; 0 is no limit."""
    limit: TimeLimit
    clock: Clock
    probe: Callable[[str], None]


class Writer:
    """Drives one sink; its calls never overlap."""

    def __init__(self, task: TaskId, sinking: Sinking, start: Checkpoint) -> None:
        self._task = task
        self._sinking = sinking
        self._start = start
        self._tally = Tally(start, sinking.name)
        self._turn = asyncio.Lock()
        self._tells_columns = 1
        """The first batch is given to the sink also without rows: its columns make a header."""
        self._dead: list[pa.RecordBatch] = []
        self.dead_bytes = 0
        """Of the dead letters that wait in memory for the next checkpoint."""
        self._prepared: tuple[Checkpoint, Mapping[SplitId, Position]] | None = None

    async def open(self) -> Checkpoint | None:
        """Publish and cut back to what was decided; returns the decision a sink itself holds.

        The letters come AFTER the sink has said what is decided: it may know of more than the
        register, and what it names must not be dropped.
        """
        held = await self._sinking.output.open(self._task, self._start)
        decided = held or self._start
        letters = self._sinking.dead_letters
        await letters.commit(decided.committables.get(DEAD_LETTERS, ""))
        await letters.discard(self._task.run)
        return held

    def begin(self, start: Checkpoint) -> None:
        """Count from where the task begins; called once, before the first row."""
        self._start = start
        self._tally = Tally(start, self._sinking.name)

    async def write(self, rows: Rows) -> None:
        """Give rows to the sink, and note them for the next checkpoint."""
        began_s = self._sinking.clock.steady()
        batch = rows.batch
        if not self._sinking.output.keeps_ordinal and ORDINAL in batch.schema.names:
            batch = batch.drop_columns([ORDINAL])
        step = self._sinking.batch_rows_max or max(batch.num_rows, 1)
        refused: list[pa.RecordBatch] = []
        for offset in range(0, max(batch.num_rows, self._tells_columns), step):
            give = self._give(batch.slice(offset, step), rows.split)
            found = await self._sinking.limit.keep(give, self._sinking.name)
            if found is not None and found.num_rows:
                refused.append(_moved(found, offset))
        if refused:
            every = pa.concat_batches(refused)  # type: ignore[attr-defined]  # not in the stubs
            self._sinking.rejects.unwritten(rows, every, self._sinking.clock.now())
        rows.processing_s += self._sinking.clock.steady() - began_s
        self._tells_columns = 0
        self._dead += rows.dead
        self.dead_bytes += sum(batch.nbytes for batch in rows.dead)
        self._tally.written(rows, self._sinking.clock.now())
        self._sinking.probe("task.written")

    async def _give(self, batch: pa.RecordBatch, split: SplitId) -> pa.RecordBatch | None:
        async with self._turn:
            return await self._sinking.output.write(batch, split)

    def ended(self, split: SplitId) -> None:
        """Note that a split has been read to its end."""
        self._tally.ended(split)

    async def prepare(self, barrier: BarrierItem) -> Checkpoint:
        """Make everything before the barrier durable; returns what is to be decided."""
        async with self._turn:
            staged = await self._sinking.output.prepare(barrier.number, final=barrier.final)
        self._sinking.probe("task.staged")
        letters = await self._sinking.dead_letters.stage(self._task.run, barrier.number, self._dead)
        self._dead, self.dead_bytes = [], 0
        committables = {self._sinking.name: staged.text, DEAD_LETTERS: letters}
        checkpoint = replace(
            self._tally.checkpoint(),
            stamp=Stamp(self._task.run, barrier.number),
            seeded=True,
            committables={name: text for name, text in committables.items() if text},
            states=barrier.states,
            hidden=staged.hidden,
        )
        async with self._turn:
            await self._sinking.output.decide(checkpoint)
        self._prepared = checkpoint, self._tally.positions
        return checkpoint

    async def commit(self, number: int) -> tuple[Checkpoint, Mapping[SplitId, Position]]:
        """Make a decided checkpoint visible; returns it, and where its splits stand."""
        if self._prepared is None or self._prepared[0].stamp.number != number:
            raise Rejected(f"checkpoint {number} was not prepared", code=Code.INTERNAL)
        checkpoint, positions = self._prepared
        if staged := checkpoint.committables.get(self._sinking.name, ""):
            async with self._turn:
                await self._sinking.output.commit(staged)
        self._sinking.probe("task.published")
        await self._sinking.dead_letters.commit(checkpoint.committables.get(DEAD_LETTERS, ""))
        self._sinking.probe("task.committed")
        return checkpoint, positions

    async def close(self) -> None:
        """Release the sink, after the call it is in."""
        self._sinking.limit.close()
        async with self._turn:
            await self._sinking.output.close()


def _moved(refused: pa.RecordBatch, offset: int) -> pa.RecordBatch:
    """Return what a sink refused of a slice, counted from the first row of the whole batch."""
    index = pc.add(refused.column("index"), pa.scalar(offset, pa.int64()))
    return pa.record_batch([index, refused.column("error")], names=list(REFUSED_COLUMNS))
