"""One node as the server sees it: implements ``server.backend.Backend``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from dataflow.app.checking import PUSH, checked
from dataflow.app.history import Past, must_be_past, not_yet
from dataflow.app.metrics import node_registry
from dataflow.app.stores import Stores
from dataflow.app.watching import Watchers
from dataflow.cluster.host import Host
from dataflow.cluster.runs import Runs
from dataflow.connect import Registry
from dataflow.connect.spec import parse
from dataflow.core.answers import Answer
from dataflow.core.clock import Clock
from dataflow.core.commands import Command
from dataflow.core.errors import Code, DataFlowError, Rejected
from dataflow.core.events import Event
from dataflow.core.ids import PipelineId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.lifecycle import evolve
from dataflow.core.messages import Phase
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import State, Status
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.workers import Workers
from dataflow.server import backend as b

if TYPE_CHECKING:
    from dataflow.views.bus import EventBus

RATES_EVERY_S = 0.25
"""How often a watcher hears of a running pipeline's rates, at most."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node is made of."""

    name: str
    host: Host
    runs: Runs
    stores: Stores
    past: Past
    watchers: Watchers
    registry: Registry
    workers: Workers
    clock: Clock
    takes_push: bool = True
    """What is pushed outlives whatever this program is part of."""
    bus: EventBus | None = None


