"""Follows the cluster's keys: the newest map there is, and a word to all who wait for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination.contract import Compacted, Coordination, Revision
from dataflow.cluster.registration import Keys
from dataflow.core.errors import Unavailable

log = structlog.get_logger()

RECONCILE_EVERY = timedelta(seconds=30)
"""Watches have lost events (etcd 17529, 18089, 19179): what nobody told is found by listing."""

RETRY_S = 0.2
"""Between tries to list or watch while nobody answers."""


class Membership:
    """The cluster as this process knows it. It may be late; it is never ahead."""

    def __init__(self, coordination: Coordination, keys: Keys) -> None:
        self._coordination = coordination
        self._keys = keys
        self._waiting: set[asyncio.Event] = set()
        self.map = ClusterMap(keys)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, coordination: Coordination, cluster: str
    ) -> AsyncGenerator[Membership, None]:
        """Return a membership that has seen the cluster, and follow it from then on.

        Raises:
            Unavailable: the coordination service does not answer.
        """
        membership = cls(coordination, Keys(cluster))
        await membership.refresh()
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(membership._follow()),
                tasks.create_task(membership._reconcile()),
            ]
            try:
                yield membership
            finally:
                for task in following:
                    task.cancel()

    async def changed(self, since: Revision, patience: timedelta | None = None) -> ClusterMap:
        """Return the map once it is newer than ``since``, or when ``patience`` is over."""
        woken = asyncio.Event()
        self._waiting.add(woken)
        try:
            async with asyncio.timeout(patience.total_seconds() if patience else None):
                while self.map.revision <= since:
                    await woken.wait()
                    woken.clear()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(woken)
        return self.map

    async def refresh(self) -> ClusterMap:
        """List everything again; return the map as of now, linearizable."""
        listing = await self._coordination.list(self._keys.prefix)
        self._take(ClusterMap.of(self._keys, listing))
        return self.map

    async def _follow(self) -> None:
        while True:
            try:
                async for changes in self._coordination.watch(self._keys.prefix, self.map.revision):
                    fresh = [one for one in changes if one.revision > self.map.revision]
                    if fresh:
                        self._take(self.map.after(fresh))
            except Compacted as error:
                log.info("listing the cluster again", why=str(error))
            except Unavailable as error:
                log.warning("the cluster cannot be watched", why=str(error))
            await self._list_again()

    async def _list_again(self) -> None:
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("the cluster cannot be listed", why=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_EVERY.total_seconds())
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("the cluster cannot be listed", why=str(error))

    def _take(self, newer: ClusterMap) -> None:
        """Take a map that is newer; a list that was overtaken by the watch changes nothing."""
        if newer.revision < self.map.revision:
            return
        self.map = newer
        for woken in self._waiting:
            woken.set()
