"""Keeps a node a member of its cluster: a lease, a registration, its duties; after a loss, anew.

grant lease -> register -> own shards, stand for leader ... lease lost -> drop all -> again
                                         ... told to leave -> drain -> revoke
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from dataflow.cluster.coordination.contract import (
    Absent,
    Coordination,
    Keeper,
    LeaseLost,
    Put,
    Unchanged,
)
from dataflow.cluster.lease import Lease, LeaseThread
from dataflow.cluster.membership import Membership
from dataflow.cluster.ownership import Joined, Owning, Shards
from dataflow.cluster.rebalancing import Rebalancing
from dataflow.cluster.registration import HASH, Meta, Registration, value_bytes
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.ids import ShardId

log = structlog.get_logger()

AGAIN_S = 0.5
"""Before a node that lost its lease, or could not get one, tries again."""

CHECK_EVERY_S = 1.0
"""Between two looks at the journal of a node that owns shards."""

WHY_JOURNAL = "the journal cannot be reached"
WHY_STOPPING = "the node stops"
OWN_REASONS = (WHY_JOURNAL, WHY_STOPPING)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a member needs of its program."""

    membership: Membership
    coordination: Coordination
    keeper: Keeper
    shards: Shards
    clock: Clock
    new_boot: Callable[[], str]
    check_journal: Callable[[], Awaitable[object]]
    """Raises ``Unavailable`` while the journal cannot be reached."""
    leased: Callable[[float], None]
    """Told until when, on the steady clock, this node's workers may work."""
    ttl: timedelta
    journal_patience: timedelta = timedelta(seconds=10)
    """How long the journal may be away before others are given the shards."""


