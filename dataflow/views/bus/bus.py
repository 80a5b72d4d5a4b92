"""The loop of the event bus: for each shard owned here, what the journal has behind its place.

    note     a shard has come here, or its log has grown: remembered, and the loop is woken
    round    places that are not known -> a page of each shard that is behind -> publish -> places

An event may be published twice, when its shard has moved while it was on its way; the first time
it is published, all before it of its pipeline have been.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import cast

import structlog

from dataflow.core.errors import Corrupted, DataFlowError
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import GENESIS, Journal, Record
from dataflow.views.bus.contract import Message, Place, Topic
from dataflow.wire.journalled import event_json

log = structlog.get_logger()

GATHER_S = 0.05
"""How long events gather for a transaction, which takes 10 ms and more."""

ROUND_EVENTS, ROUND_BYTES = 2_000, 4 << 20
"""Of one transaction, and one page of the journal more."""

BACKOFF_S, BACKOFF_MAX_S = 0.2, 10.0
"""After a round that failed; it doubles with each that follows."""

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
        self._behind: set[ShardId] = set()
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
        self._stuck.discard(shard)
        self._behind.add(shard)
        self._woken.set()

    def note(self, shard: ShardId, offset: Offset) -> None:
        """Take note of where a shard's log ends by now; never waits."""
        self._ends[shard] = offset
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
            except DataFlowError as error:
                self.failures += 1
                wait_s = min(max(2 * wait_s, BACKOFF_S), BACKOFF_MAX_S)
                self._woken.set()
                log.warning("events wait to be published", why=str(error), again_in_s=wait_s)

    async def _round(self, behind: Sequence[ShardId]) -> None:
        """Publish a page of as many shards as make a transaction."""
        if any(shard not in self._places for shard in behind):
            await self._find(behind)
        messages: list[Message] = []
        places: dict[ShardId, Place] = {}
        size = 0
        for shard in behind:
            if len(messages) >= ROUND_EVENTS or size >= ROUND_BYTES:
                break
            try:
                page = await self._page(shard, self._places[shard].offset)
                made = await asyncio.to_thread(_messages, shard, page)
            except Corrupted:
                self._stuck.add(shard)
                log.exception("the events of a shard are not published", shard=shard)
                continue
            if page:
                places[shard] = Place(page[-1].offset, page[-1].hash)
                self._ends[shard] = max(self._ends.get(shard, Offset(0)), page[-1].offset)
                messages += made
                size += sum(len(message.value) for message in made)
            elif self._places[shard].offset >= self._ends.get(shard, Offset(0)):
                self._behind.discard(shard)
        if not messages:
            await asyncio.sleep(GATHER_S)
            return
        came = {shard for shard in places if shard in self._places}
        await self._topic.publish(messages, places)
        self.published += len(messages)
        # A shard that came here again meanwhile is looked up again.
        self._places.update({s: places[s] for s in came if s in self._places})

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


def _messages(shard: ShardId, records: Sequence[Record]) -> Sequence[Message]:
    return [
        Message(
            key=record.pipeline.encode(),
            value=event_json(record.payload),
            headers=(
                ("id", f"{record.pipeline}/{record.sequence}".encode()),
                ("type", record.type.encode()),
                ("sequence", str(record.sequence).encode()),
                ("shard", str(shard).encode()),
                ("offset", str(record.offset).encode()),
            ),
        )
        for record in records
    ]
