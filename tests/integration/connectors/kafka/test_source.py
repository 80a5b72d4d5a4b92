"""The Kafka source on the real broker: where it begins, what it finds, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producer_module
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as InPython
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from dataflow.connect import Rejected, SourceStep, Split, SplitId, Unavailable, Waiting
from dataflow.connect.spec import parse
from dataflow.connect.testkit import context
from dataflow.connectors.kafka import consuming
from dataflow.connectors.kafka.source import KafkaSource
from dataflow.connectors.kafka.source_spec import KafkaPosition, KafkaSourceOptions
from tests.integration.connectors.kafka.places import ANSWER_S, Sent, new_topic, send

pytestmark = pytest.mark.usefixtures("each_way")

Rows = list[dict[str, Any]]


def source_of(broker: str, topic: str, **options: object) -> KafkaSource:
    """Return a source that ends with what is there."""
    given = {"topics": [topic], "stopAtEnd": True} | options
    if "topicPattern" in options:
        del given["topics"]
    step = SourceStep("kafka", broker)
    return KafkaSource(step, parse(KafkaSourceOptions, json.dumps(given)), context())


def numbered(*numbers: int, partition: int = 0) -> Sequence[Sent]:
    """Return records of these numbers."""
    return [Sent(b'{"n":%d}' % number, partition) for number in numbers]


async def rows_of(source: KafkaSource, split: Split, start: KafkaPosition | None = None) -> Rows:
    """Return the rows of a split from a position on."""
    found: Rows = []
    async with aclosing(source.read(split, start)) as reading:
        async for chunk in reading:
            found += chunk.batch.to_pylist()
    return found


async def all_rows(source: KafkaSource) -> Rows:
    """Open a source, return its rows, and close it."""
    try:
        await source.open(None)
        return [row for split in await source.splits() for row in await rows_of(source, split)]
    finally:
        await source.close()


HEADERS = [("trace", b"abc"), ("trace", b"def\n"), ("other", b"x")]


async def test_a_record_brings_what_goes_with_it(kafka: str) -> None:
    """Key, headers, topic, partition, offset and moment are columns where they are asked for."""
    topic = new_topic(kafka)
    sent = Sent(b'{"n":1}', 0, b"\xff\n", HEADERS)
    send(kafka, topic, [sent, Sent(b'{"n":2}')])
    names = ("key", "headers", "topic", "partition", "offset", "timestamp")
    columns = {f"{name}Column": name for name in names}
    first, second = await all_rows(source_of(kafka, topic, **columns))
    assert datetime.now(UTC) - first.pop("timestamp") < timedelta(minutes=5)
    headers = '{"trace":["abc","def\\n"],"other":"x"}'
    assert first == {
        "n": 1,
        "key": "\\xff\n",
        "headers": headers,
        "topic": topic,
        "partition": 0,
        "offset": 0,
    }
    assert (second["key"], second["headers"], second["offset"]) == (None, None, 1)


async def test_tombstones_are_passed_over_or_rows_of_nulls(kafka: str) -> None:
    """A change stream says by them that a key is gone."""
    topic = new_topic(kafka)
    send(kafka, topic, [*numbered(1), Sent(None, key=b"gone"), *numbered(2)])
    assert await all_rows(source_of(kafka, topic)) == [{"n": 1}, {"n": 2}]
    rows = await all_rows(source_of(kafka, topic, tombstones="nulls", keyColumn="k"))
    assert rows[1] == {"n": None, "k": "gone"}


async def test_bad_records_are_told_by_their_place(kafka: str) -> None:
    """Blank, several lines, not JSON, another type: each is one record, good or bad."""
    topic = new_topic(kafka)
    texts = [b'{"n":1}', b"", b'{\n "n": 2\n}', b"null", b'{"n":"x"}', b'{"n":3}{"n":4}', b" \n "]
    send(kafka, topic, [Sent(text) for text in texts])
    source = source_of(kafka, topic, schema={"n": "int64"}, otherColumns="reject")
    await source.open(None)
    (split,) = await source.splits()
    async with aclosing(source.read(split, None)) as reading:
        chunk = await anext(reading)
    await source.close()
    assert chunk.batch.to_pylist() == [{"n": 1}, {"n": 2}]
    assert chunk.rejected is not None
    assert chunk.rejected.column("index").to_pylist() == [1, 3, 4, 5, 6]
    assert chunk.resume_at.offset == 7


async def test_where_a_lineage_begins_stays_whatever_comes(kafka: str) -> None:
    """Decided before its first row: a crash before that must not move it."""
    topic = new_topic(kafka)
    send(kafka, topic, numbered(1, 2))
    first = source_of(kafka, topic, start="latest", schema={"n": "int64"}, otherColumns="drop")
    pinned = await first.open(None)
    await first.close()
    send(kafka, topic, numbered(3))
    second = source_of(kafka, topic, start="latest", schema={"n": "int64"}, otherColumns="drop")
    await second.open(pinned)
    (split,) = await second.splits()
    assert await rows_of(second, split) == [{"n": 3}]
    await second.close()


async def test_it_begins_at_a_moment_or_where_a_group_stands(kafka: str) -> None:
    """A takeover from another program goes on where that one stopped."""
    topic = new_topic(kafka)
    send(kafka, topic, numbered(1, 2))
    await asyncio.sleep(0.05)
    moment = datetime.now(UTC)
    await asyncio.sleep(0.002)  # Moments of records are whole milliseconds, cut off.
    send(kafka, topic, numbered(3, 4))
    at = {"start": "timestamp", "startTime": moment.isoformat()}
    assert [row["n"] for row in await all_rows(source_of(kafka, topic, **at))] == [3, 4]
    group = f"group-{topic}"
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    consumer.close()
    rows = await all_rows(source_of(kafka, topic, start="committed", group=group))
    assert [row["n"] for row in rows] == [2, 3, 4]


async def test_what_is_decided_shows_in_the_group(kafka: str) -> None:
    """Lag tools look there; nothing is ever read from it."""
    topic = new_topic(kafka)
    send(kafka, topic, numbered(1, 2, 3))
    source = source_of(kafka, topic, group=f"shown-{topic}", stopAtEnd=False)
    await source.open(None)
    (split,) = await source.splits()
    async with aclosing(source.read(split, None)) as reading:
        chunk = await anext(reading)
        await source.acknowledge(split, chunk.resume_at)
        consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"shown-{topic}"})
        async with asyncio.timeout(ANSWER_S):
            while consumer.committed([TopicPartition(topic, 0)], ANSWER_S)[0].offset != 3:  # noqa: ASYNC110 - a broker's state
                await asyncio.sleep(0.05)
        consumer.close()
        assert await source.lag() == (0, -1)
    await source.close()


async def test_records_that_retention_deleted_are_missed_aloud(kafka: str) -> None:
    """A silent jump is a loss that nobody hears of."""
    topic = new_topic(kafka)
    send(kafka, topic, numbered(1, 2, 3))
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_records([TopicPartition(topic, 0, 2)])[TopicPartition(topic, 0, 2)].result(
        ANSWER_S
    )
    start = KafkaPosition(offset=1)
    split = Split(SplitId(f"{topic}/0"))
    source = source_of(kafka, topic)
    await source.open(None)
    with pytest.raises(
        Rejected, match="at offset 1, was deleted by retention: the topic holds 2 to 2"
    ) as told:
        await rows_of(source, split, start)
    assert told.value.code == "SOURCE_CHANGED"
    await source.close()
    source = source_of(kafka, topic, onMissingOffset="earliest")
    await source.open(None)
    assert await rows_of(source, split, start) == [{"n": 3}]
    await source.close()


async def test_a_topic_that_was_made_anew_is_missed_aloud(kafka: str) -> None:
    """Its records have the offsets that others had: to go on would pass them over."""
    topic = new_topic(kafka)
    send(kafka, topic, numbered(1, 2))
    source = source_of(kafka, topic)
    await source.open(None)
    (split,) = await source.splits()
    async with aclosing(source.read(split, None)) as reading:
        start = (await anext(reading)).resume_at
    remade(kafka, topic)
    send(kafka, topic, numbered(3, 4, 5))
    with pytest.raises(Unavailable, match="has just been made anew"):
        await source.splits()
    await source.close()
    source = source_of(kafka, topic)
    await source.open(None)
    with pytest.raises(Rejected, match="up to offset 2, then deleted and made anew") as told:
        await rows_of(source, split, start)
    assert told.value.code == "SOURCE_CHANGED"
    await source.close()
    source = source_of(kafka, topic, onMissingOffset="earliest")
    await source.open(None)
    assert await rows_of(source, split, start) == [{"n": 3}, {"n": 4}, {"n": 5}]
    await source.close()


def remade(broker: str, topic: str) -> None:
    """Delete a topic, and make another one of its name."""
    admin = AdminClient({"bootstrap.servers": broker})
    admin.delete_topics([topic])[topic].result(ANSWER_S)
    while True:
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(ANSWER_S)
        except KafkaException:
            time.sleep(0.05)
        else:
            return


async def test_a_marker_that_retention_passed_is_not_missed(kafka: str) -> None:
    """Behind a transaction's records is its marker; nobody reads it, and nothing is lost by it."""
    topic = new_topic(kafka)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic})
    producer.init_transactions(ANSWER_S)
    producer.begin_transaction()
    producer.produce(topic, b'{"n":1}')
    producer.commit_transaction(ANSWER_S)
    first = source_of(kafka, topic)
    await first.open(None)
    (split,) = await first.splits()
    async with aclosing(first.read(split, None)) as reading:
        chunks = [chunk async for chunk in reading]
    await first.close()
    assert chunks[-1].resume_at.offset == 2
    where = TopicPartition(topic, 0, 2)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_records([where])[where].result(ANSWER_S)
    second = source_of(kafka, topic, schema={"n": "int64"}, otherColumns="drop")
    await second.open(None)
    assert await rows_of(second, split, chunks[-1].resume_at) == []
    await second.close()


