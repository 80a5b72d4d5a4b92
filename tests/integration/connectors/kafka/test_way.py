"""What both ways between the driver and columns promise, on the real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import uuid4

import pyarrow as pa
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from dataflow.connectors.kafka.fetched import Fetched, Partition, Wanted
from dataflow.connectors.kafka.fetching import Fetching
from dataflow.connectors.kafka.records import Encoder, Headers, Records
from dataflow.connectors.kafka.way import Way
from tests.integration.connectors.kafka.places import ANSWER_S, Sent, messages, new_topic, send

ALL = Wanted(keys=True, times=True, headers=True)
NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


@contextmanager
def fetching(way: Way, broker: str, wanted: Wanted) -> Iterator[Fetching]:
    """Have records fetched."""
    settings = {
        "bootstrap.servers": broker,
        "group.id": f"way-{uuid4().hex[:12]}",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
    }
    made = way.fetching(settings, wanted)
    try:
        yield made
    finally:
        made.close()


def assign(made: Fetching, partition: Partition, offset: int) -> None:
    """Have a partition read from an offset on."""
    made.expect(partition)
    made.consumer.incremental_assign([TopicPartition(*partition, offset)])


def until_told(made: Fetching, count: int) -> Mapping[Partition, Sequence[Fetched]]:
    """Return what comes until so many partitions have told something, mostly their end."""
    found: dict[Partition, list[Fetched]] = {}
    ends = time.monotonic() + ANSWER_S
    while sum(any(one.told for one in pieces) for pieces in found.values()) < count:
        assert time.monotonic() < ends, found
        for one in made.fetch(100, 0.1):
            found.setdefault(one.partition, []).append(one)
    return found


def mixed(count: int) -> Sequence[Sent]:
    """Return records with all that a record may have, or lack, in three partitions."""
    values = [b"{}", b"", None, '{"ü": 1}\n'.encode(), b"\xff\x00"]
    keys = [None, b"", b"k"]
    headers: Sequence[Headers] = [[], [("a", b"1"), ("a", b"")], [("ü", b"\xff")]]
    return [Sent(values[i % 5], i % 3, keys[i // 3 % 3], headers[i // 9 % 3]) for i in range(count)]


def test_all_of_a_record_comes_as_columns(kafka: str, each_way: Way) -> None:
    """Empty is not null, order is a partition's own, and several batches are fetched."""
    topic = new_topic(kafka, 3)
    send(kafka, topic, mixed(1_000))
    with fetching(each_way, kafka, ALL) as made:
        for number in range(3):
            assign(made, Partition(topic, number), 0)
        found = until_told(made, 3)
    rows = [
        row
        for partition, pieces in sorted(found.items())
        for one in pieces
        if one.keys is not None and one.times_ms is not None and one.headers is not None
        for row in zip(
            [partition.number] * len(one),
            one.offsets.to_pylist(),
            one.times_ms.to_pylist(),
            one.keys.to_pylist(),
            one.values.to_pylist(),
            one.headers,
            strict=True,
        )
    ]
    expected = [
        (m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())
        for m in messages(kafka, topic)
    ]
    assert rows == expected
    ends = {one.number: found[one][-1].told[-1] for one in found}
    assert {number: (told.offset, told.error.code()) for number, told in ends.items()} == {
        number: (sum(row[0] == number for row in rows), KafkaError._PARTITION_EOF)
        for number in range(3)
    }


def test_a_line_feed_stands_behind_values_that_become_lines(kafka: str, each_way: Way) -> None:
    """So that they are JSON lines without another copy; what is null stays null."""
    topic = new_topic(kafka)
    send(kafka, topic, [Sent(b'{"n":1}'), Sent(None), Sent(b"")])
    with fetching(each_way, kafka, Wanted(lines=True)) as made:
        assign(made, Partition(topic, 0), 0)
        (pieces,) = until_told(made, 1).values()
    values = [value for one in pieces for value in one.values.to_pylist()]
    assert values == [b'{"n":1}\n', None, b"\n"]
    assert all(
        (one.keys, one.times_ms, one.headers) == (None, None, None) for one in pieces if len(one)
    )


def test_a_partition_that_is_assigned_again_is_read_again(kafka: str, each_way: Way) -> None:
    """Each time from where it is asked for: the driver undoes the earlier assignment later on."""
    topic = new_topic(kafka)
    send(kafka, topic, [Sent(b"%d" % number) for number in range(10)])
    partition = Partition(topic, 0)
    with fetching(each_way, kafka, Wanted()) as made:
        for offset in (0, 7, 3, 9):
            assign(made, partition, offset)
            pieces = until_told(made, 1)[partition]
            made.consumer.incremental_unassign([TopicPartition(*partition)])
            found = [at for one in pieces for at in one.offsets.to_pylist()]
            assert found == list(range(offset, 10))


