"""What Kafka adds: writers that follow each other, and readers anywhere."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import aclosing

import pytest

from dataflow.core.errors import Code, Unavailable
from dataflow.engine.ingest import Ingested
from dataflow.engine.ingest.kafka import KafkaLog, KafkaLogs, brokers, store
from dataflow.engine.ingest.kafka.brokers import INDEX, ROWS, Span
from tests.contract.engine.ingest.conftest import KafkaPushing
from tests.unit.engine.ingest.pushing import NDJSON, PIPELINE, Options, lines, numbers_of


class Died(BaseException):
    """Stands in for the end of a process."""


def dying_at(point: str) -> Callable[[str], None]:
    """Return a probe that ends its writer at a point."""

    def probe(name: str) -> None:
        if name == point:
            raise Died

    return probe


async def push(logs: KafkaLogs, batch_id: str, *numbers: int) -> Ingested:
    """Push to a node of one's choice."""
    body = lines(*numbers)
    return await logs.append(PIPELINE, batch_id, NDJSON, body, source_options=Options())


async def test_two_that_both_believe_to_be_the_owner_take_a_batch_once(
    in_kafka: KafkaPushing,
) -> None:
    """The one that was there first is fenced BEFORE the second reads what it has taken."""
    first, second = KafkaLogs(in_kafka.brokers), KafkaLogs(in_kafka.brokers)
    await push(first, "a", 1)
    assert (await push(second, "a", 1)).duplicate
    assert await push(second, "b", 2) == Ingested(1, 1, duplicate=False)
    with pytest.raises(Unavailable, match="push the batch again") as lost:
        await push(first, "b", 2)
    assert lost.value.code is Code.OUTCOME_UNKNOWN
    assert await push(first, "b", 2) == Ingested(1, 1, duplicate=True)
    await first.close()
    await second.close()
    assert await in_kafka.numbers() == [1, 2]


async def test_what_waits_behind_a_fenced_write_is_not_written(in_kafka: KafkaPushing) -> None:
    """It was compared with batch ids that are not all there are any more."""
    first, second = KafkaLogs(in_kafka.brokers), KafkaLogs(in_kafka.brokers)
    await push(first, "a", 0)
    await push(second, "b1", 1)
    await push(second, "b2", 2)
    racing = [asyncio.ensure_future(push(first, f"b{n}", n)) for n in (3, 1, 2)]
    await asyncio.wait(racing)
    assert all(isinstance(one.exception(), Unavailable) for one in racing)
    assert (await push(first, "b1", 1)).duplicate
    await first.close()
    await second.close()
    assert await in_kafka.numbers() == [0, 1, 2]


@pytest.mark.parametrize(
    ("point", "duplicate"), [("ingest.before_commit", False), ("ingest.committed", True)]
)
async def test_a_writer_that_dies_leaves_a_batch_whole_or_out(
    in_kafka: KafkaPushing, point: str, *, duplicate: bool
) -> None:
    """Before its commit, or after it and before its answer: the next writer knows which."""
    await in_kafka.push("first", 0)
    dying = KafkaLogs(in_kafka.brokers, probe=dying_at(point))
    with pytest.raises(Died):
        await push(dying, "a", 1, 2)
    await in_kafka.reopen()
    assert (await in_kafka.push("a", 1, 2)) == Ingested(2, 1, duplicate=duplicate)
    assert await in_kafka.numbers() == [0, 1, 2]
    await dying.close()


