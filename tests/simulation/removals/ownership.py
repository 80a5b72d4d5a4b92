"""What keeps a shard to one node, and a node from answering too long, taken out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.lease import Lease
from dataflow.cluster.membership import Membership
from dataflow.cluster.owned import Owned
from dataflow.cluster.ownership import Owning
from dataflow.cluster.runs import Runs
from dataflow.core.errors import Fenced
from dataflow.core.ids import ShardId
from tests.simulation.leases import AskedAt


def keep_serving(self: Owned, error: Fenced) -> None:
    """A host that was fenced serves on."""


def held_until_told(self: Lease) -> bool:
    """No deadline, and nobody stops for it."""
    return not self._lost


def held_again(self: Lease) -> bool:
    """A lease may be held again after it was doubted."""
    return not self._lost and self._clock.steady() < self._until_s


def now(self: AskedAt) -> float:
    """The deadline counts from the answer."""
    return self._clock.steady()


def until_by_this_calendar(self: Runs, retry_at: Any, spec: Any) -> float:
    """A retry waits by whatever calendar its node has."""
    wait: timedelta = retry_at - self._node.clock.now()
    return max(0.0, wait.total_seconds())


def owner_of_any_boot(self: ClusterMap, shard: ShardId) -> Any:
    """A node that came back is taken for its former self."""
    owner = self.owners.get(shard)
    return self.nodes.get(owner.node) if owner is not None else None


async def transact_unconditionally(
    self: Owning, shard: ShardId, conditions: Any, effects: Any
) -> bool:
    """Whoever wants a shard puts his name on it."""
    return await _transact(self, shard, [], effects)


_transact = Owning._transact


async def never_list_again(self: Membership) -> None:
    """A watch that has missed something goes on as if it had not."""
    await asyncio.sleep(0.2)