async def test_a_run_that_reads_to_an_end_ends_when_the_topic_goes(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver says nothing of it; the run would wait for ever."""
    monkeypatch.setattr(consuming, "QUIET_S", 0.2)
    topic = new_topic(kafka)
    send(kafka, topic, numbered(1, 2))
    source = source_of(kafka, topic)
    await source.open(None)
    (split,) = await source.splits()
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([topic])[topic].result(ANSWER_S)
    with pytest.raises(Rejected, match="there is no topic"):
        async with asyncio.timeout(ANSWER_S):
            await rows_of(source, split)
    await source.close()


async def test_partitions_and_topics_that_come_later_are_read(kafka: str) -> None:
    """From their beginning: nothing that is written to them is missed."""
    topic = new_topic(kafka)
    send(kafka, topic, numbered(1))
    pattern = f"{topic}.*"
    source = source_of(kafka, topic, topicPattern=pattern, stopAtEnd=False)
    await source.open(None)
    assert [split.id for split in await source.splits()] == [f"{topic}/0"]
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(ANSWER_S)
    async with asyncio.timeout(ANSWER_S):
        while len(splits := await source.splits()) < 2:  # noqa: ASYNC110 - a broker's state
            await asyncio.sleep(0.05)
    assert [split.id for split in splits] == [f"{topic}/0", f"{topic}/1"]
    send(kafka, topic, numbered(2, partition=1))
    async with aclosing(source.read(splits[1], None)) as reading:
        assert (await anext(reading)).batch.to_pylist() == [{"n": 2}]
    await source.close()


async def test_a_topic_that_is_made_just_before_is_found(kafka: str) -> None:
    """Brokers hear of it later than whoever made it, and a refusal is for good."""
    topic = f"{new_topic(kafka)}-later"
    source = source_of(kafka, topic, format="bytes")
    opening = asyncio.create_task(source.open(None))
    await asyncio.sleep(0.3)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(ANSWER_S)
    await opening
    await source.close()


class Latin(str):
    """A text that goes out in one byte a letter."""

    __slots__ = ()

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        return super().encode("latin-1")


async def test_a_header_whose_name_is_no_text_is_the_records_fault(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brokers take any bytes; what could not be told must not end the pipeline."""
    for module in (message_accumulator, producer_module):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", InPython)
    topic = new_topic(kafka)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for value, name in ((b"a", "good"), (b"b", Latin("\xfc")), (b"\xff", "good"), (b"c", "ü")):
            await producer.send_and_wait(topic, value, headers=[(name, b"1")])
    source = source_of(kafka, topic, format="string", headersColumn="h")
    await source.open(None)
    (split,) = await source.splits()
    async with aclosing(source.read(split, None)) as reading:
        (chunk,) = [one async for one in reading]
    await source.close()
    assert chunk.batch.column("h").to_pylist() == ['{"good":"1"}', '{"ü":"1"}']
    assert chunk.rejected is not None
    assert chunk.rejected.to_pylist() == [
        {"index": 1, "record": "b", "error": "the name of a header is no UTF-8"},
        {"index": 2, "record": "\\xff", "error": "invalid UTF-8"},
    ]


async def test_a_topic_that_is_not_there_is_named(kafka: str) -> None:
    """A misspelt name is somebody's to mend; a pattern waits for topics to come."""
    source = source_of(kafka, "no-such-topic")
    with pytest.raises(Rejected, match="no topic 'no-such-topic'") as caught:
        await source.open(None)
    assert caught.value.field == "options.topics"
    await source.close()
    source = source_of(kafka, "", topicPattern="no-such-topic-[0-9]+")
    with pytest.raises(Waiting, match="no topic matches"):
        await source.open(None)
    await source.close()


async def test_an_empty_topic_is_waited_for_unless_its_types_are_declared(kafka: str) -> None:
    """There is nothing to infer types from."""
    topic = new_topic(kafka)
    source = source_of(kafka, topic)
    with pytest.raises(Waiting, match="declare a schema"):
        await source.open(None)
    await source.close()
    assert await all_rows(source_of(kafka, topic, schema={"n": "int64"}, otherColumns="drop")) == []


async def test_a_partition_that_is_gone_is_missed_aloud(kafka: str) -> None:
    """Its records had been read in part."""
    topic = new_topic(kafka)
    source = source_of(kafka, topic, schema={"n": "int64"}, otherColumns="drop")
    await source.open(None)
    with pytest.raises(Rejected, match="was read up to offset 5"):
        await source.gone(Split(SplitId(f"{topic}/7")), KafkaPosition(offset=5))
    await source.close()
