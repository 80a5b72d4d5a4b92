"""Coordination in memory: the twin for tests and simulation.

What members of the real service would share lives in a ``Service``. Each ``Memory`` over it is
another client. Time is the service's own clock; nothing runs in the background: a lease that is
due ends when anybody asks, or when a watcher, asleep until then, wakes up to see it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TypeAlias

from dataflow.cluster.coordination import contract as c
from dataflow.cluster.coordination import rules
from dataflow.core.clock import Clock
from dataflow.core.errors import Unavailable

Looked: TypeAlias = tuple[Sequence[Sequence[c.Change]], c.Revision]

NOTHING = c.Revision(1)
"""Of a service that holds no key yet, as etcd counts."""


class Lease:
    """A time to live, and when it ends unless it is kept alive."""

    def __init__(self, ttl: timedelta, now_s: float) -> None:
        self.ttl = ttl
        self.keep(now_s)

    def keep(self, now_s: float) -> None:
        """Begin its whole time again."""
        self.due_s = now_s + self.ttl.total_seconds()


class Service:
    """The keys, their history and the leases; all methods are atomic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._revision = NOTHING
        self._compacted = c.Revision(0)
        self._entries: dict[str, c.Entry] = {}
        self._history: list[Sequence[c.Change]] = []
        self._leases: dict[c.LeaseId, Lease] = {}
        self._granted = 0
        self._asleep: list[asyncio.Event] = []
        self._leasing = threading.Lock()  # a keeper's thread and the loop share the leases

    def grant(self, ttl: timedelta) -> c.LeaseId:
        """See ``Coordination.grant``; the same ids in the same order in every run."""
        rules.check_ttl(ttl)
        self._granted += 1
        lease = c.LeaseId(self._granted)
        with self._leasing:
            self._leases[lease] = Lease(ttl, self._clock.steady())
        self.wake()  # those asleep did not know of its end
        return lease

    def keep_alive(self, lease: c.LeaseId) -> timedelta:
        """See ``Coordination.keep_alive``; the only method for other threads than the loop's."""
        now_s = self._clock.steady()
        with self._leasing:
            held = self._leases.get(lease)
            if held is None or held.due_s <= now_s:
                raise rules.lease_lost(lease)
            held.keep(now_s)
            return held.ttl

    def revoke(self, lease: c.LeaseId) -> None:
        """See ``Coordination.revoke``."""
        self.expire()
        with self._leasing:
            self._leases.pop(lease, None)
        self._drop(lease)

    def expire(self) -> None:
        """End every lease that is due, each at a revision of its own."""
        now_s = self._clock.steady()
        with self._leasing:
            due = [lease for lease, held in self._leases.items() if held.due_s <= now_s]
            for lease in due:
                del self._leases[lease]
        for lease in due:
            self._drop(lease)

    def list(self, prefix: str) -> c.Listing:
        """See ``Coordination.list``."""
        self.expire()
        found = [self._entries[key] for key in sorted(self._entries) if key.startswith(prefix)]
        return c.Listing(self._revision, found)

    def transact(
        self, conditions: Sequence[c.Condition], effects: Sequence[c.Effect]
    ) -> c.Transacted:
        """See ``Coordination.transact``."""
        rules.check_transaction(conditions, effects)
        self.expire()
        if not all(map(self._holds, conditions)):
            found = {o.key: self._entries[o.key] for o in conditions if o.key in self._entries}
            return c.Transacted(succeeded=False, revision=self._revision, found=found)
        for effect in effects:
            if isinstance(effect, c.Put) and effect.lease not in (c.NO_LEASE, *self._leases):
                raise rules.lease_lost(effect.lease)
        self._commit(effects)
        return c.Transacted(succeeded=True, revision=self._revision, found={})

    def changes(self, prefix: str, after: c.Revision) -> Looked:
        """Return what changed under a prefix, a revision at a time, and the revision looked up to.

        Raises:
            Compacted: see ``Coordination.watch``.
        """
        self.expire()
        if after + 1 < self._compacted:
            raise rules.compacted(after, self._compacted)
        if after > self._revision:
            raise rules.compacted(after, self._revision)
        groups = (
            [change for change in group if change.key.startswith(prefix)]
            for group in self._history
            if group[0].revision > after
        )
        return [group for group in groups if group], self._revision

    def compact(self, revision: c.Revision) -> None:
        """Forget the changes before a revision."""
        self._compacted = max(self._compacted, revision)
        self._history = [group for group in self._history if group[0].revision >= revision]

    async def sleep(self) -> None:
        """Wait until something has changed, or a lease is due."""
        woken = asyncio.Event()
        self._asleep.append(woken)
        due_s = min((held.due_s for held in self._leases.values()), default=None)
        timeout_s = None if due_s is None else max(0.0, due_s - self._clock.steady())
        try:
            async with asyncio.timeout(timeout_s):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._asleep.remove(woken)

    def wake(self) -> None:
        """Let every watcher look again."""
        for woken in self._asleep:
            woken.set()

    def _holds(self, condition: c.Condition) -> bool:
        found = self._entries.get(condition.key)
        match condition:
            case c.Absent():
                return found is None
            case c.Unchanged(revision=revision):
                return found is not None and found.revision == revision

    def _drop(self, lease: c.LeaseId) -> None:
        """Delete what an ended lease holds, in one step."""
        held = sorted(key for key, entry in self._entries.items() if entry.lease == lease)
        self._commit([c.Delete(key) for key in held])

    def _commit(self, effects: Sequence[c.Effect]) -> None:
        revision = c.Revision(self._revision + 1)
        group: list[c.Change] = []
        for effect in effects:
            if isinstance(effect, c.Put):
                entry = c.Entry(effect.key, effect.value, revision, effect.lease)
                self._entries[effect.key] = entry
                group.append(c.Change(effect.key, entry, revision))
            elif self._entries.pop(effect.key, None):
                group.append(c.Change(effect.key, None, revision))
        if group:
            self._revision = revision
            self._history.append(group)
            self.wake()