async def test_the_index_stays_short_and_says_the_same(
    in_kafka: KafkaPushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then it is written as a whole, in parts where it is large, and cut below that."""
    monkeypatch.setattr(store, "WHOLE_EVERY_GROUPS", 4)
    monkeypatch.setattr("dataflow.engine.ingest.kafka.parts.PART_BYTES", 200)
    following = KafkaLog(in_kafka.brokers, PIPELINE)
    for n in range(11):
        await in_kafka.push(f"b{n}", n)
        if n in {0, 2, 9}:
            assert await following.end() == n + 1
    await following._let_go()
    span = in_kafka.brokers.span(in_kafka.topic, INDEX)
    assert span is not None
    assert span.begin > 0
    await in_kafka.reopen()
    assert [(await in_kafka.push(f"b{n}", n)).first_offset for n in range(11)] == list(range(11))
    assert await in_kafka.numbers(7) == [7, 8, 9, 10]


async def test_an_index_is_not_cut_where_nobody_knows_where_it_stands(
    in_kafka: KafkaPushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka takes -1 for all there is: ids and numbers would begin anew."""
    monkeypatch.setattr(store._Placed, "delivered", lambda *_: None)
    await in_kafka.push("a", 1)
    await in_kafka.reopen()
    assert await in_kafka.push("a", 1) == Ingested(1, 0, duplicate=True)


async def test_a_run_that_begins_cuts_what_was_decided_before_it(in_kafka: KafkaPushing) -> None:
    """The one before may have died between its decision and the cut; nothing else makes room."""
    await in_kafka.push("a", *range(100))
    log = in_kafka.log
    await log.schema()
    await log.cut(100)
    async with aclosing(log.read(100)) as batches:
        reading = asyncio.ensure_future(anext(batches))
        async with asyncio.timeout(10):
            while await KafkaLog(in_kafka.brokers, PIPELINE).begin() < 100:  # noqa: ASYNC110 - a broker does it
                await asyncio.sleep(0.05)
        await in_kafka.push("b", 100, buffer_bytes=1)
        assert numbers_of((await reading).batch) == [100]


async def test_what_was_acknowledged_and_does_not_show_yet_is_waited_for(
    in_kafka: KafkaPushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit is answered before its rows show: else a first run would pass them over."""
    shown = in_kafka.brokers.span
    late = [0, 0]

    def span(topic: str, partition: int) -> Span | None:
        if partition == ROWS and late:
            return Span(0, late.pop())
        return shown(topic, partition)

    await in_kafka.push("a", *range(200), buffer_bytes=1000)
    monkeypatch.setattr(in_kafka.brokers, "span", span)
    assert await in_kafka.log.begin() == 0
    assert not late
    late[:] = [0, 0]
    with pytest.raises(Unavailable, match="wait to be processed"):
        await in_kafka.push("b", 1, buffer_bytes=1000)
    assert not late


async def test_a_log_that_a_broker_has_not_heard_of_yet_is_not_taken_for_a_new_one(
    in_kafka: KafkaPushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node has just made it: else its batches would be written over, and taken again."""
    await in_kafka.push("a", 1, 2)
    shown, unheard = in_kafka.brokers.span, {ROWS: 2, INDEX: 2}

    def span(topic: str, partition: int) -> Span | None:
        unheard[partition] -= 1
        return None if unheard[partition] >= 0 else shown(topic, partition)

    await in_kafka.reopen()
    monkeypatch.setattr(in_kafka.brokers, "span", span)
    assert await in_kafka.push("a", 1, 2) == Ingested(2, 0, duplicate=True)
    assert await in_kafka.push("b", 3) == Ingested(1, 2, duplicate=False)


async def test_what_is_cut_while_reading_begins_is_not_missed(
    in_kafka: KafkaPushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before may cut late what it had decided; reading begins some records earlier."""
    await in_kafka.push("a", 1)
    shown, forget = in_kafka.brokers.span, in_kafka.brokers.forget
    cuts = [ROWS]

    def span(topic: str, partition: int) -> Span | None:
        found = shown(topic, partition)
        if found is not None and partition in cuts:
            cuts.remove(partition)
            forget(topic, partition, found.end)
        return found

    other = KafkaLogs(in_kafka.brokers)
    monkeypatch.setattr(in_kafka.brokers, "span", span)
    async with aclosing(in_kafka.log.read(1)) as batches, asyncio.timeout(10):
        reading = asyncio.ensure_future(anext(batches))
        while cuts:  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # The reader hears that its offset is gone.
        await push(other, "b", 2)
        assert numbers_of((await reading).batch) == [2]
    await other.close()


async def test_where_a_log_may_be_cut_is_the_event_loops_alone(in_kafka: KafkaPushing) -> None:
    """A thread that removes one while the oldest is looked at has another's records deleted."""
    threads = set()

    class Watched(deque[tuple[int, int]]):
        def append(self, bound: tuple[int, int]) -> None:
            threads.add(threading.current_thread())
            super().append(bound)

        def extend(self, bounds: Iterable[tuple[int, int]]) -> None:
            for bound in bounds:
                self.append(bound)

    await in_kafka.push("a", 1)
    log = KafkaLog(in_kafka.brokers, PIPELINE)
    log._bounds = Watched()
    async with aclosing(log.read(0)) as batches:
        await anext(batches)
    assert threads == {threading.current_thread()}


async def test_rows_that_somebody_deleted_are_an_error(in_kafka: KafkaPushing) -> None:
    """A log is never read on past what is not there."""
    await in_kafka.push("a", 1)
    await in_kafka.push("b", 2)
    await in_kafka.log.end()
    span = in_kafka.brokers.span(in_kafka.topic, ROWS)
    assert span is not None
    in_kafka.brokers.forget(in_kafka.topic, ROWS, span.end)
    with pytest.raises(Exception, match="records 0 to 1 of the ingest log are gone"):
        await anext(in_kafka.log.read(0))


async def test_brokers_that_do_not_answer_are_named_and_waited_for_no_longer_than_need_be(
    in_kafka: KafkaPushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever pushes tries again; nothing hangs."""
    monkeypatch.setattr(brokers, "ANSWER_S", 0.5)
    nowhere = brokers.Brokers({"bootstrap.servers": "127.0.0.1:1"}, "x", in_kafka.brokers.clock)
    logs = KafkaLogs(nowhere)
    with pytest.raises(Unavailable, match="Kafka, making topic"):
        await push(logs, "a", 1)
    await logs.close()
