"""What a reader of the event bus can rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from dataflow.core.errors import Unavailable
from dataflow.core.events import Event
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import Record
from dataflow.journal.memory import Memory
from dataflow.views.bus import EventBus, Place, bus, kafka
from tests.contract.views.bus.conftest import SHARD, Author, InKafka, InMemory, Read, Shown
from tests.integration.connectors.kafka.places import messages

OTHER = ShardId(4)


def opened(
    author: Author, read: Read, node: str = "a", owned: Sequence[ShardId] = (SHARD, OTHER)
) -> AbstractAsyncContextManager[EventBus]:
    """Return the bus of a node."""
    return EventBus.open(author.journal, read.topic(node), lambda: owned)


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the bus brings it about
            await asyncio.sleep(0.01)


def note(running: EventBus, shard: ShardId, events: Sequence[Event]) -> None:
    """Tell a bus of events, as it is told when they are committed."""
    for event in events:
        running.note(shard, event)


def has_published(running: EventBus, count: int) -> bool:
    """Tell whether a bus has published so many events."""
    return running.published == count


def judged(shown: Sequence[Shown], author: Author) -> list[str]:
    """Tell what is wrong: every event is there, and the first time in the order of its pipeline."""
    seen: dict[str, int] = {}
    findings = []
    for name, sequence in shown:
        last = seen.get(name, 0)
        if sequence > last + 1:
            findings.append(f"{name}: {sequence} follows {last}")
        seen[name] = max(last, sequence)
    lost = author.written - set(shown)
    return findings + [f"lost: {sorted(lost)[:3]}" for _ in range(bool(lost))]


async def test_every_event_is_published_in_the_order_of_its_pipeline(read: Read) -> None:
    """What was there before the node, and what comes while it runs."""
    author = Author()
    await author.write(5)
    async with opened(author, read) as running:
        running.take_up(SHARD)
        running.take_up(OTHER)
        for _ in range(3):
            note(running, SHARD, await author.write(4))
            note(running, OTHER, await author.write(3, OTHER))
        await until(lambda: running.published == 26)
        assert running.lag == 0
    assert len(read.shown()) == 26
    assert judged(read.shown(), author) == []


async def test_it_goes_on_where_it_was(read: Read) -> None:
    """After a restart nothing is missing, and nothing is there twice."""
    author = Author()
    async with opened(author, read) as running:
        running.take_up(SHARD)
        note(running, SHARD, await author.write(7))
        await until(lambda: running.published == 7)
    await author.write(6)
    async with opened(author, read) as running:
        running.take_up(SHARD)
        await until(lambda: running.published == 6)
    assert len(read.shown()) == 13
    assert judged(read.shown(), author) == []


async def test_another_node_goes_on_where_the_owner_before_it_was(read: Read) -> None:
    """It shares nothing with it but the journal and the topic."""
    author = Author()
    async with opened(author, read, "a") as first, opened(author, read, "b") as second:
        first.take_up(SHARD)
        note(first, SHARD, await author.write(9))
        await until(lambda: first.published == 9)
        last = await author.write(2)
        second.take_up(SHARD)
        await until(lambda: second.published == 2)
        note(first, SHARD, last)  # It has not heard that the shard is gone.
        await until(lambda: first.published == 11)
    assert len(read.shown()) == 13
    assert judged(read.shown(), author) == []


async def test_brokers_that_fail_hold_nobody_up_and_lose_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who commits only notes it, nothing is kept in memory, and the lag shows."""
    monkeypatch.setattr(bus, "BACKOFF_S", 0.01)
    author, read = Author(), InMemory(failures=3)
    async with opened(author, read) as running:
        running.take_up(SHARD)
        note(running, SHARD, await author.write(50))
        assert running.lag == 50
        await until(lambda: running.published == 50)
        assert (running.failures, running.lag) == (3, 0)
    assert judged(read.shown(), author) == []


