"""A shard in this node's hands: its two group commits, from taking up to letting go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dataflow.cluster.group import Group
from dataflow.cluster.shard import Shard
from dataflow.cluster.turns import Turns
from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import DataFlowError, Fenced, NotOwner
from dataflow.core.ids import ShardId
from dataflow.journal.contract import Decision, Journal, Outcome

APPEND_COMMANDS_MAX = 500
"""Commands decided for one append; about 250 KiB of events, 20 ms of work."""

WAITING_MAX = 20_000
"""Commands a shard lets wait; more are told to come again (about 20 MB)."""


class Owned:
    """What is asked of a shard goes to its journal in groups, while this node may write there."""

    def __init__(
        self,
        shard: Shard,
        journal: Journal,
        tasks: asyncio.TaskGroup,
        fenced: Callable[[Owned, Fenced], None],
        *,
        turns: Turns | None = None,
    ) -> None:
        self.shard = shard
        self._journal = journal
        self._fenced = fenced
        self._tasks = tasks
        self._saving: asyncio.Task[None] | None = None
        self.commands: Group[Command, Answer] = Group(
            self._handle,
            tasks,
            items_max=APPEND_COMMANDS_MAX,
            waiting_max=WAITING_MAX,
            turns=turns,
        )
        self.decisions: Group[Decision, Outcome] = Group(
            self._decide,
            tasks,
            items_max=APPEND_COMMANDS_MAX,
            waiting_max=WAITING_MAX,
            turns=turns,
        )

    @property
    def number(self) -> ShardId:
        """Which shard it is."""
        return self.shard.held.shard

    async def finish(self) -> None:
        """Take nothing more, carry out what waits, and save a snapshot for the next owner."""
        await self.commands.idle()
        await self.decisions.idle()
        gone = not_owned(self.number)
        self.commands.close(gone)
        self.decisions.close(gone)
        await self.shard.snapshot()

    def drop(self, error: DataFlowError) -> None:
        """Let go at once; what was being written has an unknown outcome, and nobody repeats it."""
        self.commands.cancel(error)
        self.decisions.cancel(error)
        if self._saving is not None:
            self._saving.cancel()

    async def _handle(self, commands: Sequence[Command]) -> Sequence[Answer | DataFlowError]:
        answers = await self.shard.handle(commands)
        for answer in answers:
            if isinstance(answer, Fenced):
                self._lost(answer)
                break
        is_saving = self._saving is not None and not self._saving.done()
        if not is_saving and self.shard.snapshot_falls_due():
            self._saving = self._tasks.create_task(self.shard.snapshot())
        return answers

    async def _decide(self, decisions: Sequence[Decision]) -> Sequence[Outcome | DataFlowError]:
        try:
            return await self._journal.decide(self.shard.held, decisions)
        except Fenced as error:
            self._lost(error)
            raise

    def _lost(self, error: Fenced) -> None:
        """Refuse all that waits BEFORE anything else: whoever has the larger fence answers it."""
        self.commands.close(error)
        self.decisions.close(error)
        self._fenced(self, error)


def not_owned(shard: ShardId) -> NotOwner:
    """Return what is told to whoever asks the wrong node."""
    return NotOwner(f"this node does not own shard {shard}; its owner answers")
