"""A worker with an engine of its own: numbers in, rows out, by the protocol of the real one.

It speaks ``core.messages`` and keeps the order of effects that ``dataflow.engine`` keeps: publish
the last decision again, open, discard, say so; stage BEFORE it says prepared; publish AFTER it
heard decided. A source's numbers come at a pace; each row is named by its split and number.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint, SplitPosition, Stamp
from dataflow.core.errors import Code, DataFlowError, Unavailable
from dataflow.core.events import ErrorType, PipelineError
from dataflow.core.ids import PipelineId, Run
from tests.simulation.loop import Loop
from tests.simulation.network import Network, TimedOut
from tests.simulation.processes import Process
from tests.simulation.sinks import Parts, Row, Table

T = TypeVar("T")

READ_EVERY_S = 0.4
"""Between two looks at a source."""

SINK_PATIENCE_S = 1.0
"""How long a worker waits for a sink."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A source: so many numbers a split, which appear at a pace."""

    splits: Mapping[str, int]
    per_second: float
    begins_s: float

    def there(self, split: str, now_s: float) -> int:
        """Return how many can be read by now."""
        return min(self.splits[split], max(0, int((now_s - self.begins_s) * self.per_second)))


@dataclass(slots=True)
class Outlet:
    """What a pipeline reads and writes, and where each run has begun."""

    source: Numbers
    sink: Parts | Table
    begun: dict[Run, int] = field(default_factory=dict)
    """Records read before a run's first one."""


class Sinks:
    """The sinks of all pipelines, in a process of their own."""

    def __init__(self, network: Network, server: Process) -> None:
        self.network = network
        self.server = server
        self.outlets: dict[PipelineId, Outlet] = {}

    async def ask(self, worker: Process, work: Callable[[], T]) -> T:
        """Have the store do something; a lost answer is an unknown outcome."""
        try:
            return await self.network.ask(worker, self.server, work, SINK_PATIENCE_S)
        except TimedOut:
            raise Unavailable("the sink does not answer", code=Code.OUTCOME_UNKNOWN) from None


class Worker:
    """Runs tasks for one node; a larger run takes the place of a smaller one."""

    def __init__(
        self, loop: Loop, process: Process, sinks: Sinks, send: Callable[[m.ToOwner], None]
    ) -> None:
        self._loop = loop
        self._process = process
        self._sinks = sinks
        self._send = send
        self._running: dict[PipelineId, tuple[_Task, asyncio.Task[None]]] = {}

    def receive(self, message: m.ToWorker) -> None:
        """Take a message from the owner; one of another run than the one under way is ignored."""
        task, working = self._running.get(message.pipeline_id, (None, None))
        match message:
            case m.RunTask():
                self._run(message)
            case m.Abandon() if task and working and task.run == message.run:
                working.cancel()
            case m.Barrier() | m.Decided() if task and task.run == message.run:
                task.inbox.put_nowait(message)
            case _:
                pass

    def _run(self, message: m.RunTask) -> None:
        task, working = self._running.get(message.pipeline_id, (None, None))
        if task is not None and task.run >= message.run:
            return
        if working is not None:
            working.cancel()
        outlet = self._sinks.outlets[message.pipeline_id]
        kind = _Staging if isinstance(outlet.sink, Parts) else _Transactional
        made = kind(message, outlet, self._sinks, self._process, send=self._send)
        self._running[message.pipeline_id] = made, self._loop.create_task(made.work())


