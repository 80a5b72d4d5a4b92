"""Who hears of every committed event: the views, the runs, the watchers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataflow.cluster.shard import Committed
from dataflow.core.ids import Offset, ShardId, shard_of
from dataflow.views.contract import Projected, Views


class Fanout:
    """Implements ``cluster.shard.Projection`` over the views; the others listen while they live."""

    def __init__(self, views: Views, shards: int) -> None:
        self._views = views
        self._shards = shards
        self._listeners: list[Callable[[Sequence[Committed]], None]] = []

    def listen(self, listener: Callable[[Sequence[Committed]], None]) -> None:
        """Tell ``listener`` of all that is committed from now on."""
        self._listeners.append(listener)

    def apply(self, committed: Sequence[Committed]) -> None:
        """Hand events on, in order; never waits."""
        self._views.apply(self._projected(committed))
        for listener in self._listeners:
            listener(committed)

    def replay(self, committed: Sequence[Committed]) -> None:
        """Bring the views up to date; the others heard of it when it happened."""
        self._views.apply(self._projected(committed))

    def _projected(self, committed: Sequence[Committed]) -> Sequence[Projected]:
        return [
            Projected(shard_of(event.pipeline_id, self._shards), event.offset, event, state)
            for event, state in committed
        ]

    async def settled(self, shard: ShardId) -> None:
        """Return when the views show everything so far of a shard."""
        await self._views.settled(shard)

    async def applied_offset(self, shard: ShardId) -> Offset:
        """Return up to where the views had got."""
        return await self._views.applied_offset(shard)
