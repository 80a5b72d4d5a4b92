"""One node's shards, from the day it joins under a lease to the day the lease is gone.

    owner key absent -> put under my lease -> journal fence -> load -> serve -> announce
    move or drain    -> runs rest, commands finish, snapshot -> owner key deleted, heir named

The key makes who may begin; the journal's fence, raised BEFORE anything is served, makes that
nobody else can go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination.contract import (
    Absent,
    Condition,
    Coordination,
    Delete,
    Effect,
    Entry,
    LeaseLost,
    Put,
    Transacted,
    Unchanged,
)
from dataflow.cluster.duties import Acquire, Announce, Duty, Release, duties
from dataflow.cluster.lease import Lease
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Move, Ownership, value_bytes, value_from
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Corrupted, DataFlowError, Unavailable
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, ShardId
from dataflow.journal.contract import Fence

log = structlog.get_logger()

AT_ONCE_MAX = 16
"""Shards acquired or released at once: of 64 at once on one journal each took longer, and the
first pipelines waited for the last."""

GATHER_S = 0.01
"""Changes of the map that come together are looked at together."""

LOOK_EVERY = timedelta(seconds=1)
"""Without any change: what failed is tried again."""

FAILED_PAUSE_S = 1.0
"""Before a shard that could not be taken up is tried again."""

CORRUPTED_PAUSE_S = 60.0
"""Before one whose log is damaged is: only a person can mend it, and each try raises its fence."""


class Shards(Protocol):
    """What a node does with its shards."""

    @property
    def owned(self) -> Mapping[ShardId, Fence]:
        """The shards that are served, with their fences."""
        ...

    async def take_up(self, shard: ShardId, cause: Cause) -> Fence:
        """Fence a shard's log, load it, serve it and begin its runs; return the fence."""
        ...

    async def hand_over(self, shard: ShardId) -> None:
        """Close last checkpoints, finish what was asked, save a snapshot; serve it no more.

        Bounded by itself: what takes too long is given up, and its heir recovers it.
        """
        ...

    def drop(self, shard: ShardId) -> None:
        """Serve a shard no more, at once; nothing is written any more."""
        ...


@dataclass(frozen=True, slots=True)
class Joined:
    """A node that has joined the cluster."""

    node: NodeId
    boot: str
    lease: Lease


