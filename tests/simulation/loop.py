"""An event loop in virtual time, whose every choice is drawn from a seed.

Nothing here waits, and nothing outside is touched: no sockets, threads or clocks. What is ready
stands in lanes, one a process; the seed says which lane goes next, the lane keeps its order. When
nothing is ready, time jumps to the next timer.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import sys
import warnings
from asyncio import events
from collections.abc import Callable
from contextvars import Context
from itertools import count
from random import Random
from typing import Any

from tests.simulation.processes import PROCESS, Call, Event, Process, Task


class Loop(asyncio.BaseEventLoop):
    """Runs processes in virtual time until somebody stops it."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random.random
        self._now_s = 0.0
        self._timers: list[tuple[float, int, Call]] = []
        self._numbers = count()
        self._ready_lanes: list[Process] = []
        self._stopped = False
        self._made = count(1)
        self.processes: list[Process] = []
        self.steps = 0
        self.failed: list[str] = []
        """What was raised and nobody has caught."""
        self.outside = self.process("world")
        self.set_task_factory(self._make_task)

    def process(self, name: str) -> Process:
        """Return a new process."""
        made = Process(self, name)
        self.processes.append(made)
        return made

    def time(self) -> float:
        """Return virtual seconds since the beginning."""
        return self._now_s

    def run(self, until_s: float) -> None:
        """Run until nothing is left, ``halt`` is called, or a time is reached."""
        self._stopped = False
        events._set_running_loop(self)
        event, asyncio.Event = asyncio.Event, Event  # type: ignore[misc]  # for the length of a run
        try:
            self._run_ready()
            while not self._stopped and self._jump(until_s):
                self._run_ready()
        finally:
            asyncio.Event = event  # type: ignore[misc]  # as before
            events._set_running_loop(None)

    def next_number(self) -> int:
        """Return a number that nothing of this loop has had."""
        return next(self._made)

    def halt(self) -> None:
        """Stop after the callback under way."""
        self._stopped = True

    def _run_ready(self) -> None:
        lanes, random = self._ready_lanes, self._random
        while lanes and not self._stopped:
            many = len(lanes)
            index = int(random() * many) if many > 1 else 0
            lane = lanes[index].lane
            call = lane.popleft()
            if not lane:
                lanes[index] = lanes[-1]
                lanes.pop()
            if not call.cancelled():
                self.steps += 1
                call._run()

    def _jump(self, until_s: float) -> bool:
        """Move to the next timer; False if there is none before the end."""
        timers = self._timers
        while timers and (timers[0][2].cancelled() or not timers[0][2].process.alive):
            heapq.heappop(timers)
        if not timers or timers[0][0] > until_s:
            self._now_s = until_s
            return False
        now_s = self._now_s = max(self._now_s, timers[0][0])
        while timers and timers[0][0] <= now_s:
            call = heapq.heappop(timers)[2]
            if not call.cancelled():
                self._enqueue(call)
        return True

    def _enqueue(self, call: Call) -> None:
        process = call.process
        if not process.alive:
            return
        if not process.lane and not process.held:
            self._ready_lanes.append(process)
        process.lane.append(call)

    def withdraw(self, process: Process) -> None:
        """Let a process's lane stand."""
        if process in self._ready_lanes:
            self._ready_lanes.remove(process)

    def admit(self, process: Process) -> None:
        """Let a process's lane move again."""
        if process.lane:
            self._ready_lanes.append(process)

    def delay(self, process: Process, since_s: float, by_s: float) -> None:
        """Put off all timers of a process, whose clocks have stood still."""
        late = [call for call in process.lane if call.when_s > since_s]
        for call in late:
            process.lane.remove(call)
        mine = late + [call for _, _, call in self._timers if call.process is process]
        self._timers = [timer for timer in self._timers if timer[2].process is not process]
        for call in mine:
            call.when_s += by_s
            self._timers.append((call.when_s, next(self._numbers), call))
        heapq.heapify(self._timers)

    def call_soon(  # type: ignore[override]  # the variadic form, as BaseEventLoop has it
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See ``AbstractEventLoop.call_soon``."""
        call = Call(0.0, callback, args, self, context=context)
        self._enqueue(call)
        return call

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See ``AbstractEventLoop.call_at``."""
        call = Call(when, callback, args, self, context=context)
        heapq.heappush(self._timers, (when, next(self._numbers), call))
        return call

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See ``AbstractEventLoop.call_later``."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]  # as above
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See ``AbstractEventLoop.call_soon_threadsafe``: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # as above
        self, _: Any, work: Callable[..., Any], *args: Any
    ) -> Any:
        """Do what a thread was to do, here and now."""
        done = self.create_future()
        try:
            done.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 - is raised to who waits
            done.set_exception(error)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody has caught; what was never asked for tells of collection alone."""
        message = str(context.get("message"))
        if "never retrieved" not in message:
            self.failed.append(f"{message}: {context.get('exception')!r}")

    def _make_task(self, _: Any, work: Any, **given: Any) -> Task[Any]:
        task: Task[Any] = Task(work, number=self.next_number(), loop=self, **given)
        context = given.get("context")
        owner = context.get(PROCESS) if context is not None else PROCESS.get(self.outside)
        (owner or self.outside).adopt(task)
        return task

    def dispose(self) -> None:
        """Close, and take apart what was still going on, whatever it says to that."""
        self.close()
        hook = sys.unraisablehook
        sys.unraisablehook = lambda _: None
        try:
            self._take_apart()
        finally:
            sys.unraisablehook = hook

    def _take_apart(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tasks that have not begun were never awaited
            for process in self.processes:
                process.alive = False
                process.lane.clear()
                process.dispose()
            self._timers.clear()
            self._ready_lanes.clear()
            gc.collect()
