"""One life of a worker process, as its node sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from dataflow.core import messages as m
from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.events import ErrorType, PipelineError
from dataflow.core.ids import Run
from dataflow.engine.processes.asking import Asking
from dataflow.engine.processes.link import Link
from dataflow.engine.processes.messages import (
    Alive,
    Answer,
    Ask,
    Begin,
    FromProcess,
    LetGo,
    Question,
    Ready,
    Replied,
    Retire,
    Serve,
    ToOwner,
    ToProcess,
    ToWorker,
    Withdraw,
)
from dataflow.engine.processes.spawned import Spawned
from dataflow.wire.messages import from_process, to_process_bytes

UNSENT_BYTES_MAX = 256 << 20
"""Twice what a process that keeps up may be behind: see ``pool.PARSES_MAX``. One that is further
behind reads nothing any more, and what waits for it would fill the memory of the node."""

LOOK_EVERY_S, LOOKS_MAX = 5.0, 12
"""A minute of silence, counted in looks: a node that was frozen itself looks before it judges."""

REAP_S = 5.0
"""Between its end and that of its socket, either way; past it something holds one of them."""

RETIRE_S = 10.0
"""For sinks to close, as long as a node waits for its own threads at its end."""


@dataclass(frozen=True, slots=True)
class Program:
    """How worker processes are begun: a command, and the settings that each hears first."""

    command: Sequence[str]
    settings: str


@dataclass(frozen=True, slots=True)
class Node:
    """What a process needs of its node."""

    to_owner: Callable[[m.ToOwner], None]
    answer: Callable[[Question], Awaitable[Answer]]
    say: Callable[[int, str], None]
    """Hears each line on a process's standard error; called in a thread."""


@dataclass(eq=False)
class Process:
    """Begun by ``live``, which returns when it has ended and how."""

    number: int
    node: Node
    changed: Callable[[], None]
    """Called when it has begun, when it is ready, and when it has let go of a run."""
    until: float | None = None
    """See ``Workers.serve``."""
    ready: bool = False
    asked: int = 0
    runs: dict[m.Place, Run] = field(default_factory=dict)
    """Of the tasks that it was asked for and has not let go."""
    _link: Link | None = None
    _asking: Asking | None = None
    _spawned: Spawned | None = None
    _heard: bool = False
    _killed_because: str = ""

    @property
    def begun(self) -> bool:
        """Tell whether it can be told anything; it does it when it is ready."""
        return self._link is not None

    @property
    def pid(self) -> int:
        """Return its process id; 0 before it has one."""
        return self._spawned.pid if self._spawned else 0

    @property
    def asking(self) -> Asking:
        """Return where questions are asked."""
        if self._asking is None:
            raise Unavailable(f"worker {self.number} has not begun", code=Code.WORKER_LOST)
        return self._asking

    async def live(self, program: Program) -> str:
        """Begin it, and return how it ended, in words, AFTER the last that it said was heard."""
        lost = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            try:
                spawned = self._spawned = Spawned(program.command, self._said)
            except OSError as error:
                return f"cannot be started: {error}"
            try:
                self._asking = Asking(self._say_if_any, self.node.answer, tasks)
                self._link = await Link.open(spawned.end, self._hear, lost.set)
                self.say(Begin(self.number, program.settings))
                if self.until is not None:
                    self.say(Serve(self.until))
                self.changed()
                await self._ended(spawned, lost)
            finally:
                spawned.kill()
                if self._link is not None:
                    self._link.close()
            words = self._killed_because or await spawned.last_words()
            gone = f"worker {self.number} {words}"
            self._asking.lost(Unavailable(gone, code=Code.WORKER_LOST))
        return words

    async def retire(self) -> None:
        """Have it end; one that does not is killed."""
        spawned = self._spawned
        if spawned is None or spawned.ended.done():
            return
        try:
            if self.ready:
                self.say(Retire())
                await asyncio.wait({spawned.ended}, timeout=RETIRE_S)
        finally:
            self.kill(f"was ended by its node: it has not let go within {RETIRE_S:.0f} s")
        await asyncio.wait({spawned.ended}, timeout=REAP_S)

    def kill(self, because: str) -> None:
        """End it now."""
        if self._spawned is not None and not self._spawned.ended.done():
            self._killed_because = self._killed_because or because
            self._spawned.kill()

    def serve(self, until: float) -> None:
        """See ``Workers``."""
        self.until = until
        self.say(Serve(until))

    def say(self, message: Serve | Retire | Begin | ToWorker | Ask | Replied | Withdraw) -> None:
        """Send a message; one that does not read what it is sent is killed.

        Raises:
            Rejected: the message is too large.
        """
        if self._link is None:
            return
        self._link.send(to_process_bytes(ToProcess(message)))
        if self._link.unsent > UNSENT_BYTES_MAX:
            self.kill(f"was ended by its node: it has not read {UNSENT_BYTES_MAX >> 20} MiB")

    def tell(self, message: m.ToWorker) -> None:
        """Send what an owner says; a task that is too large to be sent has failed."""
        if isinstance(message, m.RunTask):
            self.runs[m.place_of(message)] = message.run
        try:
            self.say(ToWorker(message))
        except Rejected as error:
            self.fail(m.place_of(message), message.run, error)

    def fail(self, place: m.Place, run: Run, error: Rejected | Unavailable) -> None:
        """Tell an owner that the task is no more."""
        self.node.to_owner(m.Failed(place.pipeline, run, failure(error), place.lane))

    def lost(self, words: str) -> None:
        """Tell the owners of what it ran that it has ended."""
        error = Unavailable(f"worker {self.number} {words}", code=Code.WORKER_LOST)
        while self.runs:
            self.fail(*self.runs.popitem(), error)

    # --- hearing ---------------------------------------------------------------------------------

    def _say_if_any(self, message: Ask | Replied | Withdraw) -> None:
        self.say(message)

    def _said(self, line: str) -> None:
        self.node.say(self.number, line)

    def _hear(self, payload: bytes) -> None:
        self._heard = True
        match from_process(payload, FromProcess).message:
            case ToOwner(message):
                self.node.to_owner(message)
            case LetGo(pipeline, run, lane):
                if self.runs.get(place := m.Place(pipeline, lane)) == run:
                    del self.runs[place]
                self.changed()
            case Ready():
                self.ready = True
                self.changed()
            case Alive():
                pass
            case message:
                self.asking.hear(message)

    async def _ended(self, spawned: Spawned, lost: asyncio.Event) -> None:
        """Return when it has ended, or must."""
        async with asyncio.TaskGroup() as tasks:
            gone = tasks.create_task(lost.wait())
            silent = tasks.create_task(self._silence())
            ends: list[asyncio.Future[Any]] = [spawned.ended, gone]
            await asyncio.wait([*ends, silent], return_when=asyncio.FIRST_COMPLETED)
            if silent.done():
                self.kill(f"was ended by its node: silent for {_silence_max()}")
            await asyncio.wait(ends, timeout=REAP_S)
            gone.cancel()
            silent.cancel()

    async def _silence(self) -> None:
        looks = 0
        while looks < LOOKS_MAX:
            await asyncio.sleep(LOOK_EVERY_S)
            looks = 0 if self._heard else looks + 1
            self._heard = False


def _silence_max() -> timedelta:
    return timedelta(seconds=LOOK_EVERY_S * LOOKS_MAX)


def failure(error: Rejected | Unavailable) -> PipelineError:
    """Return the error of a run whose process is the reason."""
    return PipelineError(
        error_type=ErrorType.SYSTEM,
        code=error.code,
        message=str(error),
        retryable=isinstance(error, Unavailable),
    )
