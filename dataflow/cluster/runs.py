"""The runs of a node: what shall run, runs; what failed, comes back when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from dataflow.cluster.host import Host
from dataflow.cluster.run import RunLoop
from dataflow.cluster.shard import Committed
from dataflow.cluster.surroundings import DrainAsked, RestAsked, Surroundings
from dataflow.core import events as e
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.clock import Clock
from dataflow.core.commands import BeginRun, Command, EngineCommand
from dataflow.core.errors import Fenced, NotOwner, Unavailable, Waiting
from dataflow.core.events import Cause
from dataflow.core.ids import CommandId, NodeId, PipelineId, ShardId
from dataflow.core.spec import PipelineSpec, with_defaults
from dataflow.core.state import Drain, State, Status
from dataflow.wire.journalled import checkpoint_from

log = structlog.get_logger()

ENGINE = "engine"
"""The actor of the engine's own commands."""

REPORT_RETRY = timedelta(seconds=1)
"""Between tries to journal a report while the journal is unavailable (a full disk)."""


@dataclass(frozen=True, slots=True)
class Node:
    """What the runs of a node need of it."""

    host: Host
    send: Callable[[m.ToWorker], None]
    clock: Clock
    jitter: Callable[[], float]
    ingested: Callable[[PipelineId], Awaitable[int]]
    probe: Callable[[str], None]
    bound_to: Callable[[State], NodeId] = lambda _: NodeId("")
    """The only node that may work on a pipeline; none where any may."""
    send_to: Callable[[NodeId, m.ToWorker], None] | None = None
    """Says something to the worker of a node that a pipeline is bound to."""


