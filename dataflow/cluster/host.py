"""All shards of one node: where a command finds its aggregate, and a run its register."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import structlog

from dataflow.cluster.aggregates import AtRest
from dataflow.cluster.owned import Owned, not_owned
from dataflow.cluster.shard import Projection, Shard
from dataflow.cluster.turns import Turns
from dataflow.core.answers import Answer
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.clock import Clock
from dataflow.core.commands import Command, ReplayPipeline, RollbackPipeline
from dataflow.core.errors import Code, DataFlowError, Fenced, Rejected, Unavailable
from dataflow.core.ids import PipelineId, ShardId, Version, shard_of
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import State, Status
from dataflow.journal.contract import Decided, Decision, Fence, Held, Journal, Nonce, Outcome

log = structlog.get_logger()

ACQUIRE_RETRY_S = 0.05
"""Between tries to find out whether a shard was acquired."""

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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a host needs of its node."""

    journal: Journal
    projection: Projection
    history: History
    clock: Clock
    new_nonce: Callable[[], str]
    shards: int
    """How many there are in all."""
    may_serve: Callable[[], bool] = lambda: True
    """Whether this node may still believe that it owns what it acquired."""
    fenced: Callable[[ShardId], None] | None = None
    """Told when another one has acquired a shard of this host, which has let it go by then."""
    writes_at_once: int = 0
    """Of all shards together; 0 where the journal itself makes one write of many."""


class Host:
    """Executes commands against the aggregates of the shards it owns."""

    def __init__(self, around: Surroundings, tasks: asyncio.TaskGroup) -> None:
        self._around = around
        self._tasks = tasks
        self._owned: dict[ShardId, Owned] = {}
        self._turns = Turns(around.writes_at_once) if around.writes_at_once else None
        self.sent_away = 0
        """Questions so far about shards that are not served here."""

    @classmethod
    @asynccontextmanager
    async def open(cls, around: Surroundings) -> AsyncGenerator[Host, None]:
        """Return a host that owns nothing; on leaving, it finishes what was asked of what it owns.

        A fence that nobody was to be told of ends it: only one host was to write this journal.
        """
        async with asyncio.TaskGroup() as tasks:
            host = cls(around, tasks)
            yield host
            for owned in list(host._owned.values()):
                await owned.finish()

    async def acquire_all(self) -> None:
        """Acquire and load every shard there is."""
        async with asyncio.TaskGroup() as acquiring:
            for number in range(self._around.shards):
                acquiring.create_task(self.acquire(ShardId(number)))

    async def acquire(self, number: ShardId) -> Fence:
        """Raise a shard's fence, load it, and serve it from then on; return the fence.

        An acquisition of unknown outcome is repeated under the same nonce until it is known.

        Raises:
            Unavailable: the journal cannot be reached; the shard may have been fenced.
            Corrupted: its log is damaged; says where.
        """
        around = self._around
        held = await self._acquired(number, Nonce(around.new_nonce()))
        shard = Shard(around.journal, held, around.clock, around.projection)
        await shard.load()
        self._owned[number] = Owned(
            shard, around.journal, self._tasks, self._fenced, turns=self._turns
        )
        return held.fence

    async def _acquired(self, number: ShardId, nonce: Nonce) -> Held:
        while True:
            try:
                return await self._around.journal.acquire(number, nonce)
            except Unavailable as error:
                if error.code != Code.OUTCOME_UNKNOWN:
                    raise
                log.warning("acquisition outcome unknown", shard=number, why=str(error))
            await asyncio.sleep(ACQUIRE_RETRY_S)

    async def release(self, number: ShardId) -> None:
        """Serve a shard no more: what was asked is carried out, and a snapshot saved.

        Most of the snapshot is saved BEFORE the shard stops serving: only the rest keeps it from
        being served.
        """
        if (owned := self._owned.get(number)) is None:
            return
        await owned.shard.snapshot()
        if self._owned.pop(number, None) is owned:
            await owned.finish()

    def drop(self, number: ShardId) -> None:
        """Serve a shard no more, at once; nothing is written any more."""
        if owned := self._owned.pop(number, None):
            owned.drop(not_owned(number))

    def _fenced(self, owned: Owned, error: Fenced) -> None:
        if self._owned.get(owned.number) is owned:
            del self._owned[owned.number]
        if self._around.fenced is not None:
            self._around.fenced(owned.number)
        else:
            self._tasks.create_task(_end_with(error))

    @property
    def owned(self) -> Mapping[ShardId, Fence]:
        """Return the shards that are served, with their fences."""
        return {number: owned.shard.held.fence for number, owned in self._owned.items()}

    def shard_of(self, pipeline: PipelineId) -> ShardId:
        """Return the shard that a pipeline belongs to, whoever owns it."""
        return shard_of(pipeline, self._around.shards)

    def phase(self, pipeline: PipelineId) -> float:
        """Return a phase that all pipelines of a shard share, and no other shard's."""
        return self.shard_of(pipeline) / self._around.shards

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        """Queue a command; the future is its answer, durable.

        Raises:
            NotOwner: another node is to be asked.
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
            NotOwner: another node is to be asked.
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

    def known(self, shard: ShardId | None = None) -> Iterator[AtRest]:
        """Iterate over every pipeline that is served, of one shard or of all, without waking it."""
        for number, owned in self._owned.items():
            if shard in {None, number}:
                yield from owned.shard.aggregates

    async def decide(self, decision: Decision) -> Outcome:
        """Write a register, together with those of the shard's other pipelines."""
        return await self._of(decision.pipeline).decisions.submit(decision)

    async def decision(self, pipeline: PipelineId) -> Decided | None:
        """Return what a pipeline's register holds."""
        return await self._around.journal.decision(self.shard_of(pipeline), pipeline)

    def _of(self, pipeline: PipelineId) -> Owned:
        number = self.shard_of(pipeline)
        owned = self._owned.get(number)
        if owned is None or not self._around.may_serve():
            self.sent_away += 1
            raise not_owned(number)
        return owned

    async def _with_history(self, command: Command) -> Command:
        """Return the command with what it needs of the past; the rules look nothing up."""
        match command.body:
            case RollbackPipeline() as body:
                found = await self._around.history.version(command.pipeline_id, body.version)
                spec, checkpoint = found or (None, None)
                kept = checkpoint if body.with_checkpoint else None
                return replace(command, body=replace(body, spec=spec, checkpoint=kept))
            case ReplayPipeline() as body if not body.from_beginning:
                checkpoint = await self._around.history.checkpoint(
                    command.pipeline_id, body.sequence, body.time
                )
                return replace(command, body=replace(body, checkpoint=checkpoint))
            case _:
                return command


async def _end_with(error: Fenced) -> None:
    raise error
