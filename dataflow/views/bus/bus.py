"""The loop of the event bus: for each shard owned here, what the journal has behind its place.

    note     a shard has come here, or its log has grown: remembered, and the loop is woken
    round    places that are not known -> a page of each shard that is behind -> publish -> places

A page is what was noted last, where that follows the place: a journal that is read while it is
written makes its writer wait. What does not follow is read from the journal.

An event may be published twice, when its shard has moved while it was on its way; the first time
it is published, all before it of its pipeline have been.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import cast

import structlog

from dataflow.core.errors import Corrupted, DataFlowError
from dataflow.core.events import ConfigUpdated, Event, PipelineCreated
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import GENESIS, Journal, Record, link
from dataflow.views.bus.contract import Message, Place, Topic
from dataflow.wire.journalled import event_bytes_and_json, event_json

log = structlog.get_logger()

GATHER_S = 0.05
"""How long events gather for a transaction, which takes 10 ms and more."""

ROUND_EVENTS, ROUND_BYTES = 2_000, 4 << 20
"""Of one transaction, and one page of the journal more."""

BACKOFF_S, BACKOFF_MAX_S = 0.2, 10.0
"""After a round that failed; it doubles with each that follows."""

KEPT_MAX = 128
"""Events of a shard that are kept from their note to their round: 50 ms of 2,500 events/s. None
that holds a spec, so that all of them together are small."""

SPECS = (PipelineCreated, ConfigUpdated)

NOWHERE = Place(Offset(0), GENESIS)


class EventBus:
    """Publishes the events of the shards that this node owns; all methods belong to the loop."""

    def __init__(
        self, journal: Journal, topic: Topic, owned: Callable[[], Collection[ShardId]]
    ) -> None:
        self._journal = journal
        self._topic = topic
        self._owned = owned
        self._places: dict[ShardId, Place] = {}
        self._ends: dict[ShardId, Offset] = {}
        """Where logs end as far as is known; unknown of one that has just come."""
        self._kept: dict[ShardId, deque[Event]] = {}
        self._behind: set[ShardId] = set()
        self._followed: set[ShardId] = set()
        """Shards whose logs have been read to the end once: from there on all of it is noted."""
        self._stuck: set[ShardId] = set()
        self._woken = asyncio.Event()
        self.published = 0
        self.failures = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, journal: Journal, topic: Topic, owned: Callable[[], Collection[ShardId]]
    ) -> AsyncGenerator[EventBus, None]:
        """Publish until the block is left; what is not published by then is, at the next start."""
        async with asyncio.TaskGroup() as tasks:
            bus = cls(journal, topic, owned)
            running = tasks.create_task(bus._run())
            try:
                yield bus
            finally:
                running.cancel()
        await topic.close()

    def take_up(self, shard: ShardId) -> None:
        """Take note of a shard that came here: another node may have published its events."""
        self._places.pop(shard, None)
        self._ends.pop(shard, None)
        self._kept.pop(shard, None)
        self._stuck.discard(shard)
        self._followed.discard(shard)
        self._behind.add(shard)
        self._woken.set()

    def note(self, shard: ShardId, event: Event) -> None:
        """Take note of an event that was committed; in their order, and never waits."""
        self._ends[shard] = event.offset
        kept = self._kept.setdefault(shard, deque())
        if isinstance(event.body, SPECS) or len(kept) >= KEPT_MAX:
            kept.clear()  # What follows is not what is next: the journal is read.
        else:
            kept.append(event)
        self._behind.add(shard)
        self._woken.set()

    @property
    def lag(self) -> int:
        """Return how many events are known of and not published."""
        owned = self._owned()
        ends = ((shard, end) for shard, end in self._ends.items() if shard in owned)
        return sum(max(end - self._places.get(shard, NOWHERE).offset, 0) for shard, end in ends)

    @property
    def stuck(self) -> int:
        """Return how many shards hold an event that cannot be read."""
        return len(self._stuck)

    async def _run(self) -> None:
        wait_s = 0.0
        while True:
            await self._woken.wait()
            await asyncio.sleep(max(GATHER_S, wait_s))
            self._woken.clear()
            try:
                while behind := (self._behind & set(self._owned())) - self._stuck:
                    await self._round(sorted(behind))
                    wait_s = 0.0
            except Exception as error:
                if not isinstance(error, DataFlowError):
                    log.exception("the event bus has failed; it tries again")
                self.failures += 1
                wait_s = min(max(2 * wait_s, BACKOFF_S), BACKOFF_MAX_S)
                self._woken.set()
                self._kept.clear()
                log.warning("events wait to be published", why=str(error), again_in_s=wait_s)

    async def _round(self, behind: Sequence[ShardId]) -> None:
        """Publish a page of as many shards as make a transaction."""
        if any(shard not in self._places for shard in behind):
            await self._find(behind)
        messages: list[Message] = []
        begun: dict[ShardId, Place] = {}
        places: dict[ShardId, Place] = {}
        for shard in behind:
            before = self._places.get(shard)
            if before is None or _is_full(messages):
                continue  # It came here again meanwhile, or it has to wait.
            made, place = await self._made(shard, before)
            if self._places.get(shard) is before and made:
                begun[shard], places[shard] = before, place
                messages += made
        if not messages:
            await asyncio.sleep(GATHER_S)
            return
        await self._topic.publish(messages, places)
        self.published += len(messages)
        for shard, place in places.items():
            if self._places.get(shard) is begun[shard]:
                self._places[shard] = place
                self._at(shard, place)

    async def _made(self, shard: ShardId, before: Place) -> tuple[Sequence[Message], Place]:
        """Return what follows a place, and the place behind it; none where nothing does."""
        try:
            made, place = await self._next(shard, before)
        except Corrupted:
            self._stuck.add(shard)
            log.exception("the events of a shard are not published", shard=shard)
            return (), before
        if not made and self._places.get(shard) is before:
            self._followed.add(shard)
            self._at(shard, before)
        return made, place

    def _at(self, shard: ShardId, place: Place) -> None:
        """Take note that a shard is published up to a place."""
        end = self._ends[shard] = max(self._ends.get(shard, Offset(0)), place.offset)
        if shard in self._followed and place.offset >= end:
            self._behind.discard(shard)

    async def _next(self, shard: ShardId, place: Place) -> tuple[Sequence[Message], Place]:
        """Return what follows a place, and the place behind it; none where there is no more."""
        kept = self._kept.get(shard, deque())
        while kept and kept[0].offset <= place.offset:
            kept.popleft()
        if kept and kept[0].offset == place.offset + 1:
            return await asyncio.to_thread(_from_events, shard, place, tuple(kept))
        page = await self._page(shard, place.offset)
        if not page:
            return (), place
        made = await asyncio.to_thread(_from_records, shard, page)
        return made, Place(page[-1].offset, page[-1].hash)

    async def _find(self, behind: Sequence[ShardId]) -> None:
        """Look up places; one in a log that is no more counts for nothing."""
        found = await self._topic.places()
        for shard in behind:
            if shard in self._places:
                continue
            place = found.get(shard, NOWHERE)
            if place.offset and not await self._is_there(shard, place):
                log.warning("another journal: its events are published from the first", shard=shard)
                place = NOWHERE
            self._places[shard] = place

    async def _is_there(self, shard: ShardId, place: Place) -> bool:
        page = await self._page(shard, Offset(place.offset - 1))
        return bool(page) and page[0].offset == place.offset and page[0].hash == place.hash

    async def _page(self, shard: ShardId, after: Offset) -> Sequence[Record]:
        pages = cast("AsyncGenerator[Sequence[Record], None]", self._journal.read(shard, after))
        async with aclosing(pages):
            async for page in pages:
                return page
        return ()


def _is_full(messages: Sequence[Message]) -> bool:
    size = sum(len(message.value) for message in messages)
    return len(messages) >= ROUND_EVENTS or size >= ROUND_BYTES


def _from_records(shard: ShardId, records: Sequence[Record]) -> Sequence[Message]:
    return [_message(shard, record, record.type, event_json(record.payload)) for record in records]


def _from_events(
    shard: ShardId, place: Place, events: Sequence[Event]
) -> tuple[Sequence[Message], Place]:
    made = []
    for event in events:
        payload, shown = event_bytes_and_json(event)
        place = Place(event.offset, link(place.hash, event.offset, payload))
        made.append(_message(shard, event, event.type, shown))
    return made, place


def _message(shard: ShardId, of: Record | Event, type_: str, value: bytes) -> Message:
    pipeline = of.pipeline if isinstance(of, Record) else of.pipeline_id
    return Message(
        key=pipeline.encode(),
        value=value,
        headers=(
            ("id", f"{pipeline}/{of.sequence}".encode()),
            ("type", type_.encode()),
            ("sequence", str(of.sequence).encode()),
            ("shard", str(shard).encode()),
            ("offset", str(of.offset).encode()),
        ),
    )
