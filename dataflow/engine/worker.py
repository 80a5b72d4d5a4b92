"""Runs tasks for the owners of pipelines; the two speak messages alone.

Inline, both sides share a process and ``send`` is a function call; a worker process puts a pipe
between them and changes nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from dataflow.connect import Registry, load
from dataflow.core import messages as m
from dataflow.core.clock import Clock
from dataflow.core.ids import Run
from dataflow.core.lanes import Lane
from dataflow.core.light import replace
from dataflow.engine.closing import to_its_end
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.failure import pipeline_error
from dataflow.engine.objects import Objects
from dataflow.engine.plan import Plan, plan
from dataflow.engine.replays import Replays
from dataflow.engine.states import States
from dataflow.engine.surroundings import Contexts, TaskSurroundings

if TYPE_CHECKING:
    from dataflow.engine.task import Task

LET_GO_S = 30.0
"""A run lets go when the call is over that its sink is in; the longest makes a parquet file, of 6 M
rows in 0.5 s. One that takes longer than this may have hung, in a thread that nobody can end: then
the next run asks the sink, whose lock or fence refuses it with a reason, and retries go on."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker needs of its process."""

    registry: Registry
    contexts: Contexts
    objects: Objects
    clock: Clock
    send: Callable[[m.ToOwner], None]
    probe: Callable[[str], None]
    hide: Callable[[str], str] = lambda text: text
    """Takes out of a text whatever secrets were filled in."""
    let_go: Callable[[m.Place, Run], None] = lambda *_: None
    """Hears of a task that it has ended and holds nothing any more."""


@dataclass(slots=True)
class _Running:
    run: Run
    working: asyncio.Task[None]
    before: frozenset[asyncio.Task[None]]
    """What it waits for: the run before it, and what that one had to wait for."""
    task: Task | None = None

    def give_up(self) -> None:
        """Cancel it, once: after that it is closing."""
        if not self.working.cancelling():
            self.working.cancel()


class Worker:
    """Keeps one task a lane; that of a new run begins AFTER the one before has let go, or hangs."""

    def __init__(self, around: Surroundings, tasks: asyncio.TaskGroup) -> None:
        self._around = around
        self._tasks = tasks
        self._running: dict[m.Place, _Running] = {}
        self._make: type[Task] | None = None
        self._known: set[str] = set()
        """Where the code of steps is that has been imported."""

    @classmethod
    @asynccontextmanager
    async def open(cls, around: Surroundings) -> AsyncGenerator[Worker, None]:
        """Return a worker; on leaving, whatever still runs is dropped where it stands."""
        async with asyncio.TaskGroup() as tasks:
            worker = cls(around, tasks)
            try:
                yield worker
            finally:
                worker.give_up_all()

    def receive(self, message: m.ToWorker) -> None:
        """Take a message from an owner."""
        match message:
            case m.RunTask():
                self._run(message)
            case m.Abandon():
                if (running := self._current(message)) is not None:
                    running.give_up()
            case m.Barrier() | m.Decided():
                running = self._current(message)
                if running is not None and running.task is not None:
                    running.task.receive(message)

    @property
    def busy(self) -> bool:
        """Tell whether a run has not let go yet, one that was dropped included."""
        return bool(self._running)

    def give_up_all(self) -> Sequence[tuple[m.Place, Run]]:
        """Drop every run where it stands; returns those that nobody had dropped before."""
        dropped = []
        for place, running in self._running.items():
            if not running.working.cancelling():
                running.give_up()
                dropped.append((place, running.run))
        return dropped

    def _current(self, message: m.ToWorker) -> _Running | None:
        running = self._running.get(m.place_of(message))
        return running if running is not None and running.run == message.run else None

    def _run(self, message: m.RunTask) -> None:
        place = m.place_of(message)
        current = self._running.get(place)
        before: frozenset[asyncio.Task[None]] = frozenset()
        if current is not None:
            if current.run >= message.run:
                return
            current.give_up()
            before = frozenset(t for t in (*current.before, current.working) if not t.done())
        working = self._tasks.create_task(self._work(message, before))
        self._running[place] = _Running(message.run, working, before)
        working.add_done_callback(lambda _: self._ended(message))

    def _ended(self, message: m.RunTask) -> None:
        if (current := self._current(message)) is not None and current.working.done():
            del self._running[m.place_of(message)]
        self._around.let_go(m.place_of(message), message.run)

    async def _work(self, message: m.RunTask, before: frozenset[asyncio.Task[None]]) -> None:
        try:
            if before:  # also where this run is given up meanwhile: the next one waits for it
                await to_its_end(asyncio.wait(before, timeout=LET_GO_S))
            planned = plan(self._around.registry, message.spec)
            make = await self._loaded(planned)
            around = self._surroundings(message)
            task = self._running[m.place_of(message)].task = make(message, planned, around)
            await task.work()
        except Exception as error:  # noqa: BLE001 - a step that cannot be made ends this run alone
            failure = pipeline_error(error)
            self._around.send(m.Failed(message.pipeline_id, message.run, failure, message.lane))

    async def _loaded(self, planned: Plan) -> type[Task]:
        """Return what makes tasks, once the code of their steps is there, too."""
        needed = planned.code
        if self._make is None or not needed <= self._known:
            self._make = await asyncio.to_thread(_load, needed)
            self._known |= needed
        return self._make

    def _surroundings(self, message: m.RunTask) -> TaskSurroundings:
        objects, pipeline = self._around.objects, message.pipeline_id
        lane = Lane.of_task(message.lane, message.spec)
        return TaskSurroundings(
            contexts=self._around.contexts,
            dead_letters=DeadLetters(objects, pipeline, lane),
            replays=Replays(objects, pipeline),
            states=States(objects, pipeline),
            send=partial(_send, self._around.send, message.lane),
            clock=self._around.clock,
            probe=self._around.probe,
            lane=lane,
        )


def _send(send: Callable[[m.ToOwner], None], lane: int, message: m.ToOwner) -> None:
    send(replace(message, lane=lane) if lane else message)


def _load(steps: Iterable[str]) -> type[Task]:
    """Import what a task needs; in a thread, because the first time it takes most of a second.

    Arrow and polars are half of the idle memory, so they come with the first task. The system's
    allocator keeps what batches leave for the next ones: over 12 M rows of CSV it took 4.9 s of
    processor and a peak of 350 MiB where Arrow's own took 5.7 s and 410 MiB (26.0.1).
    """
    arrow = import_module("pyarrow")
    arrow.set_memory_pool(arrow.system_memory_pool())
    task: type[Task] = import_module("dataflow.engine.task").Task
    for where in steps:
        with suppress(ImportError):  # The step that needs it says so, when it is made.
            load(where)
    return task
