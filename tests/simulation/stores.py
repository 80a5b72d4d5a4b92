"""The journal and the coordination service as a node sees them: through the network.

What is durable is the memory twin, in a process of its own that faults can hold but not lose. The
clients here are as unkind as the contracts allow: an answer may be lost after the effect, and the
effect may come long after the caller was told that nobody knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import (
    AppendId,
    Decided,
    Decision,
    Held,
    Nonce,
    Outcome,
    Record,
    Snapshot,
)
from dataflow.journal.memory import Memory
from tests.simulation.network import Network, TimedOut
from tests.simulation.processes import Process

T = TypeVar("T")

JOURNAL_PATIENCE_S = 1.0
"""How long a client waits for the journal before its outcome is unknown."""


def at_once(work: Awaitable[T]) -> T:
    """Return what a method of a memory twin returns: none of them ever waits."""
    try:
        work.__await__().send(None)
    except StopIteration as stop:
        found: T = stop.value
        return found
    raise AssertionError("a memory twin waits for nothing")


class RemoteJournal:
    """A ``Journal`` over the network."""

    def __init__(self, network: Network, node: Process, server: Process, memory: Memory) -> None:
        self._network = network
        self._node = node
        self._server = server
        self._memory = memory

    def __str__(self) -> str:
        """See ``Journal.__str__``."""
        return "the simulated journal"

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """See ``Journal.acquire``."""
        return await self._change(lambda: self._memory.acquire(shard, nonce))

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        """See ``Journal.append``."""
        return await self._change(lambda: self._memory.append(held, records, append_id))

    async def read(self, shard: ShardId, after: Offset) -> AsyncIterator[Sequence[Record]]:
        """See ``Journal.read``."""
        while page := await self._look(partial(self._page, shard, after)):
            yield page
            after = page[-1].offset

    async def _page(self, shard: ShardId, after: Offset) -> Sequence[Record]:
        async for page in self._memory.read(shard, after):
            return page
        return ()

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``."""
        return await self._look(lambda: self._memory.history(pipeline, after, limit))

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """See ``Journal.decide``."""
        return await self._change(lambda: self._memory.decide(held, decisions))

    async def decision(self, shard: ShardId, pipeline: PipelineId) -> Decided | None:
        """See ``Journal.decision``."""
        return await self._look(lambda: self._memory.decision(shard, pipeline))

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        """See ``Journal.save_snapshot``."""
        await self._change(lambda: self._memory.save_snapshot(held, snapshot))

    async def load_snapshot(self, shard: ShardId) -> Snapshot | None:
        """See ``Journal.load_snapshot``."""
        return await self._look(lambda: self._memory.load_snapshot(shard))

    async def close(self) -> None:
        """See ``Journal.close``."""

    async def _change(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._ask(work, Code.OUTCOME_UNKNOWN)

    async def _look(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._ask(work, Code.BUSY)

    async def _ask(self, work: Callable[[], Awaitable[T]], code: Code) -> T:
        try:
            return await self._network.ask(
                self._node, self._server, lambda: at_once(work()), JOURNAL_PATIENCE_S
            )
        except TimedOut:
            raise Unavailable("the journal does not answer", code=code) from None
