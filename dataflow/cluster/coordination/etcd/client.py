"""Coordination by etcd, for one event loop.

On three members and one machine of two busy cores a transaction takes 1 ms, a watcher at another
member is told within 2 ms, and a lost leader is felt for two seconds: ``bench run coordination``.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

from dataflow.cluster.coordination import contract as c
from dataflow.cluster.coordination import rules
from dataflow.cluster.coordination.etcd import messages
from dataflow.cluster.coordination.etcd.calls import Calls
from dataflow.cluster.coordination.etcd.place import PAGE_KEYS, PATIENT, Patience, Place
from dataflow.cluster.coordination.etcd.rpcs import GRANT, KEEP_ALIVE, RANGE, REVOKE, TXN
from dataflow.cluster.coordination.etcd.watch import Watch
from dataflow.core.errors import Unavailable
from dataflow.v1 import etcd_pb2 as pb

LISTINGS_MAX = 3
"""How often a list begins anew because its revision was forgotten between two of its pages."""


class Etcd:
    """A ``Coordination``; it is made, used and closed in one running loop."""

    def __init__(self, place: Place, patience: Patience = PATIENT) -> None:
        self._patience = patience
        self._calls = Calls(place, patience)

    async def grant(self, ttl: timedelta) -> c.LeaseId:
        """See ``Coordination.grant``; of an attempt without answer a lease may be left to expire.

        etcd knows whole seconds, and none below one and a half of its election time-outs.
        """
        rules.check_ttl(ttl)
        request = pb.EtcdLeaseGrantRequest(ttl_s=math.ceil(ttl.total_seconds()))
        answer = await self._calls.ask(GRANT, request)
        return c.LeaseId(answer.id)

    async def keep_alive(self, lease: c.LeaseId) -> timedelta:
        """See ``Coordination.keep_alive``; a member that is leader no more may answer too."""
        request = pb.EtcdLeaseKeepAliveRequest(id=lease)
        answer = await self._calls.ask(KEEP_ALIVE, request)
        if answer.ttl_s <= 0:
            raise rules.lease_lost(lease)
        return timedelta(seconds=answer.ttl_s)

    async def revoke(self, lease: c.LeaseId) -> None:
        """See ``Coordination.revoke``."""
        request = pb.EtcdLeaseRevokeRequest(id=lease)
        with suppress(c.LeaseLost):
            await self._calls.ask(REVOKE, request, changing=True)

    async def list(self, prefix: str) -> c.Listing:
        """See ``Coordination.list``."""
        for _ in range(LISTINGS_MAX):
            try:
                return await self._list(prefix)
            except c.Compacted:  # between two pages
                continue
        raise Unavailable(f"the keys under {prefix} are forgotten faster than they are listed")

    async def transact(
        self, conditions: Sequence[c.Condition], effects: Sequence[c.Effect]
    ) -> c.Transacted:
        """See ``Coordination.transact``."""
        rules.check_transaction(conditions, effects)
        request = messages.transaction(conditions, effects)
        return messages.transacted(await self._calls.once(TXN, request))

    def watch(self, prefix: str, after: c.Revision) -> AsyncIterator[Sequence[c.Change]]:
        """See ``Coordination.watch``."""
        return Watch(self._calls, self._patience, prefix, after).changes()

    async def close(self) -> None:
        """See ``Coordination.close``."""
        await self._calls.close()

    async def _list(self, prefix: str) -> c.Listing:
        key, end = messages.span(prefix)
        request = pb.EtcdRangeRequest(key=key, range_end=end, limit=PAGE_KEYS)
        entries: list[c.Entry] = []
        while True:
            answer = await self._calls.ask(RANGE, request)
            entries += map(messages.entry, answer.kvs)
            if not request.revision:  # the later pages are as of the first one
                request.revision = answer.header.revision
            if not answer.more:
                return c.Listing(c.Revision(request.revision), entries)
            request.key = answer.kvs[-1].key + b"\0"
