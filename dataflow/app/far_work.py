"""Work that has to be done at another node than the pipeline's owner: what it reads is there alone.

    owner                                     the node that works
    Far.send: RunTask, Barrier, ...  ---ask---->  ForOthers.take -> its worker
    Runs.receive              <---follow-------  ForOthers.follow: Opened, Prepared, ...

The stream of answers is what holds the two together: when it ends, the node gives up every run of
that owner, and the owner hears that those runs have failed, which is retried.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from dataflow.cluster.links.contract import LinkLost, Links
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Registration
from dataflow.core import messages as m
from dataflow.core.errors import Code, Unavailable
from dataflow.core.events import ErrorType, PipelineError
from dataflow.core.ids import NodeId, PipelineId, Run
from dataflow.wire.messages import (
    owner_message,
    owner_message_bytes,
    worker_message,
    worker_message_bytes,
)

log = structlog.get_logger()

WORK = "work"
"""The name of the question on the wire; what it carries begins with who asks."""

PATIENCE = timedelta(seconds=10)
"""For a node to take a message."""

TELL_WAITING_EVERY = timedelta(seconds=1)
"""How often a run hears that its node is not there."""


@dataclass
class _At:
    """What is to be said to one node, and the runs that it works on."""

    outgoing: deque[m.ToWorker] = field(default_factory=deque)
    some: asyncio.Event = field(default_factory=asyncio.Event)
    runs: dict[PipelineId, Run] = field(default_factory=dict)
    working: asyncio.Task[None] | None = None


class Far:
    """(the owner's end) Hands messages to the workers of other nodes, and waits for those nodes."""

    def __init__(
        self,
        boot: str,
        membership: Membership,
        links: Links,
        *,
        receive: Callable[[m.ToOwner], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._boot = boot
        self._membership = membership
        self._links = links
        self._receive = receive
        self._tasks = tasks
        self._nodes: dict[NodeId, _At] = {}

    def send(self, node: NodeId, message: m.ToWorker) -> None:
        """Say something to a node's worker, when the node is there; never waits."""
        at = self._nodes.setdefault(node, _At())
        if isinstance(message, m.RunTask):
            at.runs[message.pipeline_id] = message.run
        elif isinstance(message, m.Abandon) and at.runs.get(message.pipeline_id) == message.run:
            del at.runs[message.pipeline_id]
        at.outgoing.append(message)
        at.some.set()
        if at.working is None:
            at.working = self._tasks.create_task(self._work(node, at))

    def close(self) -> None:
        """Say nothing any more."""
        for at in self._nodes.values():
            if at.working is not None:
                at.working.cancel()

    async def _work(self, node: NodeId, at: _At) -> None:
        """Keep a stream to a node for as long as it has runs of this owner."""
        while True:
            await self._some(at)
            there = await self._present(node, at)
            try:
                await self._stream(there, at)
            except* Unavailable as group:
                log.warning("lost a node that works", node=node, why=str(group.exceptions[0]))
            self._fail(node, at)

    @staticmethod
    async def _some(at: _At) -> None:
        while not at.outgoing:
            at.some.clear()
            await at.some.wait()

    async def _present(self, node: NodeId, at: _At) -> Registration:
        while True:
            seen = self._membership.map
            there = seen.nodes.get(node)
            if there is not None:
                return there
            for pipeline, run in at.runs.items():
                waits = f"for node {node}, which has what it reads or writes"
                self._receive(m.Progress(pipeline, run, m.Phase.WAITING, waits))
            await self._membership.changed(seen.revision, TELL_WAITING_EVERY)

    async def _stream(self, there: Registration, at: _At) -> None:
        asked = self._boot.encode()
        followed = self._links.follow(there.address, WORK, asked)
        async with aclosing(followed) as answers, asyncio.TaskGroup() as tasks:
            await anext(answers)  # It says that it listens, BEFORE it is told anything.
            telling = tasks.create_task(self._tell(there, at))
            async for answer in answers:
                self._receive(owner_message(answer))
            telling.cancel()

    async def _tell(self, there: Registration, at: _At) -> None:
        boot = self._boot.encode()
        while True:
            await self._some(at)
            message = at.outgoing[0]
            payload = boot + b"\n" + worker_message_bytes(message)
            await self._links.ask(there.address, WORK, payload, PATIENCE)
            at.outgoing.popleft()

    def _fail(self, node: NodeId, at: _At) -> None:
        """Tell every run at a node that it has ended; what it is to be told next is for nobody."""
        runs, at.runs = at.runs, {}
        at.outgoing.clear()
        for pipeline, run in runs.items():
            error = PipelineError(
                error_type=ErrorType.SYSTEM,
                code=Code.WORKER_LOST,
                message=f"node {node}, which worked on it, was lost",
                retryable=True,
            )
            self._receive(m.Failed(pipeline, run, error))


class ForOthers:
    """(the working end) Runs tasks for owners on other nodes, while each of them listens."""

    def __init__(self, work: Callable[[m.ToWorker], None]) -> None:
        self._work = work
        self._runs: dict[PipelineId, tuple[Run, str]] = {}
        self._owners: dict[str, asyncio.Queue[m.ToOwner]] = {}

    def take(self, payload: bytes) -> None:
        """Take a message for the worker from an owner that listens.

        Raises:
            LinkLost: it does not, any more.
        """
        boot, _, rest = payload.partition(b"\n")
        owner, message = boot.decode(), worker_message(rest)
        if owner not in self._owners:
            raise LinkLost("this node does not work for that owner any more")
        if isinstance(message, m.RunTask):
            known = self._runs.get(message.pipeline_id)
            if known is not None and known[0] >= message.run:
                return
            self._runs[message.pipeline_id] = (message.run, owner)
        self._work(message)

    async def follow(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Yield what the worker says about the runs of one owner, until it listens no more."""
        owner = payload.decode()
        told = self._owners[owner] = asyncio.Queue()
        try:
            yield b""
            while True:
                yield owner_message_bytes(await told.get())
        finally:
            if self._owners.get(owner) is told:
                del self._owners[owner]
            for pipeline, (run, whose) in list(self._runs.items()):
                if whose == owner:
                    del self._runs[pipeline]
                    self._work(m.Abandon(pipeline, run))

    def tell(self, message: m.ToOwner) -> bool:
        """Hand what the worker says to the owner on another node; False if it has none there."""
        run, owner = self._runs.get(message.pipeline_id, (None, ""))
        if run != message.run:
            return False
        if (told := self._owners.get(owner)) is not None:
            told.put_nowait(message)
        return True
