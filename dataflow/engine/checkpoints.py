"""One checkpoint of what all sinks of a task have prepared.

Each sink prepares its part when the barrier reaches it. A sink that decides waits for the parts
of all others, for its decision names them; another one goes on writing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from dataflow.connect import Position
from dataflow.connect import Task as TaskId
from dataflow.core.checkpoint import DEAD_LETTERS, Checkpoint, Stamp
from dataflow.core.errors import Code, Rejected
from dataflow.core.events import ErrorType
from dataflow.core.ids import SplitId
from dataflow.core.light import replace
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.failure import blaming
from dataflow.engine.items import BarrierItem
from dataflow.engine.tasks import all_of
from dataflow.engine.writer import Part, Writer


class Checkpoints:
    """Opens, prepares and commits the sinks of a task together."""

    def __init__(
        self,
        task: TaskId,
        writers: Sequence[Writer],
        letters: DeadLetters,
        probe: Callable[[str], None],
    ) -> None:
        self._task = task
        self._writers = writers
        self._letters = letters
        self._probe = probe
        self._decider = next((writer for writer in writers if writer.decides), None)
        self._parts: list[Part] = []
        self._complete = asyncio.Event()
        self._prepared: tuple[Checkpoint, Mapping[SplitId, Position]] | None = None

    async def open(self, start: Checkpoint) -> tuple[Checkpoint, Checkpoint | None]:
        """Publish and cut back to what was decided, in each sink.

        A sink that decides is asked BEFORE the others: it may know of more than the register. The
        letters come AFTER it too, for what it names must not be dropped.

        Returns:
            where the run begins, and the decision that a sink itself holds.
        """
        held = None
        for writer in sorted(self._writers, key=lambda writer: not writer.decides):
            with blaming(ErrorType.SINK, writer.name):
                held = await writer.open(held or start) or held
        with blaming(ErrorType.SINK, self._writers[0].name):
            await self._letters.commit((held or start).committables.get(DEAD_LETTERS, ""))
        return held or start, held

    def begin(self, start: Checkpoint) -> None:
        """Count from where the task begins; called once, before the first row."""
        for writer in self._writers:
            writer.begin(start)

    async def prepare(self, barrier: BarrierItem, writer: Writer) -> Checkpoint | None:
        """Prepare one sink; returns the whole to be decided, for one call a checkpoint."""
        with blaming(ErrorType.SINK, writer.name):
            self._parts.append(await writer.prepare(barrier))
            if len(self._parts) == len(self._writers):
                self._complete.set()
                closes = self._decider in {None, writer}
            elif closes := writer is self._decider:
                await self._complete.wait()
            return await self._close(barrier) if closes else None

    async def _close(self, barrier: BarrierItem) -> Checkpoint:
        parts, self._parts = self._parts, []
        self._complete.clear()
        dead = [*barrier.dead, *(letters for part in parts for letters in part.dead)]
        letters = await self._letters.stage(self._task.run, barrier.number, dead)
        staged = {part.sink: part.staged.text for part in parts} | {DEAD_LETTERS: letters}
        moved = barrier.moved
        totals = moved.totals
        for part in parts:
            totals = totals.plus(part.totals)
        checkpoint = replace(
            moved,
            stamp=Stamp(self._task.run, barrier.number),
            seeded=True,
            committables={name: text for name, text in staged.items() if text},
            ledgers={**moved.ledgers, **{part.sink: part.ledger for part in parts}},
            totals=totals,
            hidden=sum(part.staged.hidden for part in parts),
        )
        if self._decider is not None:
            await self._decider.decide(checkpoint)
        self._prepared = checkpoint, barrier.positions
        return checkpoint

    async def prepare_all(self, barrier: BarrierItem) -> Checkpoint | None:
        """Prepare every sink, where none has been given rows yet."""
        async with asyncio.TaskGroup() as tasks:
            each = [tasks.create_task(self.prepare(barrier, writer)) for writer in self._writers]
        return next((found for one in each if (found := one.result()) is not None), None)

    async def commit(self, number: int) -> tuple[Checkpoint, Mapping[SplitId, Position]]:
        """Make a decided checkpoint visible; returns it, and where its splits stand."""
        if self._prepared is None or self._prepared[0].stamp.number != number:
            raise Rejected(f"checkpoint {number} was not prepared", code=Code.INTERNAL)
        checkpoint, positions = self._prepared
        for writer in self._writers:
            with blaming(ErrorType.SINK, writer.name):
                await writer.commit(checkpoint)
        with blaming(ErrorType.SINK, self._writers[0].name):
            self._probe("task.published")
            await self._letters.commit(checkpoint.committables.get(DEAD_LETTERS, ""))
            self._probe("task.committed")
        return checkpoint, positions

    async def close(self) -> None:
        """Release the sinks, each after the call it is in, whichever fails."""
        await all_of([writer.close() for writer in self._writers])