class _Task(ABC):
    """One run: reads at its pace, and closes the checkpoints that it is asked for."""

    def __init__(
        self,
        message: m.RunTask,
        outlet: Outlet,
        sinks: Sinks,
        process: Process,
        *,
        send: Callable[[m.ToOwner], None],
    ) -> None:
        self.pipeline = message.pipeline_id
        self.run = message.run
        self.inbox: asyncio.Queue[m.Barrier | m.Decided] = asyncio.Queue()
        self.start = message.checkpoint
        self.outlet = outlet
        self.sinks = sinks
        self.process = process
        self.send = send
        self.positions: dict[str, int] = {}
        self.rows: list[Row] = []
        self.read = 0
        self._prepared: Checkpoint | None = None
        self._final = False
        self._exhausted = False

    async def work(self) -> None:
        try:
            held = await self.open()
            self.start = held or self.start
            self.positions = {
                split: position.records for split, position in self.start.positions.items()
            }
            self.outlet.begun[self.run] = sum(self.positions.values())
            self.send(m.Opened(self.pipeline, self.run, held))
            await self._flow()
        except DataFlowError as error:
            failure = PipelineError(
                error_type=ErrorType.SINK,
                code=error.code,
                message=str(error),
                retryable=isinstance(error, Unavailable),
            )
            self.send(m.Failed(self.pipeline, self.run, failure))

    async def _flow(self) -> None:
        seeded = self.start.seeded
        while True:
            message = await self._next(READ_EVERY_S if seeded and not self._final else None)
            match message:
                case m.Barrier():
                    self._final = message.final
                    await self._prepare(message.number)
                case m.Decided():
                    if self._prepared is None or self._prepared.stamp.number != message.number:
                        raise Unavailable(f"checkpoint {message.number} was not prepared")
                    await self.publish(message.number)
                    seeded = True
                    self.send(m.Committed(self.pipeline, self.run, message.number))
                    if self._final:
                        return
                case None:
                    self._read()

    async def _next(self, patience_s: float | None) -> m.Barrier | m.Decided | None:
        try:
            async with asyncio.timeout(patience_s):
                return await self.inbox.get()
        except TimeoutError:
            return None

    def _read(self) -> None:
        """Read what has come since, and tell the owner of it."""
        now_s, source = self.process.loop.time(), self.outlet.source
        before = self.read
        for split in source.splits:
            first, end = self.positions.get(split, 0), source.there(split, now_s)
            self.rows += [(split, number) for number in range(first, end)]
            self.positions[split] = max(first, end)
            self.read += max(0, end - first)
        if self.read > before:
            phase = m.Phase.PROCESSING
            self.send(m.Progress(self.pipeline, self.run, phase, records_read=self.read))
        if not self._exhausted and self.positions == dict(source.splits):
            self._exhausted = True
            self.send(m.Exhausted(self.pipeline, self.run))

    async def _prepare(self, number: int) -> None:
        rows, self.rows = self.rows, []
        checkpoint = replace(
            self.start,
            stamp=Stamp(self.run, number),
            seeded=True,
            positions={
                split: SplitPosition(str(position), position)
                for split, position in self.positions.items()
            },
            committables={"sink": json.dumps({"run": self.run, "number": number})},
        )
        await self.decide(checkpoint, rows)
        self._prepared = checkpoint
        self.send(m.Prepared(self.pipeline, self.run, checkpoint))

    @abstractmethod
    async def open(self) -> Checkpoint | None:
        """Go back to what was decided; returns the decision that a sink itself holds."""

    @abstractmethod
    async def decide(self, checkpoint: Checkpoint, rows: list[Row]) -> None:
        """Make rows survive; a transactional sink decides with them."""

    @abstractmethod
    async def publish(self, number: int) -> None:
        """Make a decided checkpoint seen."""


class _Staging(_Task):
    async def open(self) -> Checkpoint | None:
        sink = self._sink
        if text := self.start.committables.get("sink", ""):
            last: dict[str, Any] = json.loads(text)
            await self.sinks.ask(
                self.process, lambda: sink.publish(Run(last["run"]), last["number"])
            )
        await self.sinks.ask(self.process, lambda: sink.discard(self.run))
        return None

    async def decide(self, checkpoint: Checkpoint, rows: list[Row]) -> None:
        sink, number = self._sink, checkpoint.stamp.number
        await self.sinks.ask(self.process, lambda: sink.stage(self.run, number, tuple(rows)))

    async def publish(self, number: int) -> None:
        sink = self._sink
        await self.sinks.ask(self.process, lambda: sink.publish(self.run, number))

    @property
    def _sink(self) -> Parts:
        assert isinstance(self.outlet.sink, Parts)
        return self.outlet.sink


class _Transactional(_Task):
    async def open(self) -> Checkpoint | None:
        sink, start = self._sink, self.start
        return await self.sinks.ask(self.process, lambda: sink.recover(self.run, start))

    async def decide(self, checkpoint: Checkpoint, rows: list[Row]) -> None:
        sink = self._sink
        await self.sinks.ask(self.process, lambda: sink.commit(self.run, checkpoint, tuple(rows)))

    async def publish(self, number: int) -> None:
        """Nothing is left to do: the transaction has shown them."""

    @property
    def _sink(self) -> Table:
        assert isinstance(self.outlet.sink, Table)
        return self.outlet.sink
