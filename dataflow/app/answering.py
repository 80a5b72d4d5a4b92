"""What other programs of the cluster are answered: by this node alone, for what it owns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from dataflow.app import questions as q
from dataflow.app.far_work import WORK, ForOthers
from dataflow.app.letters import AboutLetters, LetterCauses, LettersPurged, PageOfLetters
from dataflow.app.loads import loads_of
from dataflow.cluster.host import Host
from dataflow.core.errors import Rejected
from dataflow.core.ids import Sequence, Version
from dataflow.server.backend import Backend, Query

Q = TypeVar("Q")
R = TypeVar("R")
Handler = Callable[[bytes], Awaitable[bytes]]


class Answering:
    """Implements ``cluster.links.Answering`` over one node, which passes nothing on."""

    def __init__(self, here: Backend, host: Host, for_others: ForOthers) -> None:
        self._here = here
        self._host = host
        self._for_others = for_others
        self._handlers: Mapping[str, Handler] = dict(
            [
                _handler(q.EXECUTE, here.execute),
                _handler(q.SETTLED, lambda a: here.settled(a.pipeline_id, a.patience)),
                _handler(q.PIPELINE, lambda a: here.pipeline(a.pipeline_id)),
                _handler(q.PIPELINE_AT, self._pipeline_at),
                _handler(q.EVENTS, self._events),
                _handler(q.VERSIONS, self._versions),
                _handler(q.DEAD_LETTERS, self._dead_letters),
                _handler(q.LETTER_CAUSES, self._letter_causes),
                _handler(q.PURGE_LETTERS, self._purge_letters),
                _handler(q.REPLAY_LETTERS, lambda a: here.replay_letters(a.pipeline_id, a.asking)),
                _handler(q.INGEST, self._ingest),
                _handler(q.PIPELINES, self._pipelines),
                _handler(q.PREVIEW, self._preview),
                _handler(q.LOADS, self._loads),
            ]
        )

    async def answer(self, name: str, payload: bytes) -> bytes:
        """See ``cluster.links.Answering``."""
        if name == WORK:
            self._for_others.take(payload)
            return b""
        handler = self._handlers.get(name)
        if handler is None:
            raise Rejected(f"this node does not know the question {name!r}; it may be older")
        return await handler(payload)

    async def follow(self, name: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        """See ``cluster.links.Answering``."""
        if name == WORK:
            async with aclosing(self._for_others.follow(payload)) as told:
                async for message in told:
                    yield message
            return
        if name != q.WATCH.name:
            raise Rejected(f"this node does not know the question {name!r}; it may be older")
        about = q.WATCH.question.read(payload)
        after = Sequence(about.after) if about.by_sequence else None
        async with aclosing(self._here.watch(about.pipeline_id or None, after)) as changes:
            async for change in changes:
                yield q.WATCH.reply.write(change)

    async def _pipeline_at(self, about: q.About) -> Any:  # noqa: ANN401 - a State
        at = Sequence(about.after) if about.time is None else about.time
        return await self._here.pipeline_at(about.pipeline_id, at)

    async def _events(self, about: q.About) -> q.PageOfEvents:
        after = Sequence(about.after)
        found = await self._here.events(about.pipeline_id, after, about.limit, about.text)
        return q.PageOfEvents(tuple(found))

    async def _versions(self, about: q.About) -> q.PageOfVersions:
        before = Version(about.after)
        found = await self._here.versions(about.pipeline_id, before, about.limit)
        return q.PageOfVersions(tuple(found))

    async def _dead_letters(self, about: AboutLetters) -> PageOfLetters:
        page, total, following = await self._here.dead_letters(
            about.pipeline_id, about.after, about.limit, about.wanted
        )
        return PageOfLetters(tuple(page), total, following)

    async def _letter_causes(self, about: AboutLetters) -> LetterCauses:
        return LetterCauses(tuple(await self._here.letter_causes(about.pipeline_id)))

    async def _purge_letters(self, about: AboutLetters) -> LettersPurged:
        return LettersPurged(await self._here.purge_letters(about.pipeline_id, about.wanted))

    async def _ingest(self, push: q.Push) -> Any:  # noqa: ANN401 - an Ingested
        return await self._here.ingest(
            push.pipeline_id, push.batch_id, push.content_type, push.records
        )

    async def _pipelines(self, query: Query) -> q.PageOfPipelines:
        page, total = await self._here.pipelines(query)
        return q.PageOfPipelines(tuple(page), total)

    async def _loads(self, asked: q.ShardNumbers) -> q.ShardLoads:
        return q.ShardLoads.of(loads_of(self._host, asked.shards))

    async def _preview(self, asked: q.ShowPreview) -> q.Previewed:
        return q.Previewed.of(await self._here.preview(asked.spec, asked.records, asked.given))


def _handler(
    question: q.Question[Q, R], answer: Callable[[Q], Awaitable[R]]
) -> tuple[str, Handler]:
    async def handle(payload: bytes) -> bytes:
        return question.reply.write(await answer(question.question.read(payload)))

    return question.name, handle
