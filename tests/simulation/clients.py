"""People and programs that ask things of the cluster, and remember what they were told.

A client chooses a command id once, and asks again with it, through any gateway, for as long as it
does not know what became of the command. It keeps what it heard, for the checks at the end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from dataflow.core import commands as c
from dataflow.core.answers import Answer
from dataflow.core.errors import DataFlowError, Rejected, Unavailable
from dataflow.core.ids import CommandId, PipelineId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.lifecycle import COMPLETED
from dataflow.core.light import replace
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, canonical
from dataflow.core.state import State, Status
from tests.simulation.network import TimedOut
from tests.simulation.processes import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

ATTEMPT_S = 2.0
"""How long a client waits for one answer."""

PATIENCE_S = 8.0
"""How long a client keeps asking; then it never learns what became of the command."""

STOP_BY = timedelta(seconds=1)
"""By when some stops must have come true, whatever their workers do."""

AGAIN_S_MAX = 1.0
"""How long a client waits at most before it asks again."""

SPEC = canonical(
    PipelineSpec(
        name="numbers",
        source=Source("numbers", "simulated"),
        sink=Sink("simulated"),
        options=PipelineOptions(
            checkpoint_interval=timedelta(seconds=1),
            backoff_initial=timedelta(milliseconds=300),
            backoff_max=timedelta(seconds=1),
            max_attempts=1_000,
        ),
    )
)


@dataclass(slots=True)
class Asked:
    """A command, and all that its client knows of it."""

    command: c.Command
    floor: SequenceNumber
    """The latest event of the pipeline that anybody knew of when it was first asked."""
    attempts: int = 0
    answer: Answer | None = None
    rejected: str = ""


@dataclass(slots=True)
class Read:
    """A pipeline's state as a client was shown it."""

    pipeline: PipelineId
    floor: SequenceNumber
    state: State


class Client:
    """Asks, reads, and asks again."""

    def __init__(self, world: World, name: str, random: Random) -> None:
        self.name = name
        self.asked: list[Asked] = []
        self.reads: list[Read] = []
        self._world = world
        self._random = random
        self.process: Process = world.loop.process(name)

    async def create(self, pipeline: PipelineId) -> None:
        """Make a pipeline and let it run, however long that takes."""
        for body in (c.CreatePipeline(SPEC), c.StartPipeline()):
            while True:
                asked = await self.ask(pipeline, body)
                if asked.answer or asked.rejected:
                    break

    async def wander(self, operations: int, until_s: float) -> None:
        """Do this and that for a while."""
        for _ in range(operations):
            await asyncio.sleep(self._random.random() * 2 * until_s / operations)
            if self._world.loop.time() > until_s:
                return
            pipeline = self._random.choice(self._world.pipelines)
            if self._random.random() < 0.6:
                await self.read(pipeline)
            if self._random.random() < 0.4:
                continue
            body = self._any_command(len(self.asked))
            asked = await self.ask(pipeline, body)
            if isinstance(body, c.StopPipeline) and body.deadline and self._random.random() < 0.5:
                await asyncio.sleep(STOP_BY.total_seconds() + self._random.random())
                await self.ask(pipeline, c.StartPipeline())
            if asked.answer and self._random.random() < 0.7:
                await self.read(pipeline)
                await self.read(pipeline)
            if asked.answer and self._random.random() < 0.3:
                await asyncio.sleep(self._random.random() * 3)
                await self.ask_again(asked)

    def _any_command(self, number: int) -> c.UserCommand:
        described = replace(SPEC, description=f"{self.name} {number}")
        bodies: list[c.UserCommand] = [
            c.PausePipeline(),
            c.ResumePipeline(),
            c.StopPipeline(),
            c.StopPipeline(deadline=STOP_BY),
            c.StartPipeline(),
            c.UpdatePipeline(described),
        ]
        return self._random.choices(bodies, weights=[3, 3, 1, 2, 3, 2])[0]

    async def finish(self, pipeline: PipelineId) -> None:
        """See to it that a pipeline runs until it has read everything."""
        while True:
            state = await self.read(pipeline)
            body: c.UserCommand | None = None
            match state.status if state else None:
                case Status.CONFIGURED:
                    body = c.StartPipeline()
                case Status.PAUSED:
                    body = c.ResumePipeline()
                case Status.STOPPED if state and state.reason != COMPLETED:
                    body = c.StartPipeline()
                case Status.STOPPED | Status.FAILED:
                    return
                case _:
                    pass
            if body is not None:
                await self.ask(pipeline, body)
            await asyncio.sleep(0.5)

    async def ask(self, pipeline: PipelineId, body: c.UserCommand) -> Asked:
        """Ask with a fresh id until something is known, or patience ends."""
        number = len(self.asked)
        name, digest = CommandId(f"{self.name}-{number}"), f"{type(body).__name__}-{number}"
        command = c.Command(pipeline, name, self.name, body, digest.encode())
        asked = Asked(command, self._world.known(pipeline))
        self.asked.append(asked)
        self._world.note(self.name, "asks", name, type(body).__name__, "of", pipeline)
        give_up_s = self._world.loop.time() + PATIENCE_S
        while True:
            if await self._attempt(asked) or self._world.loop.time() > give_up_s:
                return asked
            await asyncio.sleep(self._random.random() * AGAIN_S_MAX)

    async def ask_again(self, asked: Asked) -> None:
        """Ask the same once more; whoever answers must answer what was answered before."""
        before = asked.answer
        self._world.note(self.name, "asks again", asked.command.command_id)
        if await self._attempt(asked) and asked.answer != before:
            self._world.broken(f"a retry was answered {asked.answer}, before that {before}")

    async def _attempt(self, asked: Asked) -> bool:
        """Ask once, through some gateway; tell whether anything is known now."""
        asked.attempts += 1
        command, pipeline = asked.command, asked.command.pipeline_id
        try:
            answer = await self._world.gateway(self._random).answer(
                self.process, command, ATTEMPT_S
            )
        except Rejected as error:
            self._world.note(self.name, "is refused", command.command_id, error.code)
            asked.rejected = error.code
            if asked.answer is not None:
                self._world.broken(f"{command.command_id} was answered, and a retry refused")
            return True
        except (TimedOut, Unavailable):
            return False
        self._world.note(self.name, "is answered", command.command_id, "at", answer.sequence)
        if asked.answer is None and answer.sequence <= asked.floor:
            self._world.broken(
                f"{command.command_id} is event {answer.sequence} of {pipeline}, asked when"
                f" {asked.floor} was known"
            )
        asked.answer = answer
        self._world.learn(pipeline, answer.sequence)
        return True

    async def read(self, pipeline: PipelineId) -> State | None:
        """Look at a pipeline; None if nobody shows it."""
        floor = self._world.known(pipeline)
        try:
            state = await self._world.gateway(self._random).state(self.process, pipeline, ATTEMPT_S)
        except (TimedOut, DataFlowError):
            return None
        self.reads.append(Read(pipeline, floor, state))
        self._world.note(self.name, "reads", pipeline, state.status, "at", state.sequence)
        if state.sequence < floor:
            self._world.stale(f"{pipeline} was read at {state.sequence}, when {floor} was known")
        self._world.learn(pipeline, state.sequence)
        return state