class Owning:
    """Does a node's duties, several shards at once, until its lease is gone."""

    def __init__(
        self,
        me: Joined,
        membership: Membership,
        coordination: Coordination,
        *,
        shards: Shards,
        clock: Clock,
    ) -> None:
        self.me = me
        self._membership = membership
        self._coordination = coordination
        self._shards = shards
        self._clock = clock
        self._keys = membership.map.keys
        self._busy: set[ShardId] = set()
        self._paused: dict[ShardId, float] = {}
        self._room = asyncio.Semaphore(AT_ONCE_MAX)
        self._woken = asyncio.Event()

    async def work(self) -> None:
        """Do what is to be done, and look again whenever the map has changed.

        Raises:
            LeaseLost: the service has let this node go.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                seen = self._membership.map
                wanted = duties(seen, self.me.node, self.me.boot, serving=self._shards.owned.keys())
                for duty in wanted:
                    if duty.shard not in self._busy and self._is_due(duty.shard):
                        self._busy.add(duty.shard)
                        tasks.create_task(self._carry_out(duty))
                await self._membership.changed(seen.revision, LOOK_EVERY)
                await asyncio.sleep(GATHER_S)

    def fenced(self, shard: ShardId) -> None:
        """Note that another node has acquired a shard of ours; its key follows by itself."""
        log.warning("shard lost to a larger fence", shard=shard)
        self._shards.drop(shard)

    def _is_due(self, shard: ShardId) -> bool:
        return self._paused.get(shard, 0.0) <= self._clock.steady()

    async def _carry_out(self, duty: Duty) -> None:
        try:
            async with self._room:
                await self._one(duty)
        except LeaseLost:
            raise
        except DataFlowError as error:
            log.warning("shard left for later", shard=duty.shard, duty=str(duty), why=str(error))
            pause_s = CORRUPTED_PAUSE_S if isinstance(error, Corrupted) else FAILED_PAUSE_S
            self._paused[duty.shard] = self._clock.steady() + pause_s
        finally:
            self._busy.discard(duty.shard)

    def _one(self, duty: Duty) -> Coroutine[Any, Any, None]:
        match duty:
            case Acquire():
                return self._acquire(duty)
            case Announce():
                return self._announce(duty.shard)
            case Release():
                return self._release(duty)

    async def _acquire(self, duty: Acquire) -> None:
        shard, began_s = duty.shard, self._clock.steady()
        if shard in self._shards.owned:
            # The map is late, or an announcement was lost: taking it up again would fence my own.
            await self._announce(shard)
            return
        if not await self._claim(shard):
            return
        try:
            fence = await self._shards.take_up(shard, duty.cause)
        except DataFlowError as error:
            # Its heir may be able to: a node that keeps its name on what it cannot serve is worse
            # than none.
            log.warning("shard cannot be taken up", shard=shard, why=str(error))
            await self._delete(shard, None)
            raise
        took_ms = round((self._clock.steady() - began_s) * 1000)
        log.info("shard acquired", shard=shard, fence=fence, why=duty.why, took_ms=took_ms)
        await self._announce(shard)

    async def _claim(self, shard: ShardId) -> bool:
        """Put my name on a shard that nobody owns, or anew on one that has it already.

        Anew BEFORE it is taken up: a delete of mine whose outcome was unknown may still be under
        way. It names the key's revision, and must not take away what is served by then.
        """
        key = self._keys.owner(shard)
        mine = Ownership(self.me.node, self.me.boot, self._clock.now())
        put = Put(key, value_bytes(mine), self.me.lease.number)
        if await self._transact(shard, [Absent(key)], [put]):
            return True
        entry = self._my_entry(await self._membership.refresh(), shard)
        if entry is None:
            return False
        return await self._transact(shard, [Unchanged(key, entry.revision)], [put])

    async def _announce(self, shard: ShardId) -> None:
        """Tell that a shard is served; one under another's name, or none, is not mine to serve."""
        fence = self._shards.owned.get(shard)
        if fence is None:
            return
        key = self._keys.owner(shard)
        mine = Ownership(self.me.node, self.me.boot, self._clock.now(), fence)
        put = Put(key, value_bytes(mine), self.me.lease.number)
        if not await self._on_mine(shard, [put, Delete(self._keys.move(shard))]):
            log.warning("shard served without its key", shard=shard)
            self._shards.drop(shard)

    async def _release(self, duty: Release) -> None:
        began_s = self._clock.steady()
        log.info("shard to be released", shard=duty.shard, why=duty.why, heir=duty.heir)
        await self._shards.hand_over(duty.shard)
        await self._delete(duty.shard, duty)
        took_ms = round((self._clock.steady() - began_s) * 1000)
        log.info("shard released", shard=duty.shard, why=duty.why, took_ms=took_ms)

    async def _delete(self, shard: ShardId, release: Release | None) -> None:
        """Take my name off a shard, and name its heir."""
        effects: list[Effect] = [Delete(self._keys.owner(shard))]
        if release is not None and release.heir is not None:
            move = Move(self.me.node, release.heir, release.why, self._clock.now())
            effects.append(Put(self._keys.move(shard), value_bytes(move)))
        await self._on_mine(shard, effects)

    async def _on_mine(self, shard: ShardId, effects: list[Effect]) -> bool:
        """Let effects happen while the shard's key is mine; return whether it was."""
        seen = self._membership.map
        while True:
            entry = self._my_entry(seen, shard)
            if entry is None:  # as far as this map knows, which may be late
                seen = await self._membership.refresh()
                entry = self._my_entry(seen, shard)
            if entry is None:
                return False
            if await self._transact(shard, [Unchanged(entry.key, entry.revision)], effects):
                return True
            seen = await self._membership.refresh()

    def _my_entry(self, seen: ClusterMap, shard: ShardId) -> Entry | None:
        """Return what stands under a shard's key, if it is my name."""
        entry = seen.entries.get(self._keys.owner(shard))
        if entry is None:
            return None
        owner = value_from(entry.key, entry.value, Ownership)
        return entry if (owner.node, owner.boot) == (self.me.node, self.me.boot) else None

    async def _transact(
        self, shard: ShardId, conditions: list[Condition], effects: list[Effect]
    ) -> bool:
        """Return whether the effects have happened, or had before.

        Raises:
            LeaseLost, Unavailable: as ``Coordination.transact``; never OUTCOME_UNKNOWN.
        """
        try:
            done: Transacted = await self._coordination.transact(conditions, effects)
        except Unavailable as error:
            if error.code != Code.OUTCOME_UNKNOWN:
                raise
            await self._membership.refresh()
            return self._has_happened(shard, effects)
        return done.succeeded or self._has_happened_by(done, effects)

    def _has_happened(self, shard: ShardId, effects: list[Effect]) -> bool:
        """Tell whether the first effect, on the owner's key, is what stands there now."""
        entry = self._membership.map.entries.get(self._keys.owner(shard))
        first = effects[0]
        if isinstance(first, Put):
            return entry is not None and entry.value == first.value
        return entry is None

    @staticmethod
    def _has_happened_by(done: Transacted, effects: list[Effect]) -> bool:
        first = effects[0]
        found = done.found.get(first.key)
        return isinstance(first, Put) and found is not None and found.value == first.value
