"""``Workers`` in processes of their own: which one does what, and a new one for each that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import structlog
import xxhash

from dataflow.core import messages as m
from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import PipelineId
from dataflow.core.spec import PipelineSpec
from dataflow.engine.ingest.pushed import Parsed, Pushed
from dataflow.engine.lanes import Lanes
from dataflow.engine.processes.letters import (
    AskReplay,
    Causes,
    Letters,
    Purged,
    PurgeLetters,
    ReadCauses,
    ReadLetters,
    ReplayAsked,
)
from dataflow.engine.processes.messages import (
    Answer,
    CleanUp,
    Column,
    Done,
    ParseBatch,
    ParsedBatch,
    PreviewSpec,
    Question,
    StepsPreviewed,
)
from dataflow.engine.processes.process import Node, Process, Program, failure
from dataflow.engine.records import (
    Cause,
    DeadLetter,
    Given,
    PreviewStep,
    Replay,
    ReplayLetters,
    Wanted,
)

log = structlog.get_logger()

A = TypeVar("A", bound=Answer)

PARSES_MAX = 4
"""Batches of 16 MiB under way to one process: it is kept busy, and 64 MiB wait for it at most."""

ANSWER_S = 60.0
"""Six times a preview's patience; a batch is parsed in a second."""

SOMEONE_S = 30.0
"""For a process to begin; most of a second on an idle machine."""

BACKOFF_S, BACKOFF_MAX_S = 0.1, 10.0
"""Before a process begins again; it doubles with each that did not live long."""

LIVED_S = 30.0
"""Then whatever ended it comes seldom."""


