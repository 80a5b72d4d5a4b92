"""A worker process, seen from inside: a worker at one end of a socket.

It ends at once when the other end is gone, whatever it is doing: whoever began it has died, and
another node may begin the same runs.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import TypeAlias

from dataflow.connect import Log, Registry
from dataflow.core import messages as m
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import PipelineId, Run
from dataflow.engine.failure import unsaid
from dataflow.engine.ingest.log import parse_in
from dataflow.engine.ingest.pushed import Pushed
from dataflow.engine.looking import Looking
from dataflow.engine.objects import Objects
from dataflow.engine.processes import letters
from dataflow.engine.processes.allowed import Allowed
from dataflow.engine.processes.asking import Asking
from dataflow.engine.processes.followed import FollowedLog
from dataflow.engine.processes.letters import AskReplay, PurgeLetters, ReadCauses, ReadLetters
from dataflow.engine.processes.link import Link
from dataflow.engine.processes.messages import (
    Alive,
    Answer,
    Ask,
    Begin,
    CleanUp,
    Column,
    Done,
    FromProcess,
    LetGo,
    ParseBatch,
    ParsedBatch,
    PreviewSpec,
    Question,
    Ready,
    Replied,
    Retire,
    Serve,
    Step,
    StepsPreviewed,
    ToOwner,
    ToProcess,
    ToWorker,
    Withdraw,
)
from dataflow.engine.processes.process import failure
from dataflow.engine.records import PreviewStep
from dataflow.engine.surroundings import Contexts
from dataflow.engine.worker import Surroundings, Worker
from dataflow.wire.messages import from_process_bytes, to_process

ALIVE_EVERY_S = 2.0
"""Twice and more within a look of the node's."""

BEHIND_BYTES = 1 << 20
"""A node that is so far behind needs no more reports on which nothing rests."""

ORPHANED = 71
"""Exit status, for whoever reads the log of the system."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker process is made of; see ``worker.Surroundings``."""

    registry: Registry
    contexts: Contexts
    objects: Objects
    clock: Clock
    probe: Callable[[str], None]
    hide: Callable[[str], str]


Make = Callable[[Begin, Callable[[PipelineId], Log]], Parts]
"""Makes the parts from the settings; a pipeline's ingest log is had from the node."""


def taken_over() -> socket.socket:
    """Return the socket that this process was begun with as its standard input."""
    end = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    Thread(target=_end_with, args=(end,), name="orphaned", daemon=True).start()
    return end


async def serve(end: socket.socket, make: Make) -> None:
    """Work until told to retire."""
    ear = _Ear()
    link = await Link.open(end, ear.hear, _end_orphaned)
    begin = await ear.heard.get()
    if not isinstance(begin, Begin):
        raise TypeError(f"{type(begin).__name__} is no beginning")
    async with asyncio.TaskGroup() as tasks:
        child = _Child(link, tasks)
        parts = await asyncio.to_thread(make, begin, child.log)
        around = Surroundings(
            registry=parts.registry,
            contexts=parts.contexts,
            objects=parts.objects,
            clock=parts.clock,
            send=lambda message: child.tell(unsaid(message, parts.hide)),
            probe=parts.probe,
            hide=parts.hide,
            let_go=child.let_go,
        )
        async with Worker.open(around) as worker:
            alive = tasks.create_task(child.tell_alive())
            await child.work(worker, Looking(around), parts.clock, ear)
            child.retire()
        alive.cancel()


Heard: TypeAlias = Begin | Retire | ToWorker | Ask | Replied | Withdraw


class _Ear:
    """Takes what the node says in order, but for how long the process may work: that at once.

    A process that begins, or is behind, would else refuse work by a lease that was renewed since.
    """

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Heard] = asyncio.Queue()
        self._until: float | None = None
        self._renew: Callable[[float], None] | None = None

    def hear(self, payload: bytes) -> None:
        """Take a message."""
        match to_process(payload, ToProcess).message:
            case Serve(until):
                self._until = until
                if self._renew is not None:
                    self._renew(until)
            case message:
                self.heard.put_nowait(message)

    def renew_by(self, renew: Callable[[float], None]) -> None:
        """Have ``renew`` called with the latest moment, and with each that follows."""
        self._renew = renew
        if self._until is not None:
            renew(self._until)