class Counting(Memory):
    """A journal that counts how often it is read."""

    reads = 0

    def read(self, shard: ShardId, after: Offset) -> AsyncIterator[Sequence[Record]]:
        """See ``Journal``."""
        self.reads += 1
        return super().read(shard, after)


async def test_what_is_committed_is_published_without_reading_the_journal() -> None:
    """Cassandra's log is read at SERIAL, which its writer waits for."""
    author, read = Author(), InMemory()
    journal = Counting(author.store)
    async with EventBus.open(journal, read, lambda: (SHARD,)) as running:
        running.take_up(SHARD)
        note(running, SHARD, await author.write(3))
        await until(lambda: running.published == 3)
        before = journal.reads
        for n in range(1, 4):
            note(running, SHARD, await author.write(5))
            await until(partial(has_published, running, 3 + 5 * n))
        assert journal.reads == before
    assert judged(read.shown(), author) == []
    (last,) = [page[-1] async for page in author.journal.read(SHARD, Offset(17))]
    assert read.kept[SHARD] == Place(Offset(18), last.hash)


async def test_a_page_at_a_time_makes_the_whole_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of millions of events takes the memory of a page."""
    monkeypatch.setattr(bus, "ROUND_EVENTS", 1)
    author, read = Author(), InMemory()
    await author.write(20)
    await author.write(20, OTHER)
    async with opened(author, read) as running:
        running.take_up(SHARD)
        running.take_up(OTHER)
        await until(lambda: running.published == 40)
    assert judged(read.shown(), author) == []


async def test_a_place_of_another_journal_counts_for_nothing(read: Read) -> None:
    """A data directory that was thrown away: else its first events would be passed over."""
    author = Author()
    async with opened(author, read) as running:
        running.take_up(SHARD)
        note(running, SHARD, await author.write(4))
        await until(lambda: running.published == 4)
    for actor, count in (("bob", 3), ("eve", 6)):  # shorter than the place, and longer
        author = Author(actor)
        await author.write(count)
        async with opened(author, read) as running:
            running.take_up(SHARD)
            await until(partial(has_published, running, count))
    assert len(read.shown()) == 13


async def test_a_node_that_dies_in_a_transaction_publishes_none_of_it(
    in_kafka: InKafka,
) -> None:
    """Its next life ends what was begun, and begins where it was."""
    author = Author()
    await author.write(4)
    topic = in_kafka.topic()
    assert isinstance(topic, kafka.KafkaTopic)
    producer = await topic._begun()
    await producer.begin_transaction()
    await (await producer.send(in_kafka.name, b"half", b"p3-1"))
    async with opened(author, in_kafka) as running:
        running.take_up(SHARD)
        await until(lambda: running.published == 4)
    assert judged(in_kafka.shown(), author) == []
    await topic.close()


async def test_an_event_has_its_id_and_is_what_the_api_shows(in_kafka: InKafka) -> None:
    """A reader keeps (pipeline, sequence), and passes over what it has seen."""
    author = Author()
    async with opened(author, in_kafka) as running:
        running.take_up(SHARD)
        note(running, SHARD, await author.write(1))
        await until(lambda: running.published == 1)
    (found,) = messages(in_kafka.broker, in_kafka.name)
    assert found.key() == b"p3-1"
    assert dict(found.headers() or []) == {
        "id": b"p3-1/1",
        "type": b"PipelineStarted",
        "sequence": b"1",
        "shard": b"3",
        "offset": b"1",
    }
    assert b'"pipelineStarted":{}' in (found.value() or b"")


async def test_brokers_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the log, each time; nothing waits for longer than it says."""
    monkeypatch.setattr(kafka, "ANSWER_S", 1.0)
    topic = kafka.KafkaTopic(kafka.Login(["127.0.0.1:1"], "x"), kafka.Names("events", "x"))
    with pytest.raises(Unavailable, match="Kafka, reading the places"):
        await topic.places()
