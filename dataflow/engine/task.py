"""One task of one run: source -> channel -> transforms -> channel -> sink.

Each arrow is a bounded channel; each stage takes one batch after the other. A barrier enters
behind the rows already read and reaches the sink behind them; reading goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from dataflow.connect import Split, Unavailable, Waiting
from dataflow.connect import Task as TaskId
from dataflow.core import messages as m
from dataflow.core.checkpoint import SplitPosition
from dataflow.core.events import ErrorType
from dataflow.core.spec import with_defaults
from dataflow.engine.channel import Channel
from dataflow.engine.closing import to_its_end
from dataflow.engine.failure import StepFailed, blaming, pipeline_error
from dataflow.engine.items import BarrierItem, Item, Rows, SplitEnded
from dataflow.engine.limits import TimeLimit
from dataflow.engine.plan import Plan
from dataflow.engine.reader import Reader
from dataflow.engine.rejects import Rejects
from dataflow.engine.steps import make_input, make_output, make_steps
from dataflow.engine.surroundings import TaskSurroundings
from dataflow.engine.transforming import Chain
from dataflow.engine.writer import Sinking, Writer

PROGRESS_EVERY_S, PROGRESS_EVERY_S_MAX = 0.25, 1.0
"""How often a task looks for news to tell: while there is some, and while there is none. Watchers
see rates at this pace. Five thousand that told the same four times a second took a processor."""

DEAD_BYTES_MAX = 8 << 20
"""Dead letters wait in memory for a checkpoint, so these many ask for one, however long the
interval; as much again may come until it is closed."""


class Task:
    """Runs until its final checkpoint is committed, it fails, or it is cancelled."""

    def __init__(self, message: m.RunTask, plan: Plan, around: TaskSurroundings) -> None:
        self._pipeline = message.pipeline_id
        self._run = message.run
        self._start = message.checkpoint
        self._around = around
        self._options = with_defaults(message.spec.options)
        self._input = make_input(plan, self._pipeline, around.contexts)
        self._chain = Chain(make_steps(plan, self._pipeline, around.contexts), around.clock)
        self._sinking = Sinking(
            name=plan.line.sink_name,
            output=make_output(plan, self._pipeline, around.contexts),
            rejects=Rejects(plan.line.sink_name, plan.policy(plan.sink_options)),
            dead_letters=around.dead_letters,
            batch_rows_max=plan.line.sink.batch_size,
            limit=TimeLimit(self._options.batch_timeout),
            clock=around.clock,
            probe=around.probe,
        )
        self._limit = TimeLimit(self._options.batch_timeout)
        self._read: Channel[Item] = Channel()
        self._transformed = self._read if self._chain.is_empty else Channel[Item]()
        self._asked: asyncio.Queue[m.Barrier | m.Decided] = asyncio.Queue()
        self._lag = (-1, -1)
        self._told: m.Progress | None = None
        self._rows_since_barrier = 0
        self._draining = False
        self._ended = asyncio.Event()

    def receive(self, message: m.Barrier | m.Decided) -> None:
        """Take a message from the owner."""
        self._asked.put_nowait(message)

    async def work(self) -> None:
        """Run. Every end but a cancellation is told to the owner, BEFORE the sink is closed.

        Closing waits for the call that the sink is in, and that may have hung. It goes to its end
        whoever cancels the run, or the sink would keep what it holds.
        """
        task = TaskId(self._pipeline, 0, self._run, self._start.lineage)
        writer = Writer(task, self._sinking, self._start)
        try:
            reader = await self._open(writer)
            await self._flow(reader, writer)
        except Exception as error:  # noqa: BLE001 - whatever a connector raises ends this run alone
            failure = pipeline_error(error)
            self._around.send(m.Failed(self._pipeline, self._run, failure))
        finally:
            await to_its_end(self._close(writer))

    async def _close(self, writer: Writer) -> None:
        self._limit.close()
        try:
            await writer.close()
        finally:
            await self._input.source.close()

    # --- opening ---------------------------------------------------------------------------------

    async def _open(self, writer: Writer) -> Reader:
        """Ask the sink BEFORE anything else what it holds: positions, pins and states are there.

        The register may not have heard of what a transactional sink has decided; a source opened
        by the register alone would pin something else for the rest of the lineage.
        """
        with blaming(ErrorType.SINK, self._sinking.name):
            held = await writer.open()
        self._start = held or self._start
        with blaming(ErrorType.SOURCE, self._input.name):
            await self._open_source()
        await self._chain.restore(self._start.states, self._around.states)
        writer.begin(self._start)
        self._around.probe("task.opened")
        self._around.send(m.Opened(self._pipeline, self._run, held))
        output = self._sinking.output
        numbers = output.keeps_ordinal or output.refuses or not self._chain.is_empty
        clock = self._around.clock
        return Reader(self._input, self._start, self._read, clock, numbers=numbers)

    async def _open_source(self) -> None:
        """Open the source, waiting for what it reads to be there, and fix what it pins."""
        source, name = self._input.source, self._input.name
        text = self._start.pinned.get(name, "")
        pinned = self._input.pinned.model_validate_json(text) if text else None
        source.resumes = self._input.resumes(self._start.positions.values())
        while True:
            try:
                pinned = await source.open(pinned)
                break
            except Waiting as error:
                self._tell(m.Phase.WAITING, error.message)
                await asyncio.sleep(self._input.poll_interval_s)
        if pinned is not None:
            fixed = {**self._start.pinned, name: pinned.model_dump_json()}
            self._start = replace(self._start, pinned=fixed)
        if self._start.latest and not self._start.seeded:
            await self._begin_at_latest()

    async def _begin_at_latest(self) -> None:
        """Fix where a lineage begins that begins at the end; it is decided with the seed."""
        positions: dict[str, SplitPosition] = {}
        for split in await self._input.source.splits():
            latest = await self._input.source.latest(split)
            positions[split.id] = SplitPosition(position=latest.model_dump_json())
        self._start = replace(self._start, positions=positions)

    # --- flowing ---------------------------------------------------------------------------------

    async def _flow(self, reader: Reader, writer: Writer) -> None:
        """Seed the lineage BEFORE its first row, then read, transform and write to the end."""
        if not self._start.seeded:
            await self._seed(writer)
        if self._ended.is_set():
            return
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._reading(reader))
            stages = [
                self._writing(reader, writer),
                self._listening(reading, writer),
                self._telling(reader),
            ]
            if not self._chain.is_empty:
                stages.append(self._transforming())
            running = [reading, *map(tasks.create_task, stages)]
            await self._ended.wait()
            for task in running:
                task.cancel()

    async def _seed(self, writer: Writer) -> None:
        """Close the checkpoint with which a lineage begins."""
        barrier = await self._asked.get()
        if isinstance(barrier, m.Barrier):
            await self._prepare(BarrierItem(barrier.number, barrier.final), writer)
        await self._commit(await self._asked.get(), writer)

    async def _reading(self, reader: Reader) -> None:
        with blaming(ErrorType.SOURCE, self._input.name):
            await reader.read(lambda: self._around.send(m.Exhausted(self._pipeline, self._run)))

    async def _transforming(self) -> None:
        while True:
            item = await self._read.get()
            match item:
                case Rows():
                    await self._transform(item)
                    await self._transformed.put(item, item.size)
                case BarrierItem():
                    saved = await self._chain.save(self._run, item.number, self._around.states)
                    self._transformed.put_now(replace(item, states=saved))
                case SplitEnded():
                    await self._transformed.put(item, 0)

    async def _transform(self, rows: Rows) -> None:
        try:
            await self._limit.keep(asyncio.to_thread(self._chain.apply, rows), "the transforms")
        except Unavailable as error:
            raise StepFailed(ErrorType.TRANSFORM, self._chain.at) from error

    async def _writing(self, reader: Reader, writer: Writer) -> None:
        with blaming(ErrorType.SINK, self._sinking.name):
            while True:
                item = await self._transformed.get()
                match item:
                    case Rows():
                        await writer.write(item)
                        self._count(item.read, reader, writer.dead_bytes)
                    case BarrierItem():
                        await self._prepare(item, writer)
                    case SplitEnded():
                        writer.ended(item.split)

    def _count(self, rows: int, reader: Reader, dead_bytes: int) -> None:
        if self._rows_since_barrier == 0:
            self._tell(m.Phase.PROCESSING, "", reader)  # There is something to decide.
        self._rows_since_barrier += rows
        rows_due = 0 < self._options.checkpoint_rows <= self._rows_since_barrier
        if rows_due or dead_bytes >= DEAD_BYTES_MAX:
            self._rows_since_barrier = 0
            self._around.send(m.CheckpointDue(self._pipeline, self._run))

    # --- checkpoints -----------------------------------------------------------------------------

    async def _listening(self, reading: asyncio.Task[None], writer: Writer) -> None:
        """Let barriers in behind what has been read; a final one ends the reading."""
        while True:
            message = await self._asked.get()
            if isinstance(message, m.Decided):
                await self._commit(message, writer)
                continue
            if message.final:
                self._draining = True
                reading.cancel()
                await asyncio.wait({reading})
            self._read.put_now(BarrierItem(message.number, message.final))

    async def _prepare(self, barrier: BarrierItem, writer: Writer) -> None:
        """Make everything before the barrier durable, then ask for the decision."""
        with blaming(ErrorType.SINK, self._sinking.name):
            checkpoint = await writer.prepare(barrier)
        self._draining = barrier.final
        self._rows_since_barrier = 0
        self._around.send(m.Prepared(self._pipeline, self._run, checkpoint))

    async def _commit(self, decided: m.Barrier | m.Decided, writer: Writer) -> None:
        """Make a decided checkpoint visible, AFTER its decision and BEFORE the owner hears so."""
        with blaming(ErrorType.SINK, self._sinking.name):
            checkpoint, positions = await writer.commit(decided.number)
        with blaming(ErrorType.SOURCE, self._input.name):
            for split, position in positions.items():
                await self._input.source.acknowledge(Split(split), position)
        if checkpoint.states:
            await self._around.states.forget_all_but(list(checkpoint.states.values()))
        self._around.send(m.Committed(self._pipeline, self._run, decided.number))
        if self._draining:
            self._ended.set()

    # --- telling ---------------------------------------------------------------------------------

    async def _telling(self, reader: Reader) -> None:
        while True:
            phase = m.Phase.WAITING if reader.waiting else m.Phase.PROCESSING
            phase = m.Phase.DRAINING if self._draining else phase
            self._lag = await self._input.source.lag()
            news = self._tell(phase, reader.waiting, reader)
            await asyncio.sleep(PROGRESS_EVERY_S if news else PROGRESS_EVERY_S_MAX)

    def _tell(self, phase: m.Phase, detail: str, reader: Reader | None = None) -> bool:
        """Say what is going on, unless that has been said; returns whether it was news."""
        read, moves = (reader.records, reader.moves) if reader is not None else (0, 0)
        news = m.Progress(self._pipeline, self._run, phase, detail, read, *self._lag, moves)
        if news == self._told:
            return False
        self._told = news
        self._around.send(news)
        return True