class Member:
    """One node's membership, over as many leases as it takes."""

    def __init__(self, registration: Registration, around: Surroundings) -> None:
        self._registration = registration
        self._around = around
        self._lease: Lease | None = None
        self._owning: Owning | None = None
        self._rebalancing: Rebalancing | None = None
        self._leaving = False

    @property
    def may_serve(self) -> bool:
        """Tell whether the node may believe that it owns what it acquired."""
        return self._lease is not None and self._lease.is_held

    @property
    def lease_left_s(self) -> float:
        """Return how long it may."""
        return self._lease.left_s if self._lease is not None else 0.0

    @property
    def leads(self) -> bool:
        """Tell whether this node paces the moves."""
        return self._rebalancing is not None and self._rebalancing.leads

    def fenced(self, shard: ShardId) -> None:
        """Take note that another node has acquired a shard of this one."""
        if self._owning is not None:
            self._owning.fenced(shard)

    @asynccontextmanager
    async def joined(self, grace: timedelta) -> AsyncGenerator[None, None]:
        """Be a member until the block is left; then hand every shard over, within ``grace``."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self._work())
            try:
                yield
            finally:
                await self._leave(grace)
                working.cancel()

    async def _work(self) -> None:
        while True:
            try:
                await self._one_lease()
            except* Unavailable as group:
                log.warning("not a member", why=str(group.exceptions[0]))
            await asyncio.sleep(AGAIN_S)

    async def _one_lease(self) -> None:
        """Be a member for as long as one lease lives; on leaving, nothing is served any more."""
        around = self._around
        lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        sent_s = around.clock.steady()
        number = await around.coordination.grant(around.ttl)
        lease = self._lease = Lease(number, around.ttl, around.clock, sent_s)
        thread = LeaseThread(lease, around.keeper, lambda: loop.call_soon_threadsafe(lost.set))
        thread.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_raise_when(lost))
                me = await self._register(lease)
                self._owning = Owning(
                    me,
                    around.membership,
                    around.coordination,
                    shards=around.shards,
                    clock=around.clock,
                )
                self._rebalancing = Rebalancing(
                    me, around.membership, around.coordination, around.clock
                )
                tasks.create_task(self._owning.work())
                tasks.create_task(self._rebalancing.work())
                tasks.create_task(self._tell_workers(lease))
                tasks.create_task(self._watch_journal(me))
                tasks.create_task(self._remember_drain(me))
        finally:
            lease.lose()
            around.leased(0.0)
            for shard in list(around.shards.owned):
                around.shards.drop(shard)
            thread.let_go()
            await asyncio.to_thread(thread.stop)
            await self._revoke(lease)

    async def _revoke(self, lease: Lease) -> None:
        """Let the others know at once, if anybody listens; else the lease runs out."""
        try:
            async with asyncio.timeout(self._around.ttl.total_seconds() / 2):
                await self._around.coordination.revoke(lease.number)
        except (Unavailable, TimeoutError) as error:
            log.info("the lease runs out by itself", why=str(error))

    async def _register(self, lease: Lease) -> Joined:
        """Put this node's name under its lease, once its former self is forgotten."""
        around = self._around
        boot = around.new_boot()
        key = around.membership.map.keys.node(self._registration.node)
        mine = replace(self._registration, boot=boot, joined_at=around.clock.now())
        put = Put(key, value_bytes(mine), lease.number)
        while True:
            seen = await around.membership.refresh()
            registered = seen.nodes.get(mine.node)
            if registered is not None and registered.boot == boot:
                log.info("joined", node=mine.node, boot=boot, lease=lease.number)
                return Joined(mine.node, boot, lease)
            if registered is None:
                await self._try_to(Absent(key), put)
                continue
            log.info("waiting for a former self to be forgotten", node=mine.node)
            await around.membership.changed(seen.revision, timedelta(seconds=AGAIN_S))

    async def _try_to(self, condition: Absent | Unchanged, put: Put) -> None:
        """Try a transaction; who asks looks at what became of it."""
        try:
            await self._around.coordination.transact([condition], [put])
        except Unavailable as error:
            if isinstance(error, LeaseLost) or error.code != Code.OUTCOME_UNKNOWN:
                raise

    async def _set_draining(self, me: Joined, why: str | None) -> None:
        """Say that this node takes no shards, and why; or, with None, that it does again.

        Where a person has said so, it stays, whatever becomes of the node's own reasons.
        """
        around = self._around
        key = around.membership.map.keys.node(me.node)
        while True:
            seen = await around.membership.refresh()
            registered = seen.nodes.get(me.node)
            if registered is None or registered.boot != me.boot:
                return
            wanted = replace(registered, draining=why is not None, why_draining=why or "")
            asked = registered.draining and registered.why_draining not in OWN_REASONS
            if wanted == registered or asked:
                return
            put = Put(key, value_bytes(wanted), me.lease.number)
            await self._try_to(Unchanged(key, seen.entries[key].revision), put)

    async def _remember_drain(self, me: Joined) -> None:
        """Have the next registration say what a person said of this one; it ends with its lease."""
        membership = self._around.membership
        while True:
            seen = membership.map
            registered = seen.nodes.get(me.node)
            if registered is not None and registered.boot == me.boot:
                asked = registered.draining and registered.why_draining not in OWN_REASONS
                why = registered.why_draining if asked else ""
                self._registration = replace(self._registration, draining=asked, why_draining=why)
            await membership.changed(seen.revision)

    async def _leave(self, grace: timedelta) -> None:
        """Hand over every shard; what is left when ``grace`` is over, its heirs recover."""
        owning, around = self._owning, self._around
        if owning is None or not self.may_serve:
            return
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._set_draining(owning.me, WHY_STOPPING)
                while around.shards.owned:
                    await around.membership.changed(
                        around.membership.map.revision, timedelta(seconds=0.05)
                    )
        except (Unavailable, TimeoutError) as error:
            log.warning("left without handing all shards over", why=str(error))

    async def _tell_workers(self, lease: Lease) -> None:
        while True:
            self._around.leased(lease.until_s)
            await asyncio.sleep(lease.ttl_s / 10)

    async def _watch_journal(self, me: Joined) -> None:
        """Give the shards to others while they can reach the journal and this node cannot."""
        away_since: float | None = None
        gave_up = False
        while True:
            now = self._around.clock.steady()
            if await self._reaches_journal():
                away_since = None
                if gave_up:
                    log.info("the journal can be reached again")
                    await self._set_draining(me, None)
                    gave_up = False
            elif away_since is None:
                away_since = now
            elif not gave_up and now - away_since >= self._around.journal_patience.total_seconds():
                log.error("giving the shards up", why=WHY_JOURNAL)
                gave_up = True
                for shard in list(self._around.shards.owned):
                    self._around.shards.drop(shard)
                await self._set_draining(me, WHY_JOURNAL)
            await asyncio.sleep(CHECK_EVERY_S)

    async def _reaches_journal(self) -> bool:
        try:
            await self._around.check_journal()
        except Unavailable as error:
            log.warning(WHY_JOURNAL, why=str(error))
            return False
        return True


async def founded(membership: Membership, coordination: Coordination, shards: int) -> Meta:
    """Return what is fixed of a cluster; the first node to come fixes it.

    Raises:
        Rejected: this node was set up for another number of shards, or hashes otherwise.
    """
    wanted = Meta(shards)
    put = Put(membership.map.keys.meta, value_bytes(wanted))
    while (found := membership.map.meta) is None:
        try:
            await coordination.transact([Absent(put.key)], [put])
        except Unavailable as error:
            if error.code != Code.OUTCOME_UNKNOWN:
                raise
        await membership.refresh()
    if (found.shards, found.hash, found.version) != (shards, HASH, wanted.version):
        raise Rejected(
            f"this cluster was made with {found.shards} shards, hash {found.hash}, version"
            f" {found.version}; this node has {shards}, {HASH}, {wanted.version}: both are fixed"
            " when a cluster is made",
            field="shards",
        )
    return found


async def _raise_when(lost: asyncio.Event) -> None:
    await lost.wait()
    raise LeaseLost("the lease was not kept in time")
