"""What keeps a run's decisions to itself, and in their order, taken out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from dataflow.cluster.register import Register
from dataflow.cluster.run import RunLoop
from dataflow.cluster.shard import Shard
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint, Stamp, starting_point
from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import Decision
from dataflow.wire.journalled import checkpoint_bytes, checkpoint_from


async def claim_nothing(self: Register, state: Any) -> bool:
    """A run begins without making its register refuse older ones."""
    stored = await self._registers.decision(self._pipeline)
    last = checkpoint_from(stored.payload) if stored else None
    self.decided = starting_point(last, state.checkpoint, state.lineage, state.start)
    return True


async def write_without_looking(self: Register, before: Stamp, checkpoint: Checkpoint) -> bool:
    """What became of an unknown decision is not looked up: it is taken for made."""
    payload = checkpoint_bytes(replace(checkpoint, pending=False))
    try:
        decision = Decision(self._pipeline, before, checkpoint.stamp, payload)
        accepted = (await self._registers.decide(decision)).accepted
    except Unavailable as error:
        if error.code != Code.OUTCOME_UNKNOWN:
            raise
        accepted = True
    if accepted:
        self.decided = checkpoint
    return accepted


def receive_from_any_run(self: RunLoop, message: Any) -> None:
    """A report of an older run is believed."""
    self._inbox.put(message)


async def tell_before_deciding(self: RunLoop) -> None:
    """The worker hears of a decision before it is one."""
    self._around.send(m.Decided(self.pipeline, self.run, self._protocol.number))
    await asyncio.sleep(0.02)
    await _run_decide(self)


_run_decide = RunLoop._decide


async def adopt_nothing(self: Register, found: Checkpoint | None) -> bool:
    """What a transactional sink had decided is not taken up."""
    return True


async def settle_nothing(self: Any, shard: ShardId) -> None:
    """A snapshot is saved before the views hold what it covers."""


async def load_whatever_the_views_have(self: Shard) -> None:
    """A snapshot that is ahead of the views is loaded all the same."""
    projection = self._projection
    self._projection = _Ahead(projection, self._held.offset)
    try:
        await _load(self)
    finally:
        self._projection = projection


_load = Shard.load


class _Ahead:
    def __init__(self, projection: Any, end: Offset) -> None:
        self._projection = projection
        self.end = end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._projection, name)

    async def applied_offset(self, shard: ShardId) -> Offset:
        """Return the most that passes as seen."""
        return self.end
