"""How the nodes of a cluster are asked from one of them, or from a gateway alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from dataflow.app import questions as q
from dataflow.cluster.links.contract import Links
from dataflow.cluster.registration import Registration
from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import DataFlowError
from dataflow.core.ids import NodeId, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.server import backend as b
from dataflow.server.cluster_backend import Load

Q = TypeVar("Q")
R = TypeVar("R")

READ_PATIENCE = timedelta(seconds=10)
"""For one node to answer one question."""

LOOK_PATIENCE = timedelta(seconds=1)
"""For one node to tell what a list can do without."""

WRITE_PATIENCE = timedelta(seconds=30)
"""For one node to carry out commands or to take a batch: its journal may wait for a disk."""

MARGIN = timedelta(seconds=2)
"""For an answer to come back, beyond what the other node was told to wait."""


EXECUTE_BYTES = 4 << 20
"""Of the commands of one question, about; a thousand large specs are more than a message holds."""


@dataclass(frozen=True, slots=True)
class Here:
    """This node, which needs no link to be asked."""

    node: NodeId
    backend: b.Backend
    loads: Callable[[Sequence[ShardId]], Mapping[ShardId, Load]]


class AtNodes:
    """Asks nodes: this one directly, the others over their links."""

    def __init__(self, links: Links, here: Here | None) -> None:
        self.links = links
        self.here = here

    def is_here(self, node: Registration) -> bool:
        """Tell whether a node is this one."""
        return self.here is not None and node.node == self.here.node

    async def execute(
        self, node: Registration, commands: Sequence[Command]
    ) -> Sequence[Answer | DataFlowError]:
        """See ``cluster.routing.Nodes``."""
        if self.here is not None and self.is_here(node):
            return await self.here.backend.execute(commands)
        payload = q.EXECUTE.question.write(commands)
        if len(payload) > EXECUTE_BYTES and len(commands) > 1:
            half = len(commands) // 2
            parts = [await self.execute(node, part) for part in (commands[:half], commands[half:])]
            return [outcome for part in parts for outcome in part]
        name, patience = q.EXECUTE.name, WRITE_PATIENCE
        return q.EXECUTE.reply.read(await self.links.ask(node.address, name, payload, patience))

    async def ask(
        self, node: Registration, question: q.Question[Q, R], asked: Q, patience: timedelta
    ) -> R:
        """Ask another node a question."""
        payload = question.question.write(asked)
        reply = await self.links.ask(node.address, question.name, payload, patience)
        return question.reply.read(reply)

    async def loads(self, node: Registration, shards: Sequence[ShardId]) -> Mapping[ShardId, Load]:
        """Return what some shards of a node hold, as it says by now."""
        if self.here is not None and self.is_here(node):
            return self.here.loads(shards)
        asked = q.ShardNumbers(tuple(shards))
        return (await self.ask(node, q.LOADS, asked, LOOK_PATIENCE)).shown()

    async def watch(
        self, node: Registration, pipeline: PipelineId | None, after: SequenceNumber | None
    ) -> AsyncGenerator[b.Change, None]:
        """Yield what happens at one node to one pipeline, or to all that it owns."""
        if self.here is not None and self.is_here(node):
            async with aclosing(self.here.backend.watch(pipeline, after)) as changes:
                async for change in changes:
                    yield change
            return
        about = q.About(pipeline or PipelineId(""), after=after or 0, by_sequence=after is not None)
        followed = self.links.follow(node.address, q.WATCH.name, q.WATCH.question.write(about))
        async with aclosing(followed) as answers:
            async for answer in answers:
                yield q.WATCH.reply.read(answer)
