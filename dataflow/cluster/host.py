"""All shards of one node: where a command finds its aggregate, and a run its register."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

from dataflow.cluster.aggregates import AtRest
from dataflow.cluster.group import Group
from dataflow.cluster.shard import Projection, Shard
from dataflow.core.answers import Answer
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.clock import Clock
from dataflow.core.commands import Command, ReplayPipeline, RollbackPipeline
from dataflow.core.errors import Code, DataFlowError, Rejected
from dataflow.core.ids import PipelineId, ShardId, Version, shard_of
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import State, Status
from dataflow.journal.contract import Decided, Decision, Journal, Nonce, Outcome

APPEND_COMMANDS_MAX = 500
"""Commands decided for one append; about 250 KiB of events, 20 ms of work."""

WAITING_MAX = 20_000
"""Commands a shard lets wait; more are told to come again (about 20 MB)."""


LOOKING_BACK = (RollbackPipeline, ReplayPipeline)
"""Commands that need something of the past; the others are spared the wait for it."""


class History(Protocol):
    """What commands that go back in time need of a pipeline's past."""

    async def version(
        self, pipeline: PipelineId, version: Version
    ) -> tuple[PipelineSpec, Checkpoint | None] | None:
        """Return an old version's spec, and how far it had got when it was replaced."""
        ...

    async def checkpoint(
        self, pipeline: PipelineId, sequence: SequenceNumber, time: datetime | None
    ) -> Checkpoint | None:
        """Return the last checkpoint audited at or before an event or a moment."""
        ...


class _Owned:
    """A shard with its two group commits."""

    def __init__(self, shard: Shard, journal: Journal, tasks: asyncio.TaskGroup) -> None:
        self.shard = shard
        self.commands: Group[Command, Answer] = Group(
            shard.handle, tasks, items_max=APPEND_COMMANDS_MAX, waiting_max=WAITING_MAX
        )
        self.decisions: Group[Decision, Outcome] = Group(
            partial(_decide, journal, shard),
            tasks,
            items_max=APPEND_COMMANDS_MAX,
            waiting_max=WAITING_MAX,
        )


async def _decide(
    journal: Journal, shard: Shard, decisions: Sequence[Decision]
) -> Sequence[Outcome | DataFlowError]:
    return await journal.decide(shard.held, decisions)


class Host:
    """Executes commands against the aggregates of the shards it owns."""

    def __init__(self, journal: Journal, history: History) -> None:
        self._journal = journal
        self._history = history
        self._owned: dict[ShardId, _Owned] = {}
        self._shards = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        journal: Journal,
        *,
        projection: Projection,
        history: History,
        clock: Clock,
        new_nonce: Callable[[], str],
        shards: int,
    ) -> AsyncGenerator[Host, None]:
        """Acquire and load every shard; on leaving, finish what was asked and save snapshots."""
        host = cls(journal, history)
        host._shards = shards
        async with asyncio.TaskGroup() as tasks:

            async def own(number: ShardId) -> None:
                held = await journal.acquire(number, Nonce(new_nonce()))
                shard = Shard(journal, held, clock, projection)
                await shard.load()
                host._owned[number] = _Owned(shard, journal, tasks)

            async with asyncio.TaskGroup() as acquiring:
                for number in range(shards):
                    acquiring.create_task(own(ShardId(number)))
            yield host
            await host._finish()

    async def _finish(self) -> None:
        for owned in self._owned.values():
            await owned.commands.idle()
            await owned.decisions.idle()
            await owned.shard.snapshot()

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        """Queue a command; the future is its answer, durable.

        Raises:
            Unavailable: too many commands wait.
        """
        return self._of(command.pipeline_id).commands.submit(command)

    async def execute(self, command: Command) -> Answer:
        """Carry out one command; raises what refused it."""
        return await self.submit(await self._with_history(command))

    async def execute_all(self, commands: Sequence[Command]) -> Sequence[Answer | DataFlowError]:
        """Carry out commands, in their order for each pipeline."""
        pending: list[asyncio.Future[Answer] | DataFlowError] = []
        for command in commands:
            try:
                if isinstance(command.body, LOOKING_BACK):
                    command = await self._with_history(command)  # noqa: PLW2901 - it is that one
                pending.append(self.submit(command))
            except DataFlowError as error:
                pending.append(error)
        answers: list[Answer | DataFlowError] = []
        for one in pending:
            try:
                answers.append(one if isinstance(one, DataFlowError) else await one)
            except DataFlowError as error:
                answers.append(error)
        return answers

    def state(self, pipeline: PipelineId) -> State:
        """Return a pipeline's committed state.

        Raises:
            Rejected: there is no such pipeline.
            Corrupted: it is in quarantine, and ``known`` leaves it out.
        """
        state = self._of(pipeline).shard.aggregates.get(pipeline)
        if state.status is Status.EMPTY:
            raise Rejected(
                f"there is no pipeline {pipeline!r}",
                code=Code.UNKNOWN_PIPELINE,
                field="pipelineId",
            )
        return state

    def known(self) -> Iterator[AtRest]:
        """Iterate over every pipeline that is served, without waking it."""
        for owned in self._owned.values():
            yield from owned.shard.aggregates

    async def decide(self, decision: Decision) -> Outcome:
        """Write a register, together with those of the shard's other pipelines."""
        return await self._of(decision.pipeline).decisions.submit(decision)

    async def decision(self, pipeline: PipelineId) -> Decided | None:
        """Return what a pipeline's register holds."""
        return await self._journal.decision(shard_of(pipeline, self._shards), pipeline)

    def _of(self, pipeline: PipelineId) -> _Owned:
        return self._owned[shard_of(pipeline, self._shards)]

    async def _with_history(self, command: Command) -> Command:
        """Return the command with what it needs of the past; the rules look nothing up."""
        match command.body:
            case RollbackPipeline() as body:
                found = await self._history.version(command.pipeline_id, body.version)
                spec, checkpoint = found or (None, None)
                kept = checkpoint if body.with_checkpoint else None
                return replace(command, body=replace(body, spec=spec, checkpoint=kept))
            case ReplayPipeline() as body if not body.from_beginning:
                checkpoint = await self._history.checkpoint(
                    command.pipeline_id, body.sequence, body.time
                )
                return replace(command, body=replace(body, checkpoint=checkpoint))
            case _:
                return command
