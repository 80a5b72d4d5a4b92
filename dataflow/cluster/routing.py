"""From any node to the owner of a pipeline, and there again when it has moved.

Commands wait in one queue a shard: those that come while a message is under way make the next one,
and those that a node refuses because it does not own the shard, or that were lost on the way, are
asked again under their own ids, in their order, of whoever the owner is by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeVar

from dataflow.cluster.group import Group
from dataflow.cluster.membership import Membership
from dataflow.cluster.owned import WAITING_MAX, not_owned
from dataflow.cluster.registration import Registration
from dataflow.core.answers import Answer
from dataflow.core.clock import Clock
from dataflow.core.commands import Command
from dataflow.core.errors import Code, DataFlowError, Fenced, NotOwner, Unavailable
from dataflow.core.ids import PipelineId, ShardId, shard_of

T = TypeVar("T")
Outcomes = Sequence[Answer | DataFlowError]

PATIENCE = timedelta(seconds=30)
"""How long a shard without an owner is waited for: three times a takeover at a lease of 10 s."""

AGAIN_S = 0.01
AGAIN_S_MAX = 0.25
"""Between two tries, doubling; a change of the map ends the wait."""

MESSAGE_COMMANDS_MAX = 1_000
"""Of one message: two appends of the owner."""


class Nodes(Protocol):
    """Carries commands out, here or at another node."""

    async def execute(self, node: Registration, commands: Sequence[Command]) -> Outcomes:
        """Hand commands to a node, in order; one outcome for each.

        Raises:
            Unavailable: the node cannot be reached, or was lost: what it did is unknown.
        """
        ...


class Router:
    """Finds owners, and asks them until they have answered."""

    def __init__(
        self,
        membership: Membership,
        nodes: Nodes,
        *,
        clock: Clock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._membership = membership
        self._nodes = nodes
        self._clock = clock
        self._tasks = tasks
        self._queues: dict[ShardId, Group[Command, Answer]] = {}

    def shard_of(self, pipeline: PipelineId) -> ShardId:
        """Return the shard of a pipeline.

        Raises:
            Unavailable: no node has ever joined this cluster.
        """
        meta = self._membership.map.meta
        if meta is None:
            raise Unavailable("the cluster has no node yet; ask again", code=Code.NOT_OWNER)
        return shard_of(pipeline, meta.shards)

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        """Queue a command for its owner; the future is its answer.

        Raises:
            Unavailable: too many commands wait for that shard.
        """
        shard = self.shard_of(command.pipeline_id)
        queue = self._queues.get(shard)
        if queue is None:
            queue = self._queues[shard] = Group(
                partial(self._execute, shard),
                self._tasks,
                items_max=MESSAGE_COMMANDS_MAX,
                waiting_max=WAITING_MAX,
            )
        return queue.submit(command)

    async def ask(
        self, pipeline: PipelineId, question: Callable[[Registration], Awaitable[T]]
    ) -> T:
        """Ask the owner of a pipeline, and its next owner if that one is none any more.

        Raises:
            NotOwner: there was no owner for ``PATIENCE``.
        """
        shard, tries = self.shard_of(pipeline), _Tries(self._clock)
        while True:
            try:
                return await question(self._owner(shard))
            except Unavailable as error:
                if not _is_elsewhere(error) or tries.are_over:
                    raise
            await self._wait(tries)

    async def _execute(self, shard: ShardId, commands: Sequence[Command]) -> Outcomes:
        """Carry out commands of one shard, each until somebody has answered it."""
        outcomes: list[Answer | DataFlowError] = [not_owned(shard)] * len(commands)
        pending, tries = list(range(len(commands))), _Tries(self._clock)
        while True:
            answered = await self._try(shard, [commands[number] for number in pending])
            for number, outcome in zip(pending, answered, strict=True):
                outcomes[number] = outcome
            pending = [number for number in pending if _is_elsewhere(outcomes[number])]
            if not pending or tries.are_over:
                return outcomes
            await self._wait(tries)

    async def _try(self, shard: ShardId, commands: Sequence[Command]) -> Outcomes:
        try:
            return await self._nodes.execute(self._owner(shard), commands)
        except Unavailable as error:
            return [error] * len(commands)

    def _owner(self, shard: ShardId) -> Registration:
        owner = self._membership.map.owner(shard)
        if owner is None:
            raise NotOwner(f"nobody owns shard {shard} just now; ask again")
        return owner

    async def _wait(self, tries: _Tries) -> None:
        await self._membership.changed(self._membership.map.revision, tries.next_pause())


class _Tries:
    """How long it has been tried, and how long to wait before the next try."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._over_at = clock.steady() + PATIENCE.total_seconds()
        self._pause_s = AGAIN_S

    @property
    def are_over(self) -> bool:
        """Tell whether to give up."""
        return self._clock.steady() >= self._over_at

    def next_pause(self) -> timedelta:
        """Return how long to wait; twice as long each time."""
        pause, self._pause_s = self._pause_s, min(self._pause_s * 2, AGAIN_S_MAX)
        return timedelta(seconds=pause)


def _is_elsewhere(outcome: object) -> bool:
    """Tell whether the same has to be asked again, of whoever is the owner by then.

    An outcome that is unknown is among them: the owner knows the command by its id.
    """
    if isinstance(outcome, Fenced | NotOwner):
        return True
    return isinstance(outcome, Unavailable) and outcome.code == Code.OUTCOME_UNKNOWN
