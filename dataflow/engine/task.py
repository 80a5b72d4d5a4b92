"""One task of one run: sources -> channel -> transforms -> a channel a sink -> sinks.

Each arrow is a bounded channel; each stage takes one item after the other. A barrier enters
behind the rows already read and reaches every sink behind them; reading goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from dataflow.connect import Rejected, Unavailable
from dataflow.connect import Task as TaskId
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.errors import Code
from dataflow.core.events import ErrorType
from dataflow.core.light import replace
from dataflow.core.spec import with_defaults
from dataflow.engine.channel import Channel
from dataflow.engine.checkpoints import Checkpoints
from dataflow.engine.closing import to_its_end
from dataflow.engine.failure import StepFailed, blaming, pipeline_error
from dataflow.engine.flow import Flow, FlowItem
from dataflow.engine.inlets import Inlets, Readers
from dataflow.engine.items import (
    BarrierItem,
    Delivery,
    Item,
    Replayed,
    RoundBegins,
    Rows,
    SourceEnded,
    Sunk,
    Tick,
)
from dataflow.engine.limits import TimeLimit
from dataflow.engine.order import waits
from dataflow.engine.plan import Plan
from dataflow.engine.replaying import Replaying
from dataflow.engine.steps import make_inputs, make_sinkings, make_steps
from dataflow.engine.surroundings import TaskSurroundings
from dataflow.engine.tally import Progressed
from dataflow.engine.tasks import all_of
from dataflow.engine.told import Told
from dataflow.engine.writer import Writer

DEAD_BYTES_MAX = 8 << 20
"""Dead letters wait in memory for a checkpoint, so these many ask for one at once."""

TICK_EVERY_S = 1.0
"""How often steps are told of the time that ask for it; windows are seconds long or longer."""


class Task:
    """Runs until its final checkpoint is committed, it fails, or it is cancelled."""

    def __init__(self, message: m.RunTask, plan: Plan, around: TaskSurroundings) -> None:
        self._pipeline, self._run = message.pipeline_id, message.run
        self._start = message.checkpoint
        self._seeds = bool(message.lane) and not message.checkpoint.seeded
        self._around = around
        self._options = with_defaults(message.spec.options)
        self._steps = make_steps(plan, self._pipeline, around.contexts)
        order = waits(plan.graph, self._steps)
        inputs = make_inputs(plan, self._pipeline, around)
        self._flow = Flow(plan.graph, self._steps, around.clock)
        sinkings = make_sinkings(plan, self._pipeline, around, self._options.batch_timeout)
        named = any(one.output.keeps_ordinal or one.output.refuses for one in sinkings)
        self._numbers = named or not self._flow.is_empty
        task = TaskId(self._pipeline, around.lane.index, self._run, self._start.lineage)
        self._writers = [Writer(task, sinking) for sinking in sinkings]
        self._checkpoints = Checkpoints(task, self._writers, around.dead_letters, around.probe)
        self._limit = TimeLimit(self._options.batch_timeout)
        self._read: Channel[Item] = Channel()
        self._replaying = Replaying(
            plan.graph, order, self._run, around, channel=self._read, numbers=self._numbers
        )
        self._inlets = Inlets(inputs, order, self._replaying)
        self._sinks: dict[str, Channel[Sunk]] = {}
        """Of each sink; empty where the one sink takes rows as they are read."""
        if len(self._writers) > 1 or not self._flow.is_empty:
            self._sinks = {writer.name: Channel() for writer in self._writers}
        self._progressed = Progressed(self._start)
        self._asked: asyncio.Queue[m.Barrier | m.Decided] = asyncio.Queue()
        self._told = Told(self._pipeline, self._run, around.send)
        self._rows_since_barrier = 0
        self._draining = False
        self._ended = asyncio.Event()

    def receive(self, message: m.Barrier | m.Decided) -> None:
        """Take a message from the owner."""
        self._asked.put_nowait(message)

    async def work(self) -> None:
        """Run. Every end but a cancellation is told to the owner, BEFORE the sinks are closed.

        Closing waits for the calls that the sinks are in, and that may have hung. It goes to its
        end whoever cancels the run, or a sink would keep what it holds.
        """
        try:
            readers = await self._open()
            await self._run_stages(readers)
        except Exception as error:  # noqa: BLE001 - whatever a connector raises ends this run alone
            self._around.send(m.Failed(self._pipeline, self._run, pipeline_error(error)))
        finally:
            await to_its_end(self._close())

    async def _close(self) -> None:
        self._limit.close()
        try:
            await self._checkpoints.close()
        finally:
            try:
                await self._inlets.close()
            finally:
                await all_of([asyncio.to_thread(step.transform.close) for step in self._steps])

    async def _open(self) -> Readers:
        """Ask the sinks BEFORE anything else what they hold: positions, pins and states are there.

        The register may not have heard of what a transactional sink has decided; a source opened
        by the register alone would pin something else for the rest of the lineage.
        """
        self._start, held = await self._checkpoints.open(self._start)
        self._start = await self._inlets.open(self._start, self._told.waiting)
        await self._around.states.restore(self._start.states, self._steps)
        if self._steps:
            await self._around.states.sweep(self._run)
        self._checkpoints.begin(self._start)
        self._progressed = Progressed(self._start)
        self._around.probe("task.opened")
        self._around.send(m.Opened(self._pipeline, self._run, held, self._start.pinned))
        return self._inlets.readers(
            self._start, self._read, self._around.clock, numbers=self._numbers
        )

    # --- running ---------------------------------------------------------------------------------

    async def _run_stages(self, readers: Readers) -> None:
        """Seed the lineage BEFORE its first row, all lanes' of it, then work to the end."""
        if self._seeds or not self._start.seeded:
            await self._seed()
        if self._ended.is_set():
            return
        async with asyncio.TaskGroup() as tasks:
            exhausted = m.Exhausted(self._pipeline, self._run)
            reading = tasks.create_task(readers.read(lambda: self._around.send(exhausted)))
            telling = self._told.keep_telling(readers, self._inlets, lambda: self._draining)
            stages = [self._flowing(readers), self._listening(reading), telling]
            if self._sinks:
                stages += [self._writing(writer) for writer in self._writers]
            if self._flow.ticks:
                stages.append(self._ticking())
            running = [reading, *map(tasks.create_task, stages)]
            await self._ended.wait()
            for task in running:
                task.cancel()

    async def _seed(self) -> None:
        """Close the checkpoint with which a lineage begins."""
        barrier = await self._asked.get()
        if isinstance(barrier, m.Barrier):
            item = BarrierItem(barrier.number, barrier.final)
            self._prepared(item, await self._checkpoints.prepare_all(self._progressed.close(item)))
        await self._commit(await self._asked.get())

    async def _flowing(self, readers: Readers) -> None:
        while True:
            item = await self._read.get()
            if isinstance(item, BarrierItem):
                await self._pass_barrier(item)
                continue
            self._progressed.note(item, self._inlets.named)
            if not isinstance(item, Rows | Replayed) and not self._flow.follows:
                continue
            made = await self._take(item)
            if isinstance(item, Rows):
                self._progressed.read(item)
                self._count(item.read, readers)
            elif isinstance(item, Replayed):
                self._count(item.batch.num_rows, readers)
            elif made or isinstance(item, RoundBegins | SourceEnded):
                self._told.moved(readers)

    async def _take(self, item: FlowItem) -> bool:
        """Bring what comes of an item to the sinks; returns whether any row did."""
        made = await self._bring(partial(self._flow.take, item))
        while self._flow.has_more:
            made |= await self._bring(self._flow.more)
        return made

    async def _bring(self, go: Callable[[], Sequence[tuple[str, Delivery]]]) -> bool:
        made = False
        for sink, delivery in await self._through(go):
            made |= any(batch.num_rows for _, batch in delivery.batches)
            await self._deliver(sink, delivery)
        return made

    async def _through(
        self, go: Callable[[], Sequence[tuple[str, Delivery]]]
    ) -> Sequence[tuple[str, Delivery]]:
        if self._flow.is_empty:
            return go()
        try:
            deliveries = await self._limit.keep(asyncio.to_thread(go), "the transforms")
        except Unavailable as error:
            raise StepFailed(ErrorType.TRANSFORM, self._flow.at) from error
        for step in self._steps:
            if passed := self._flow.passed.get(step.name):
                self._progressed.refused(passed.skipped, passed.dead)
        return deliveries

    async def _deliver(self, sink: str, delivery: Delivery) -> None:
        if self._sinks:
            await self._sinks[sink].put(delivery, delivery.size)
        else:
            with blaming(ErrorType.SINK, sink):
                await self._writers[0].write(delivery)

    async def _pass_barrier(self, barrier: BarrierItem) -> None:
        """Let a barrier out behind everything before it, with what is decided by it."""
        closed = self._progressed.close(barrier)
        self._rows_since_barrier = 0
        if self._steps:
            states = await self._around.states.save(self._run, barrier.number, self._steps)
            closed = replace(closed, moved=replace(closed.moved, states=states))
        if not self._sinks:
            await self._prepare(closed, self._writers[0])
        for channel in self._sinks.values():
            channel.put_now(closed)

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_EVERY_S)
            await self._read.put(Tick(self._around.clock.now()), 0)

    async def _writing(self, writer: Writer) -> None:
        channel = self._sinks[writer.name]
        while True:
            item = await channel.get()
            if isinstance(item, BarrierItem):
                await self._prepare(item, writer)
                continue
            with blaming(ErrorType.SINK, writer.name):
                await writer.write(item)
            self._ask_if_due()

    def _count(self, rows: int, readers: Readers) -> None:
        if self._rows_since_barrier == 0:  # There is something to decide.
            self._told.tell(m.Phase.PROCESSING, "", readers)
        self._rows_since_barrier += rows
        self._ask_if_due()

    def _ask_if_due(self) -> None:
        """Ask for a checkpoint when there are rows enough for one, or letters."""
        rows_due = 0 < self._options.checkpoint_rows <= self._rows_since_barrier
        dead_bytes = self._progressed.dead_bytes + sum(w.dead_bytes for w in self._writers)
        if rows_due or dead_bytes >= DEAD_BYTES_MAX:
            self._rows_since_barrier = 0
            self._around.send(m.CheckpointDue(self._pipeline, self._run))

    # --- checkpoints -----------------------------------------------------------------------------

    async def _listening(self, reading: asyncio.Task[None]) -> None:
        """Let barriers in behind what has been read; a final one ends the reading."""
        while True:
            message = await self._asked.get()
            if isinstance(message, m.Decided):
                await self._commit(message)
                continue
            if message.final:
                self._draining = True
                reading.cancel()
                await asyncio.wait({reading})
            self._read.put_now(BarrierItem(message.number, message.final))

    async def _prepare(self, barrier: BarrierItem, writer: Writer) -> None:
        """Make what is before the barrier durable in one sink; the last asks for the decision."""
        checkpoint = await self._checkpoints.prepare(barrier, writer)
        if checkpoint is not None:
            self._prepared(barrier, checkpoint)

    def _prepared(self, barrier: BarrierItem, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            raise Rejected(f"no sink closed checkpoint {barrier.number}", code=Code.INTERNAL)
        self._draining = barrier.final
        self._around.send(m.Prepared(self._pipeline, self._run, checkpoint))

    async def _commit(self, decided: m.Barrier | m.Decided) -> None:
        """Make a decided checkpoint visible, AFTER its decision and BEFORE the owner hears so."""
        checkpoint, positions = await self._checkpoints.commit(decided.number)
        await self._inlets.acknowledge(positions)
        self._progressed.forget(await self._replaying.decided(checkpoint))
        await self._around.states.decided()
        self._around.send(m.Committed(self._pipeline, self._run, decided.number))
        if self._draining:
            self._ended.set()
