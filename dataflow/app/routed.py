"""The whole cluster as the server sees it, from any node or gateway of it.

Implements ``server.backend.Backend``: what concerns one pipeline is asked of its owner, wherever
that is; a list comes from the registry that all nodes share; who watches everything hears every
node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import TypeVar

from dataflow.app import questions as q
from dataflow.app.at_nodes import MARGIN, READ_PATIENCE, WRITE_PATIENCE, AtNodes
from dataflow.app.letters import AboutLetters, LetterCauses, LettersPurged, PageOfLetters
from dataflow.app.watches import Watches
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Registration
from dataflow.cluster.routing import Router
from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import DataFlowError, Unavailable
from dataflow.core.events import Event
from dataflow.core.ids import PipelineId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import State
from dataflow.server import backend as b

A = TypeVar("A", q.About, AboutLetters)
T = TypeVar("T")
Q = TypeVar("Q")
R = TypeVar("R")


class Routed:
    """Answers for every pipeline of the cluster."""

    def __init__(
        self,
        membership: Membership,
        router: Router,
        nodes: AtNodes,
        *,
        validate: Callable[[PipelineSpec], b.Verdict],
        is_ready: Callable[[], bool],
    ) -> None:
        self._membership = membership
        self._router = router
        self._nodes = nodes
        self._validate = validate
        self._is_ready = is_ready

    @property
    def ready(self) -> bool:
        """Whether requests are welcome here."""
        return self._is_ready()

    async def execute(self, commands: Sequence[Command]) -> Sequence[Answer | DataFlowError]:
        """See ``Backend.execute``."""
        pending: list[asyncio.Future[Answer] | DataFlowError] = []
        for command in commands:
            try:
                pending.append(self._router.submit(command))
            except DataFlowError as error:
                pending.append(error)
        outcomes: list[Answer | DataFlowError] = []
        for one in pending:
            try:
                outcomes.append(one if isinstance(one, DataFlowError) else await one)
            except DataFlowError as error:
                outcomes.append(error)
        return outcomes

    async def _ask(
        self,
        question: q.Question[A, R],
        about: A,
        here: Callable[[b.Backend], Awaitable[R]],
        patience: timedelta = READ_PATIENCE,
    ) -> R:
        async def ask(owner: Registration) -> R:
            if self._nodes.here is not None and self._nodes.is_here(owner):
                return await here(self._nodes.here.backend)
            return await self._nodes.ask(owner, question, about, patience)

        return await self._router.ask(about.pipeline_id, ask)

    async def settled(self, pipeline: PipelineId, patience: timedelta) -> State:
        """See ``Backend.settled``."""
        return await self._ask(
            q.SETTLED,
            q.About(pipeline, patience),
            lambda here: here.settled(pipeline, patience),
            patience + MARGIN,
        )

    async def pipeline(self, pipeline: PipelineId) -> b.Pipeline:
        """See ``Backend.pipeline``."""
        return await self._ask(q.PIPELINE, q.About(pipeline), lambda here: here.pipeline(pipeline))

    async def pipeline_at(self, pipeline: PipelineId, at: SequenceNumber | datetime) -> State:
        """See ``Backend.pipeline_at``."""
        if isinstance(at, datetime):
            about = q.About(pipeline, time=at)
        else:
            about = q.About(pipeline, after=at)
        return await self._ask(q.PIPELINE_AT, about, lambda here: here.pipeline_at(pipeline, at))

    async def pipelines(self, query: b.Query) -> tuple[Sequence[b.Summary], int]:
        """See ``Backend.pipelines``."""
        if self._nodes.here is not None:
            return await self._nodes.here.backend.pipelines(query)
        page = await self._anywhere(q.PIPELINES, query)
        return page.pipelines, page.total

    async def events(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int, event_type: str
    ) -> Sequence[Event]:
        """See ``Backend.events``."""

        async def here(node: b.Backend) -> q.PageOfEvents:
            return q.PageOfEvents(tuple(await node.events(pipeline, after, limit, event_type)))

        about = q.About(pipeline, after=after, limit=limit, text=event_type)
        return (await self._ask(q.EVENTS, about, here)).events

    async def versions(
        self, pipeline: PipelineId, before: Version, limit: int
    ) -> Sequence[b.SpecVersion]:
        """See ``Backend.versions``."""

        async def here(node: b.Backend) -> q.PageOfVersions:
            return q.PageOfVersions(tuple(await node.versions(pipeline, before, limit)))

        about = q.About(pipeline, after=before, limit=limit)
        return (await self._ask(q.VERSIONS, about, here)).versions

    async def dead_letters(
        self, pipeline: PipelineId, after: str, limit: int, wanted: b.Wanted
    ) -> tuple[Sequence[b.DeadLetter], int, str]:
        """See ``Backend.dead_letters``."""

        async def here(node: b.Backend) -> PageOfLetters:
            page, total, following = await node.dead_letters(pipeline, after, limit, wanted)
            return PageOfLetters(tuple(page), total, following)

        about = AboutLetters(pipeline, after, limit, wanted)
        found = await self._ask(q.DEAD_LETTERS, about, here)
        return found.letters, found.total, found.following

    async def letter_causes(self, pipeline: PipelineId) -> Sequence[b.Cause]:
        """See ``Backend.letter_causes``."""

        async def here(node: b.Backend) -> LetterCauses:
            return LetterCauses(tuple(await node.letter_causes(pipeline)))

        about = AboutLetters(pipeline)
        return (await self._ask(q.LETTER_CAUSES, about, here, WRITE_PATIENCE)).causes

    async def purge_letters(self, pipeline: PipelineId, wanted: b.Wanted) -> int:
        """See ``Backend.purge_letters``."""

        async def here(node: b.Backend) -> LettersPurged:
            return LettersPurged(await node.purge_letters(pipeline, wanted))

        about = AboutLetters(pipeline, wanted=wanted)
        return (await self._ask(q.PURGE_LETTERS, about, here, WRITE_PATIENCE)).letters

    async def replay_letters(self, pipeline: PipelineId, asking: b.ReplayLetters) -> b.Replay:
        """See ``Backend.replay_letters``; one that was lost on the way is known by its id."""
        about = AboutLetters(pipeline, asking=asking)

        async def here(node: b.Backend) -> b.Replay:
            return await node.replay_letters(pipeline, asking)

        return await self._ask(q.REPLAY_LETTERS, about, here, WRITE_PATIENCE)

    async def ingest(
        self, pipeline: PipelineId, batch_id: str, content_type: str, records: bytes
    ) -> b.Ingested:
        """See ``Backend.ingest``; a batch that was lost on the way is known by its id."""
        push = q.Push(pipeline, batch_id, content_type, records)

        async def ask(owner: Registration) -> b.Ingested:
            if self._nodes.here is not None and self._nodes.is_here(owner):
                here = self._nodes.here.backend
                return await here.ingest(pipeline, batch_id, content_type, records)
            return await self._nodes.ask(owner, q.INGEST, push, WRITE_PATIENCE)

        return await self._router.ask(pipeline, ask)

    def validate(self, spec: PipelineSpec) -> b.Verdict:
        """See ``Backend.validate``: every program knows the same steps."""
        return self._validate(spec)

    async def preview(
        self, spec: PipelineSpec, records: int, given: b.Given
    ) -> Sequence[b.PreviewStep]:
        """See ``Backend.preview``."""
        if self._nodes.here is not None:
            return await self._nodes.here.backend.preview(spec, records, given)
        return (await self._anywhere(q.PREVIEW, q.ShowPreview(spec, records, given))).shown()

    async def _anywhere(self, question: q.Question[Q, R], asked: Q) -> R:
        """Ask whichever node answers."""
        error = Unavailable("no node is there to answer; ask again")
        for node in self._membership.map.nodes.values():
            try:
                return await self._nodes.ask(node, question, asked, WRITE_PATIENCE)
            except Unavailable as unreached:
                error = unreached
        raise error

    async def watch(
        self, pipeline: PipelineId | None, after: SequenceNumber | None
    ) -> AsyncGenerator[b.Change, None]:
        """See ``Backend.watch``."""
        watches = Watches(self._membership, self._nodes, self.pipeline, self._router.shard_of)
        watched = watches.all() if pipeline is None else watches.one(pipeline, after)
        async with aclosing(watched) as changes:
            async for change in changes:
                yield change
