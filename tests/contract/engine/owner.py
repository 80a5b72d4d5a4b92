"""The owner's side of a pipeline, as small as it can be: one register, and the protocol's table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataflow.connect import Context, Registry
from dataflow.connect.testkit.places import Clock
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint, LineageStart, Origin, Stamp, starting_point
from dataflow.core.events import PipelineError
from dataflow.core.ids import Lineage, PipelineId, Run
from dataflow.core.protocol import Effect, Input, Protocol, Step
from dataflow.core.spec import PipelineSpec
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.objects import Objects
from dataflow.engine.records import DeadLetter
from dataflow.engine.worker import Surroundings
from dataflow.engine.workers import Inline

PIPELINE = PipelineId("p")

PATIENCE_S = 20.0
"""A run of a few rows takes milliseconds; past this it hangs."""


class Crash(Exception):
    """Something broke at a named point."""


class Points:
    """Counts the points of a life and breaks at one of them, and at every later one."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if 0 <= self.at < len(self.names):
            raise Crash(self.names[self.at])

    @property
    def reached(self) -> str:
        """Where it broke; empty if it did not."""
        return self.names[self.at] if 0 <= self.at < len(self.names) else ""


class Broken(Exception):
    """A run has ended with an error."""

    def __init__(self, error: PipelineError) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


@dataclass
class Owner:
    """Owns one pipeline; each ``live`` is one run of it, from what the last one left."""

    registry: Registry
    spec: PipelineSpec
    root: Path
    stored: Checkpoint | None = None
    run: int = 0
    clock: Clock = field(default_factory=Clock)
    told: list[m.Progress] = field(default_factory=list)
    lineage: Lineage = Lineage(1)
    start: LineageStart = LineageStart()

    def begin_lineage(self, lanes: int) -> None:
        """Go on where the last run ended, with so many lanes."""
        assert self.spec.options is not None
        self.spec = replace(self.spec, options=replace(self.spec.options, parallelism=lanes))
        self.lineage = Lineage(self.lineage + 1)
        self.start = LineageStart(Origin.POSITIONS)

    async def live(self, points: Callable[[str], None]) -> None:
        """Run to the end of the input.

        Raises:
            Broken: the worker has told of an error.
            Crash: at a point of the owner's own.
        """
        self.run += 1
        inbox: asyncio.Queue[m.ToOwner] = asyncio.Queue()
        around = Surroundings(
            registry=self.registry,
            contexts=lambda pipeline, step: Context(
                pipeline, step, self.clock, lambda text: text, Path, probe=points
            ),
            objects=Objects.local(self.root),
            clock=self.clock,
            send=inbox.put_nowait,
            probe=points,
        )
        ended: Exception | None = None
        async with asyncio.timeout(PATIENCE_S), Inline.open(around) as worker:
            try:
                await self._drive(worker, inbox, points)
            except (Broken, Crash) as error:
                ended = error
        if ended is not None:
            raise ended

    async def _drive(
        self, worker: Inline, inbox: asyncio.Queue[m.ToOwner], points: Callable[[str], None]
    ) -> None:
        start = starting_point(self.stored, None, self.lineage, self.start)
        self.stored = replace(start, stamp=Stamp(Run(self.run), start.stamp.number))
        points("owner.claimed")
        protocol = replace(Protocol(), number=start.stamp.number)
        life = _Life(self, Run(self.run), worker, points, protocol)
        life.step(Input.CLAIMED)
        while life.protocol.step is not Step.ENDED:
            life.take(await inbox.get())

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Return what is kept."""
        letters = DeadLetters(Objects.local(self.root), PIPELINE)
        found, _ = await letters.page("", 1_000)
        return found

    async def litter(self) -> Sequence[str]:
        """Return what is staged and was never decided."""
        return await Objects.local(self.root).keys(f"deadletters/{PIPELINE}/staged")


@dataclass
class _Life:
    """One run: where it stands, and whether a checkpoint is due."""

    owner: Owner
    run: Run
    worker: Inline
    points: Callable[[str], None]
    protocol: Protocol
    due: bool = False

    @property
    def stored(self) -> Checkpoint:
        """What is decided."""
        assert self.owner.stored is not None
        return self.owner.stored

    def take(self, message: m.ToOwner) -> None:  # noqa: C901 - one arm a message
        """Do what a message asks for."""
        match message:
            case m.Failed():
                raise Broken(message.error)
            case m.Opened():
                self._opened(message.checkpoint)
            case m.Prepared():
                self._decide(message.checkpoint)
            case m.Committed():
                self.points("owner.committed")
                self.step(Input.COMMITTED)
            case m.Exhausted():
                self.protocol, self.due = self.protocol.ask_last(), True
            case m.CheckpointDue():
                self.due = True
            case m.Progress():  # nothing rests on it
                self.owner.told.append(message)
                return
        if self.due and self.protocol.step is Step.READING:
            self.due = False
            self.step(Input.DUE)

    def step(self, event: Input) -> None:
        """Ask the table, and do as it says."""
        self.protocol, effect = self.protocol.after(event)
        number, final = self.protocol.number, self.protocol.final
        match effect:
            case Effect.RUN:
                task = m.RunTask(PIPELINE, self.run, self.owner.spec, self.stored)
                self.worker.receive(task)
            case Effect.BARRIER:
                self.worker.receive(m.Barrier(PIPELINE, self.run, number, final))
            case Effect.TELL_DECIDED:
                self.worker.receive(m.Decided(PIPELINE, self.run, number))
            case _:
                pass

    def _opened(self, held: Checkpoint | None) -> None:
        """Adopt what a sink has decided and the register had not heard of."""
        if held is not None and held.stamp.number > self.stored.stamp.number:
            stamp = Stamp(self.run, held.stamp.number)
            self.owner.stored = replace(held, stamp=stamp)
            self.protocol = replace(self.protocol, number=stamp.number)
        self.due = not self.stored.seeded
        self.step(Input.OPENED)

    def _decide(self, prepared: Checkpoint) -> None:
        self.points("owner.prepared")
        self.step(Input.PREPARED)
        assert prepared.stamp == Stamp(self.run, self.protocol.number)
        self.owner.stored = prepared
        self.points("owner.decided")
        self.step(Input.ACCEPTED)