class Runs:
    """Keeps one ``RunLoop`` for every pipeline that shall run; an idle one holds nothing."""

    def __init__(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        self._node = node
        self._tasks = tasks
        self._loops: dict[PipelineId, RunLoop] = {}
        self._working: dict[PipelineId, asyncio.Task[None]] = {}
        self._settled: dict[PipelineId, list[asyncio.Future[None]]] = {}
        self._open = True
        self._leaving: set[ShardId | None] = set()
        self._around = Surroundings(
            registers=node.host,
            report=self._report,
            send=node.send,
            clock=node.clock,
            jitter=node.jitter,
            ingested=node.ingested,
            probe=node.probe,
            phase=node.host.phase,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, node: Node, grace: timedelta) -> AsyncGenerator[Runs, None]:
        """Return the runs of a host; on leaving, a last checkpoint of every run is closed."""
        async with asyncio.TaskGroup() as tasks:
            runs = cls(node, tasks)
            try:
                yield runs
            finally:
                runs._open = False
                await runs._rest(list(runs._working), grace)

    def take_up(self, shard: ShardId | None, cause: Cause) -> None:
        """Begin a run of every pipeline that shall run, of one shard that came here or of all."""
        self._leaving.discard(shard)
        for resting in list(self._node.host.known(shard)):
            if resting.status is Status.RUNNING:
                self._begin(self._node.host.state(resting.pipeline_id), cause)

    async def rest(self, shard: ShardId, grace: timedelta) -> None:
        """Close a last checkpoint of every run of a shard that shall go; begin none any more."""
        self._leaving.add(shard)
        await self._rest(self._of(shard), grace)

    def drop(self, shard: ShardId) -> None:
        """Give up every run of a shard that is no longer here, where it stands."""
        self._leaving.add(shard)
        for pipeline in self._of(shard):
            self._working[pipeline].cancel()
        for pipeline in [p for p in self._settled if self._node.host.shard_of(p) == shard]:
            self._wake(pipeline)

    def _of(self, shard: ShardId) -> Sequence[PipelineId]:
        return [p for p in self._working if self._node.host.shard_of(p) == shard]

    def committed(self, committed: Sequence[Committed]) -> None:
        """React to what has been journalled."""
        for event, state in committed:
            if state.draining is Drain.NOTHING:
                self._wake(event.pipeline_id)
            match event.body:
                case e.PipelineStarted():
                    self._begin(state, Cause.START)
                case e.PipelineResumed():
                    self._begin(state, Cause.RESUME)
                case e.RetryScheduled():
                    self._begin(state, Cause.RETRY)
                case e.StopRequested() | e.PauseRequested():
                    self._drain(state)
                case _:
                    pass

    def receive(self, message: m.ToOwner) -> None:
        """Take a message from a worker."""
        if loop := self._loops.get(message.pipeline_id):
            loop.receive(message)

    def loop(self, pipeline: PipelineId) -> RunLoop | None:
        """Return the run under way, if one is."""
        return self._loops.get(pipeline)

    @property
    def running(self) -> Sequence[PipelineId]:
        """Return the pipelines that have a run under way."""
        return tuple(self._loops)

    async def decision(self, pipeline: PipelineId) -> Checkpoint | None:
        """Return a pipeline's latest decision: of the run under way, or as it is stored."""
        loop = self._loops.get(pipeline)
        if loop is not None and loop.decided is not None:
            return loop.decided
        stored = await self._node.host.decision(pipeline)
        return checkpoint_from(stored.payload) if stored else None

    async def settled(self, pipeline: PipelineId, patience: timedelta) -> State:
        """Return the state once no stop or pause is under way.

        Raises:
            Waiting: it was still under way after ``patience``.
        """
        try:
            async with asyncio.timeout(patience.total_seconds()):
                while (state := self._node.host.state(pipeline)).draining is not Drain.NOTHING:
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._settled.setdefault(pipeline, []).append(waiter)
                    await waiter
        except TimeoutError:
            raise Waiting(
                f"pipeline {pipeline!r} still finishes its last checkpoint; ask again"
            ) from None
        return state

    def _wake(self, pipeline: PipelineId) -> None:
        for waiter in self._settled.pop(pipeline, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _begin(self, state: State, cause: Cause) -> None:
        if not self._open or self._node.host.shard_of(state.pipeline_id) in self._leaving:
            return
        before = self._working.get(state.pipeline_id)
        if before is not None and state.pipeline_id not in self._loops:
            before.cancel()  # It still waits for a retry that is no longer wanted.
        task = self._tasks.create_task(self._work(state, cause, before))
        self._working[state.pipeline_id] = task

    async def _work(self, state: State, cause: Cause, before: asyncio.Task[None] | None) -> None:
        """Carry out one run, unless its shard leaves meanwhile: then its next owner does."""
        try:
            await self._run(state, cause, before)
        except (Fenced, NotOwner) as error:
            log.info("run given up", pipeline=state.pipeline_id, why=str(error))
        finally:
            if self._working.get(state.pipeline_id) is asyncio.current_task():
                del self._working[state.pipeline_id]

    async def _run(self, state: State, cause: Cause, before: asyncio.Task[None] | None) -> None:
        """Begin a run when it is due, after the one before it has ended, and carry it out."""
        pipeline = state.pipeline_id
        if before is not None:
            await asyncio.wait({before})
        if state.retry_at is not None:
            await asyncio.sleep(self._until_s(state.retry_at, state.spec))
        node = self._node.bound_to(self._node.host.state(pipeline))
        await self._report(pipeline, BeginRun(cause, node))
        state = self._node.host.state(pipeline)
        if not state.active or not self._open:
            return
        loop = self._loops[pipeline] = RunLoop(state, self._around_at(state.node))
        try:
            await loop.work()
        finally:
            if self._loops.get(pipeline) is loop:
                del self._loops[pipeline]

    def _until_s(self, retry_at: datetime, spec: PipelineSpec) -> float:
        """Return how long to wait for a retry, by a calendar that may not be the one it was set by.

        Calendars of two nodes may differ by hours; no backoff was ever longer than the longest.
        """
        wait = min(retry_at - self._node.clock.now(), with_defaults(spec.options).backoff_max)
        return max(0.0, wait.total_seconds())

    def _around_at(self, node: NodeId) -> Surroundings:
        """Return what a run needs whose worker is at a node; at this one if it does not matter."""
        if not node or self._node.send_to is None:
            return self._around
        return replace(self._around, send=partial(self._node.send_to, node))

    def _drain(self, state: State) -> None:
        if loop := self._loops.get(state.pipeline_id):
            loop.receive(DrainAsked(state))

    async def _report(self, pipeline: PipelineId, body: EngineCommand) -> None:
        """Journal a report of the engine; a journal that is unavailable is waited for."""
        command = Command(pipeline, CommandId(f"engine-{type(body).__name__}"), ENGINE, body)
        while True:
            try:
                await self._node.host.execute(command)
            except (Fenced, NotOwner):
                raise
            except Unavailable as error:
                log.warning("report waits", pipeline=pipeline, why=str(error))
                await asyncio.sleep(REPORT_RETRY.total_seconds())
            else:
                return

    async def _rest(self, pipelines: Sequence[PipelineId], grace: timedelta) -> None:
        working = {self._working[pipeline] for pipeline in pipelines}
        for pipeline in pipelines:
            task = self._working[pipeline]
            if loop := self._loops.get(pipeline):
                loop.receive(RestAsked())
            else:
                task.cancel()
        if working:
            _, late = await asyncio.wait(working, timeout=grace.total_seconds())
            for task in late:
                task.cancel()