class Processes:
    """As many processes as there shall be, each with its share of what runs."""

    def __init__(self, program: Program, count: int, node: Node) -> None:
        self._program = program
        self._lanes = Lanes(self._give, node.to_owner)
        self._node = replace(node, to_owner=self._lanes.hear)
        self._slots: list[Process | None] = [None] * count
        self._failures = [0] * count
        self._homes: dict[m.Place, Process] = {}
        self._waiting: dict[m.Place, m.RunTask] = {}
        """Tasks for which there is no process yet."""
        self._until: float | None = None
        self._last_words = "has not begun"
        self._parsing = asyncio.Semaphore(PARSES_MAX * count)
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, program: Program, count: int, node: Node
    ) -> AsyncGenerator[Processes, None]:
        """Begin them; on leaving each has ended, and dropped what still ran where it stood."""
        async with asyncio.TaskGroup() as tasks:
            processes = cls(program, count, node)
            for slot in range(count):
                tasks.create_task(processes._keep(slot))
            try:
                yield processes
            finally:
                processes._closing.set()
                async with asyncio.TaskGroup() as retiring:
                    for process in filter(None, processes._slots):
                        retiring.create_task(process.retire())

    @property
    def pids(self) -> Sequence[int]:
        """Return the process ids of those that live."""
        return [process.pid for process in self._slots if process is not None]

    # --- Workers ---------------------------------------------------------------------------------

    def receive(self, message: m.ToWorker) -> None:
        """See ``Workers``."""
        self._lanes.receive(message)

    def _give(self, message: m.ToWorker) -> None:
        """Give a message to the process that it is for: a task stays with one until it lets go."""
        place = m.place_of(message)
        home = self._home(place)
        if isinstance(message, m.RunTask):
            home = home or self._choose(place)
            if home is None:
                self._waiting[place] = message
                return
            self._homes[place] = home
        elif (waiting := self._waiting.get(place)) is not None and waiting.run == message.run:
            if isinstance(message, m.Abandon):
                del self._waiting[place]
            return
        if home is not None:
            home.tell(message)

    def serve(self, until: float) -> None:
        """See ``Workers``."""
        self._until = until
        for process in filter(None, self._slots):
            process.serve(until)

    async def parse(self, pushed: Pushed, types: Mapping[str, str], schema: bytes | None) -> Parsed:
        """See ``Workers``."""
        columns = tuple(Column(name, kind) for name, kind in types.items())
        batch = ParseBatch(
            pushed.batch_id, pushed.content_type, pushed.payload, columns, schema or b""
        )
        async with self._parsing:
            parsed = await self._ask(batch, ParsedBatch)
        return Parsed(parsed.schema, parsed.records, parsed.body)

    async def preview(
        self, spec: PipelineSpec, records_max: int, given: Given
    ) -> Sequence[PreviewStep]:
        """See ``Workers``."""
        return [
            PreviewStep(
                step=step.step,
                columns=[(column.name, column.type) for column in step.columns],
                records=step.records,
                filtered=step.filtered,
                rejected=step.rejected,
                records_in=step.records_in,
                records_out=step.records_out,
                records_produced=step.records_produced,
                records_absorbed=step.records_absorbed,
            )
            for step in (
                await self._ask(PreviewSpec(spec, records_max, given), StepsPreviewed)
            ).steps
        ]

    async def clean(self, pipeline: PipelineId, spec: PipelineSpec) -> None:
        """See ``Workers``."""
        await self._ask(CleanUp(pipeline, spec), Done)

    async def dead_letters(
        self, pipeline: PipelineId, after: str, limit: int, wanted: Wanted
    ) -> tuple[Sequence[DeadLetter], str]:
        """See ``Workers``."""
        found = await self._ask(ReadLetters(pipeline, after, limit, wanted), Letters)
        return found.letters, found.following

    async def causes(self, pipeline: PipelineId) -> Sequence[Cause]:
        """See ``Workers``."""
        return (await self._ask(ReadCauses(pipeline), Causes)).causes

    async def purge(self, pipeline: PipelineId, wanted: Wanted) -> int:
        """See ``Workers``."""
        return (await self._ask(PurgeLetters(pipeline, wanted), Purged)).letters

    async def replay(
        self, pipeline: PipelineId, spec: PipelineSpec, asking: ReplayLetters
    ) -> Replay:
        """See ``Workers``."""
        return (await self._ask(AskReplay(pipeline, spec, asking), ReplayAsked)).replay

    # --- who does it -----------------------------------------------------------------------------

    def _home(self, place: m.Place) -> Process | None:
        """Return the process that has a task, or has not let go of it."""
        home = self._homes.get(place)
        if home is not None and place not in home.runs:
            del self._homes[place]
            return None
        return home

    def _choose(self, place: m.Place) -> Process | None:
        """Return the process with the fewest tasks; of several, the pipeline's hash names one.

        Lanes go to one after the other.

        None as long as one is about to begin: the first to be there would get everything.
        """
        if any(self._is_about_to_begin(slot) for slot in range(len(self._slots))):
            return None
        count = len(self._slots)
        first = (xxhash.xxh64_intdigest(place.pipeline.encode()) + place.lane) % count
        return min(
            self._candidates(),
            key=lambda process: (len(process.runs), (process.number - 1 - first) % count),
            default=None,
        )

    def _candidates(self) -> Sequence[Process]:
        """Return those that are ready, or shall be: one whose slot has failed must show first."""
        living = [process for process in self._slots if process is not None and process.begun]
        return [p for p in living if p.ready or not self._failures[p.number - 1]]

    def _is_about_to_begin(self, slot: int) -> bool:
        process = self._slots[slot]
        return not self._failures[slot] and (process is None or not process.begun)

    async def _ask(self, question: Question, kind: type[A]) -> A:
        process = await self._someone()
        process.asked += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                return await process.asking.ask(question, kind)
        except TimeoutError:
            raise Unavailable(
                f"worker {process.number} has not answered for {ANSWER_S:.0f} s; ask again",
                code=Code.WORKER_LOST,
            ) from None
        finally:
            process.asked -= 1

    async def _someone(self) -> Process:
        """Return the process that is asked the least, once there is one."""
        try:
            async with asyncio.timeout(SOMEONE_S):
                while not (ready := [p for p in self._slots if p is not None and p.ready]):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable(
                f"no worker is ready: the last one {self._last_words}", code=Code.WORKER_LOST
            ) from None
        return min(ready, key=lambda process: process.asked)

    # --- keeping them alive ----------------------------------------------------------------------

    async def _keep(self, slot: int) -> None:
        """Have a process, and another when it has died."""
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            process = Process(slot + 1, self._node, self._has_changed, self._until)
            self._slots[slot] = process
            begun_at = loop.time()
            words = await process.live(self._program)
            self._slots[slot] = None
            if self._closing.is_set():
                return
            wait = min(BACKOFF_S * 2 ** self._failures[slot], BACKOFF_MAX_S)
            lived = process.ready and loop.time() - begun_at >= LIVED_S
            self._failures[slot] = 0 if lived else self._failures[slot] + 1
            log.error("worker lost", worker=process.number, why=words, again_in_s=wait)
            self._has_died(process, words)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait)

    def _has_died(self, process: Process, words: str) -> None:
        self._last_words = words
        for place in process.runs:
            self._homes.pop(place, None)
        process.lost(words)
        if self._candidates():
            self._has_changed()
        else:
            lost = Unavailable(f"worker {process.number} {words}", code=Code.WORKER_LOST)
            waiting, self._waiting = self._waiting, {}
            for at, task in waiting.items():
                self._node.to_owner(m.Failed(at.pipeline, task.run, failure(lost), at.lane))

    def _has_changed(self) -> None:
        """Give tasks that wait for a process to one that is there by now."""
        self._changed.set()
        waiting, self._waiting = self._waiting, {}
        for task in waiting.values():
            self._give(task)
