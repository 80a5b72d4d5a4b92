"""See what the client of etcd would not show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from dataflow.cluster.coordination.contract import Change, Revision
from dataflow.cluster.coordination.etcd.watch import Reader
from dataflow.core.errors import Unavailable
from dataflow.v1 import etcd_pb2 as pb


class Spy(Reader):
    """Counts what a member says where nothing has happened."""

    def __init__(self, after: Revision) -> None:
        super().__init__(after)
        self.progress = asyncio.Semaphore(0)

    def read(self, response: pb.EtcdWatchResponse) -> Sequence[Sequence[Change]]:
        complete = super().read(response)
        if not response.events and not response.created:
            self.progress.release()
        return complete


async def outcome(call: Awaitable[object]) -> str:
    """Return the code of a call that fails."""
    with pytest.raises(Unavailable) as failure:
        await call
    return failure.value.code
