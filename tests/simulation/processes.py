"""What a simulated process is to the loop: a lane of callbacks, and tasks that must not outlive it.

A process can be ended without any of its code hearing of it, and held: while its lane does not
move, time goes on for the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.simulation.loop import Loop

T = TypeVar("T")

PROCESS: ContextVar[Process] = ContextVar("process")
"""Whose code runs; every handle carries it in its context, so every task it begins does too."""

CLOSING_TRIES = 50
"""An ended coroutine may await in its ``finally``; each try takes it one await further."""

PRUNE_TASKS = 256
"""Tasks of a process that are looked through for those that have ended."""


class Task(asyncio.Task[T]):
    """A task whose hash is its number: a set of tasks is walked in the same order every time."""

    def __init__(self, work: Any, *, number: int, **given: Any) -> None:
        self._number = number
        super().__init__(work, **given)

    def __hash__(self) -> int:
        return self._number


class Event(asyncio.Event):
    """An event whose hash is its number, for the same reason."""

    def __init__(self) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self._number: int = loop.next_number()  # type: ignore[attr-defined]  # it is our Loop

    def __hash__(self) -> int:
        return self._number


class Process:
    """A lane of the loop: what one simulated process has ready, and whether it may go on."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.lane: deque[Call] = deque()
        self.alive = True
        self.held = False
        self.stood_still_s = 0.0
        """How long its clocks have stood still, all in all."""
        self._stops_clock = False
        self._held_at_s = 0.0
        self._tasks: list[Task[Any]] = []
        self._prune_at = PRUNE_TASKS
        self.context = Context()
        self.context.run(PROCESS.set, self)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task of this process."""
        return self.loop.create_task(work, name=self.name, context=self.context.copy())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a task that nobody waits for."""
        self.start(work).set_name(f"{self.name}, alone")

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Run something in this process, soon."""
        self.loop.call_soon(callback, *args, context=self.context)

    def call_at(self, when_s: float, callback: Callable[..., None], *args: Any) -> None:
        """Run something in this process at a time of the loop."""
        self.loop.call_at(when_s, callback, *args, context=self.context)

    def hold(self, *, stops_clock: bool = False) -> None:
        """Let nothing of it run; its clocks go on, unless the whole machine stands still."""
        if not self.held:
            self.held, self._stops_clock = True, stops_clock
            self._held_at_s = self.loop.time()
            self.loop.withdraw(self)

    def go_on(self) -> None:
        """Run again, first whatever has become due meanwhile."""
        if not self.held:
            return
        self.held = False
        if self._stops_clock:
            still_s = self.loop.time() - self._held_at_s
            self.stood_still_s += still_s
            self.loop.delay(self, self._held_at_s, still_s)
        self.loop.admit(self)

    def end(self) -> None:
        """End it as kill -9 does: no ``finally``, no callback, nothing in memory survives."""
        self.alive = False
        self.lane.clear()
        self.loop.withdraw(self)

    @property
    def clocks_stopped(self) -> bool:
        """Tell whether its clocks stand still now."""
        return self.held and self._stops_clock

    def adopt(self, task: Task[Any]) -> None:
        """Keep a task from being collected, which would run its ``finally``."""
        self._tasks.append(task)
        if len(self._tasks) > self._prune_at:
            self._tasks = [one for one in self._tasks if not one.done()]
            self._prune_at = len(self._tasks) + PRUNE_TASKS

    def dispose(self) -> None:
        """Take every task apart, after the loop has closed."""
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # not in the stubs
                _close(task.get_coro())
        self._tasks.clear()


def _close(work: Any) -> None:
    for _ in range(CLOSING_TRIES):
        with suppress(BaseException):
            work.close()
            return


class Call(asyncio.TimerHandle):
    """A callback, and the process that it belongs to."""

    __slots__ = ("process", "when_s")

    def __init__(
        self,
        when_s: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: Loop,
        *,
        context: Context | None,
    ) -> None:
        if context is None:
            context = copy_context()
        super().__init__(when_s, callback, args, loop, context)
        self.process = context.get(PROCESS, loop.outside)
        self.when_s = when_s