def test_an_offset_that_is_not_there_is_told_of(kafka: str, each_way: Way) -> None:
    """Retention deletes records; what is read instead is not the driver's to choose."""
    topic = new_topic(kafka)
    with fetching(each_way, kafka, Wanted()) as made:
        assign(made, Partition(topic, 0), 5)
        (pieces,) = until_told(made, 1).values()
    assert pieces[-1].told[0].error.code() == KafkaError._AUTO_OFFSET_RESET


def records(values: pa.Array[pa.Scalar[pa.DataType]], gap: int = 0, **beside: object) -> Records:
    """Return records without what is not given."""
    given = {"keys": None, "headers": None, "times_ms": None} | beside
    return Records(values=values, gap=gap, **given)  # type: ignore[arg-type]  # as a test gives them


@pytest.mark.parametrize("headers", [None, [(), [("h", b"1")], ()]])
@pytest.mark.parametrize("times", [None, pa.array([9, 1_000, None, 2_000], pa.int64())])
def test_columns_arrive_as_records(
    kafka: str,
    each_way: Way,
    times: pa.Array[pa.Int64Scalar] | None,
    headers: Sequence[Headers] | None,
) -> None:
    """Also those that are a part of others, as batches are cut."""
    topic = new_topic(kafka)
    keys = pa.array([b"cut", b"", None, b"k"], pa.large_binary()).slice(1)
    values = pa.array([b"cut", None, b"", b"value"], pa.large_binary()).slice(1)
    given = records(
        values, keys=keys, times_ms=None if times is None else times.slice(1), headers=headers
    )
    made = each_way.producing({"bootstrap.servers": kafka}, topic)
    made.give(given, Encoder.sizes(given))
    assert made.producer.flush(ANSWER_S) == 0
    found = messages(kafka, topic)
    assert [(m.key(), m.value()) for m in found] == [(b"", None), (None, b""), (b"k", b"value")]
    assert [m.headers() for m in found] == [None, [("h", b"1")] if headers else None, None]
    if times is not None:
        first, second, third = (m.timestamp()[1] for m in found)
        assert (first, third) == (1_000, 2_000)
        assert second > third, "now, where the row has none"
    assert made.failure is None


def test_lines_arrive_without_their_line_feeds(kafka: str, each_way: Way) -> None:
    """More than the driver is given at once, and in their order."""
    topic = new_topic(kafka)
    texts = [b'{"n":%d}' % number for number in range(10_000)]
    lines = pa.array([text + b"\n" for text in texts], pa.large_binary())
    made = each_way.producing({"bootstrap.servers": kafka}, topic)
    given = records(lines, gap=1)
    made.give(given, Encoder.sizes(given))
    assert made.producer.flush(ANSWER_S) == 0
    assert [m.value() for m in messages(kafka, topic)] == texts


@pytest.mark.parametrize("times", [None, pa.array([1_000], pa.int64())])
def test_a_record_that_is_not_taken_is_an_error(
    each_way: Way, times: pa.Array[pa.Int64Scalar] | None
) -> None:
    """A sink that passed it over would lose it."""
    made = each_way.producing({**NOBODY, "message.max.bytes": 1_000}, "topic")
    large = records(pa.array([b"x" * 2_000], pa.large_binary()), times_ms=times)
    with pytest.raises(KafkaException) as told:
        made.give(large, Encoder.sizes(large))
    assert told.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_the_first_failure_of_a_delivery_is_kept(each_way: Way) -> None:
    """What a commit says afterwards is only that some record failed."""
    made = each_way.producing({**NOBODY, "message.timeout.ms": 50}, "topic")
    given = records(pa.array([b"x"], pa.large_binary()))
    made.give(given, Encoder.sizes(given))
    made.producer.flush(ANSWER_S)
    assert made.failure is not None
    assert made.failure.code() == KafkaError._MSG_TIMED_OUT


def test_records_that_were_given_up_with_the_rest_tell_no_reason(each_way: Way) -> None:
    """A fenced producer gives its records up, and it is the fencing that a sink must tell."""
    made = each_way.producing(NOBODY, "topic")
    given = records(pa.array([b"x"], pa.large_binary()))
    made.give(given, Encoder.sizes(given))
    made.producer.purge()
    made.producer.flush(ANSWER_S)
    assert made.failure is None