class _Child:
    """Carries what is said between a link and a worker, as long as the node may let it work."""

    def __init__(self, link: Link, tasks: asyncio.TaskGroup) -> None:
        self._link = link
        self._asking = Asking(self._say, self._answer, tasks)
        self._worker: Worker | None = None
        self._looking: Looking | None = None
        self._allowed: Allowed | None = None

    def log(self, pipeline: PipelineId) -> Log:
        """Return a pipeline's ingest log."""
        return FollowedLog(self._asking.ask, pipeline)

    def tell(self, message: m.ToOwner) -> None:
        """Send what an owner shall hear."""
        is_report = isinstance(message, m.Progress | m.CheckpointDue)
        if not is_report or self._link.unsent < BEHIND_BYTES:
            self._say(ToOwner(message))

    def let_go(self, place: m.Place, run: Run) -> None:
        """Tell the node that a task holds nothing any more."""
        self._say(LetGo(place.pipeline, run, place.lane))

    async def tell_alive(self) -> None:
        """Tell the node, now and then, that this loop turns."""
        while True:
            self._say(Alive())
            await asyncio.sleep(ALIVE_EVERY_S)

    async def work(self, worker: Worker, looking: Looking, clock: Clock, ear: _Ear) -> None:
        """Do as the node says, in order, until it says that it is enough."""
        self._worker, self._looking = worker, looking
        self._allowed = Allowed(clock, self._drop, lambda: worker.busy)
        ear.renew_by(self._allowed.serve)
        self._say(Ready())
        while not isinstance(message := await ear.heard.get(), Retire):
            self._take(message)

    def retire(self) -> None:
        """Answer nothing any more."""
        self._asking.lost(Unavailable("the process has retired", code=Code.WORKER_LOST))

    def _take(self, message: Begin | ToWorker | Ask | Replied | Withdraw) -> None:
        match message:
            case ToWorker(said):
                self._give(said)
            case Ask() | Replied() | Withdraw():
                self._asking.hear(message)
            case Begin():
                raise TypeError("a process begins once")

    def _say(self, message: Ready | Alive | LetGo | ToOwner | Ask | Replied | Withdraw) -> None:
        self._link.send(from_process_bytes(FromProcess(message)))

    # --- as long as it may -----------------------------------------------------------------------

    def _give(self, message: m.ToWorker) -> None:
        """Hand a message to the worker, unless the lease has ended while nobody looked."""
        if self._allowed is not None and self._allowed.over:
            self._drop()
            if isinstance(message, m.RunTask):
                self._refuse(m.place_of(message), message.run)
                self.let_go(m.place_of(message), message.run)
            return
        if self._worker is not None:
            self._worker.receive(message)

    def _drop(self) -> None:
        if self._worker is not None:
            for place, run in self._worker.give_up_all():
                self._refuse(place, run)

    def _refuse(self, place: m.Place, run: Run) -> None:
        error = Unavailable(
            "the lease of its node has ended; it is tried again", code=Code.LEASE_LOST
        )
        self.tell(m.Failed(place.pipeline, run, failure(error), place.lane))

    # --- questions -------------------------------------------------------------------------------

    async def _answer(self, question: Question) -> Answer:
        looking = self._looking
        if looking is None:
            raise Unavailable("the process has not begun", code=Code.WORKER_LOST)
        match question:
            case ParseBatch():
                pushed = Pushed(question.batch_id, question.content_type, question.payload)
                types = {column.name: column.type for column in question.types}
                parsed = await parse_in(None)(pushed, types, question.schema or None)
                return ParsedBatch(parsed.schema, parsed.records, parsed.body)
            case PreviewSpec():
                steps = await looking.preview(question.spec, question.records_max, question.given)
                return StepsPreviewed(tuple(map(_step, steps)))
            case CleanUp():
                await looking.clean(question.pipeline_id, question.spec)
                return Done()
            case ReadLetters() | ReadCauses() | PurgeLetters() | AskReplay():
                return await letters.answer(looking, question)
            case _:
                raise TypeError(f"{type(question).__name__} is asked of a node")


def _step(step: PreviewStep) -> Step:
    columns = tuple(Column(name, kind) for name, kind in step.columns)
    return Step(
        step=step.step,
        columns=columns,
        records=tuple(step.records),
        filtered=step.filtered,
        rejected=tuple(step.rejected),
        records_in=step.records_in,
        records_out=step.records_out,
        records_produced=step.records_produced,
        records_absorbed=step.records_absorbed,
    )


def _end_with(end: socket.socket) -> None:
    """(in a thread) End the process when the other end of its socket is gone.

    The loop sees that too, unless a connector holds it up.
    """
    gone = select.poll()
    gone.register(end.fileno(), getattr(select, "POLLRDHUP", select.POLLHUP))
    gone.poll()
    _end_orphaned()


def _end_orphaned() -> None:
    os._exit(ORPHANED)