class Node:
    """Answers for every pipeline there is: embedded, one node owns every shard."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def metrics(self) -> CollectorRegistry:
        """Return what Prometheus is shown."""
        return node_registry(self._parts.host, self._parts.runs, self._parts.bus)

    @property
    def ready(self) -> bool:
        """Every shard is served from the moment a node exists."""
        return True

    async def execute(self, commands: Sequence[Command]) -> Sequence[Answer | DataFlowError]:
        """Carry out commands, in order for each pipeline."""
        return await self._parts.host.execute_all(commands)

    async def settled(self, pipeline: PipelineId, patience: timedelta) -> State:
        """Return the state once no stop or pause is under way."""
        return await self._parts.runs.settled(pipeline, patience)

    async def pipeline(self, pipeline: PipelineId) -> b.Pipeline:
        """Return one pipeline."""
        state = self._parts.host.state(pipeline)
        return await self._shown(state)

    async def _shown(self, state: State) -> b.Pipeline:
        decision = await self._parts.runs.decision(state.pipeline_id)
        return b.Pipeline(state, decision, self._running(state), self._parts.name)

    def _running(self, state: State) -> b.Running:
        if state.retry_at is not None:
            return b.Running(Phase.BACKING_OFF, f"until {state.retry_at:%H:%M:%S} UTC")
        loop = self._parts.runs.loop(state.pipeline_id)
        if state.status is not Status.RUNNING:
            return b.Running()
        if loop is None:
            return b.Running(Phase.STARTING)
        return b.Running(
            phase=loop.progress.phase,
            detail=loop.progress.detail,
            records_per_second=loop.rate.per_second(self._parts.clock.steady()),
            lag_records=loop.progress.lag_records,
            lag_bytes=loop.progress.lag_bytes,
        )

    async def pipeline_at(self, pipeline: PipelineId, at: SequenceNumber | datetime) -> State:
        """Return a pipeline as it was after an event, or at a moment."""
        latest = self._parts.host.state(pipeline)
        if isinstance(at, datetime):
            must_be_past(at, self._parts.clock.now(), "at")
            state = await self._parts.past.state(pipeline, lambda event: event.time <= at)
        elif at > latest.sequence:
            raise not_yet(at, "at")
        else:
            state = await self._parts.past.state(pipeline, lambda event: event.sequence <= at)
        if state.status is Status.EMPTY:
            raise Rejected(
                f"{pipeline!r} did not exist then", code=Code.UNKNOWN_PIPELINE, field="at"
            )
        return state

    async def pipelines(self, query: b.Query) -> tuple[Sequence[b.Summary], int]:
        """Return a page of the list, and how many there are; sees all that was answered before."""
        await self._parts.stores.views.settled()
        return await self._parts.stores.views.pipelines(query)

    async def events(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int, event_type: str
    ) -> Sequence[Event]:
        """Return a page of a pipeline's events."""
        self._parts.host.state(pipeline)
        if event_type:
            return await self._parts.past.events_of(pipeline, event_type, after, limit)
        return await self._parts.past.events(pipeline, after, limit)

    async def versions(
        self, pipeline: PipelineId, before: Version, limit: int
    ) -> Sequence[b.SpecVersion]:
        """Return the versions of a spec, the latest first."""
        self._parts.host.state(pipeline)
        return await self._parts.past.versions(pipeline, before, limit)

    async def dead_letters(
        self, pipeline: PipelineId, after: str, limit: int, wanted: b.Wanted
    ) -> tuple[Sequence[b.DeadLetter], int, str]:
        """Return a page of dead letters, how many there are, and where the next page begins."""
        self._parts.host.state(pipeline)
        page, following = await self._parts.workers.dead_letters(pipeline, after, limit, wanted)
        return page, await DeadLetters(self._parts.stores.objects, pipeline).count(), following

    async def letter_causes(self, pipeline: PipelineId) -> Sequence[b.Cause]:
        """Return why letters were kept."""
        self._parts.host.state(pipeline)
        return await self._parts.workers.causes(pipeline)

    async def purge_letters(self, pipeline: PipelineId, wanted: b.Wanted) -> int:
        """Let letters be gone for good."""
        self._parts.host.state(pipeline)
        return await self._parts.workers.purge(pipeline, wanted)

    async def replay_letters(self, pipeline: PipelineId, asking: b.ReplayLetters) -> b.Replay:
        """Ask for letters to be replayed."""
        spec = self._parts.host.state(pipeline).spec
        return await self._parts.workers.replay(pipeline, spec, asking)

    async def ingest(
        self, pipeline: PipelineId, batch_id: str, content_type: str, records: bytes
    ) -> b.Ingested:
        """Push a batch; durable on return."""
        state = self._parts.host.state(pipeline)
        (source,) = state.spec.sources.values()
        if source.source_type != PUSH:
            raise Rejected(
                f"the source of {pipeline!r} is {source.source_type}, which takes no batches",
                code=Code.FORBIDDEN_TRANSITION,
            )
        if state.status not in {Status.RUNNING, Status.PAUSED}:
            raise Rejected(
                f"batches are taken while running or paused; the pipeline is {state.status}",
                code=Code.FORBIDDEN_TRANSITION,
            )
        options = parse(self._parts.registry.source(PUSH).options, source.options)
        taken = await self._parts.stores.ingest.append(
            pipeline, batch_id, content_type, records, source_options=options
        )
        return b.Ingested(taken.records, taken.first_offset, taken.duplicate)

    def validate(self, spec: PipelineSpec) -> b.Verdict:
        """Return everything that is wrong with a spec, or what it will do."""
        return checked(self._parts.registry, spec, takes_push=self._parts.takes_push)

    async def preview(
        self, spec: PipelineSpec, records: int, given: b.Given
    ) -> Sequence[b.PreviewStep]:
        """Run the first records, or given ones, through every step."""
        return await self._parts.workers.preview(spec, records, given)

    async def watch(
        self, pipeline: PipelineId | None, after: SequenceNumber | None
    ) -> AsyncGenerator[b.Change, None]:
        """Yield what happens to one pipeline or to all: events at once, rates each 250 ms."""
        seen = after
        with self._parts.watchers.watching(pipeline) as watcher:
            if pipeline is not None:
                self._parts.host.state(pipeline)
                while seen is not None and (missed := await self._missed(pipeline, seen)):
                    for event, state in missed:
                        yield b.Change(await self._shown(state), event, event.time)
                    seen = missed[-1][0].sequence
            told: dict[PipelineId, tuple[object, ...]] = {}
            while True:
                committed = await watcher.next(RATES_EVERY_S)
                if committed is None:
                    for change in await self._rates(pipeline, told):
                        yield change
                elif seen is None or pipeline is None or committed.event.sequence > seen:
                    shown = await self._shown(committed.state)
                    yield b.Change(shown, committed.event, committed.event.time)

    async def _missed(
        self, pipeline: PipelineId, after: SequenceNumber
    ) -> Sequence[tuple[Event, State]]:
        """Return a page of what had happened before somebody watched."""
        events = await self._parts.past.events(pipeline, after, 100)
        state = await self._parts.past.state(pipeline, lambda event: event.sequence <= after)
        found = []
        for event in events:
            state = evolve(state, event)
            found.append((event, state))
        return found

    async def _rates(
        self, pipeline: PipelineId | None, told: dict[PipelineId, tuple[object, ...]]
    ) -> Sequence[b.Change]:
        """Return the pipelines that run and have moved since a watcher was last told."""
        ids = [pipeline] if pipeline is not None else list(self._parts.runs.running)
        changes = []
        for one in ids:
            shown = await self.pipeline(one)
            totals = shown.decision.totals if shown.decision else None
            now = (shown.running.phase, shown.running.detail, totals)
            if told.get(one) != now:
                told[one] = now
                changes.append(b.Change(shown, None, self._parts.clock.now()))
        return changes