class Memory:
    """A ``Coordination`` whose every method is one step of the event loop, and so atomic."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._closed = False

    async def grant(self, ttl: timedelta) -> c.LeaseId:
        """See ``Coordination.grant``."""
        self._check_open()
        return self.service.grant(ttl)

    async def keep_alive(self, lease: c.LeaseId) -> timedelta:
        """See ``Coordination.keep_alive``."""
        self._check_open()
        return self.service.keep_alive(lease)

    async def revoke(self, lease: c.LeaseId) -> None:
        """See ``Coordination.revoke``."""
        self._check_open()
        self.service.revoke(lease)

    async def list(self, prefix: str) -> c.Listing:
        """See ``Coordination.list``."""
        self._check_open()
        return self.service.list(prefix)

    async def transact(
        self, conditions: Sequence[c.Condition], effects: Sequence[c.Effect]
    ) -> c.Transacted:
        """See ``Coordination.transact``."""
        self._check_open()
        return self.service.transact(conditions, effects)

    async def watch(self, prefix: str, after: c.Revision) -> AsyncIterator[Sequence[c.Change]]:
        """See ``Coordination.watch``."""
        while True:
            self._check_open()
            groups, after = self.service.changes(prefix, after)
            for group in groups:
                yield group
            if not groups:
                await self.service.sleep()

    async def close(self) -> None:
        """Refuse everything from now on, watches that are under way too."""
        self._closed = True
        self.service.wake()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the client of the coordination service is closed")


class MemoryKeeper:
    """A ``Keeper`` that may be called from any thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._closed = False

    def keep_alive(self, lease: c.LeaseId) -> timedelta:
        """See ``Keeper.keep_alive``."""
        if self._closed:
            raise Unavailable("the keeper of leases is closed")
        return self._service.keep_alive(lease)

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True
