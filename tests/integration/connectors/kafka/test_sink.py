"""The Kafka sink on the real broker: what records look like, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic

from dataflow.connect import Checkpoint, Corrupted, Fenced, Rejected, SinkStep, Stamp, Unavailable
from dataflow.connect.testkit.places import context, task
from dataflow.connectors.kafka import sink as kafka_sink
from dataflow.connectors.kafka import target
from dataflow.connectors.kafka.sink import KafkaSink
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.core.checkpoint import SplitPosition
from dataflow.core.ids import Lineage, Run
from tests.integration.connectors.kafka.places import KafkaPlace, messages, new_topic, values

SEED = Checkpoint(lineage=Lineage(1))
MOMENT = datetime(2026, 1, 1, 0, 10, 5, 678000, tzinfo=UTC)


def decided(number: int, run: int = 1) -> Checkpoint:
    """Return a decision of a run."""
    return replace(SEED, stamp=Stamp(Run(run), number), seeded=True)


def sink_to(broker: str, topic: str, **options: object) -> KafkaSink:
    """Return a sink with a prefix of its topic's own."""
    given = {"topic": topic, "idPrefix": topic} | options
    step = SinkStep("kafka", broker)
    return KafkaSink(step, KafkaSinkOptions.model_validate(given), context())


async def written(sink: KafkaSink, batch: pa.RecordBatch) -> pa.RecordBatch | None:
    """Write a batch as a whole checkpoint; return what was refused."""
    await sink.recover(task(1), SEED)
    refused = await sink.write(batch)
    await sink.commit(decided(1))
    await sink.close()
    return refused


@pytest.mark.usefixtures("each_way")
async def test_key_headers_and_moment_are_a_rows_own(kafka: str) -> None:
    """Consumers partition, route and order by them."""
    topic = new_topic(kafka)
    sink = sink_to(
        kafka,
        topic,
        keyColumn="id",
        keepKey=False,
        headersColumn="headers",
        timestampColumn="at",
    )
    rows = pa.record_batch(
        {
            "id": pa.array([7, None], pa.int64()),
            "name": pa.array(["ü", None]),
            "headers": pa.array([{"trace": "abc"}, None], pa.struct([("trace", pa.string())])),
            "at": pa.array([MOMENT, None], pa.timestamp("us", "UTC")),
        }
    )
    assert await written(sink, rows) is None
    first, second = messages(kafka, topic)
    assert (first.key(), first.headers()) == (b"7", [("trace", b"abc")])
    assert json.loads(first.value() or b"") == {"name": "ü", "at": "2026-01-01T00:10:05.678+00:00"}
    assert first.timestamp()[1] == round(MOMENT.timestamp() * 1000)
    assert (second.key(), second.headers()) == (None, None)
    assert second.timestamp()[1] > first.timestamp()[1], "now, where the row has none"


@pytest.mark.usefixtures("each_way")
async def test_text_and_null_as_a_tombstone(kafka: str) -> None:
    """A compacted topic forgets a key by a record without a value."""
    topic = new_topic(kafka)
    sink = sink_to(kafka, topic, format="string", valueColumn="v", keyColumn="k")
    rows = pa.record_batch({"k": ["a", "b"], "v": pa.array(["text", None])})
    await written(sink, rows)
    assert [(m.key(), m.value()) for m in messages(kafka, topic)] == [(b"a", b"text"), (b"b", None)]


@pytest.mark.usefixtures("each_way")
async def test_a_row_that_is_too_large_is_refused_and_the_others_are_written(kafka: str) -> None:
    """One document of ten megabytes must not stop a pipeline, nor be lost without a word."""
    topic = new_topic(kafka, config={"max.message.bytes": "2000"})
    rows = pa.record_batch({"id": [1, 2, 3], "text": ["a", "x" * 5_000, "c"]})
    refused = await written(sink_to(kafka, topic), rows)
    assert refused is not None
    assert refused.column("index").to_pylist() == [1]
    assert "takes 2000 at most" in refused.column("error")[0].as_py()
    assert [value["id"] for value in values(kafka, topic)] == [1, 3]


@pytest.mark.usefixtures("each_way")
async def test_rows_that_the_brokers_would_refuse_are_refused_alone(kafka: str) -> None:
    """One of them fails its whole transaction, each time it is tried."""
    topic = new_topic(kafka, config={"cleanup.policy": "compact"})
    with pytest.raises(Rejected, match="takes no record without a key"):
        await sink_to(kafka, topic).recover(task(1), SEED)
    sink = sink_to(kafka, topic, keyColumn="k", timestampColumn="at", headersColumn="h")
    later, epoch = datetime(2999, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)
    moments = [None, None, later, MOMENT, None, epoch]
    rows = pa.record_batch(
        {
            "k": pa.array(["a", None, "c", "d", "e", "f"]),
            "at": pa.array(moments, pa.timestamp("us", "UTC")),
            "h": pa.array([None, None, None, '{"t":["b","c"],"n":null}', "[1]", None]),
        }
    )
    refused = await written(sink, rows)
    assert refused is not None
    assert refused.column("index").to_pylist() == [1, 2, 4, 5]
    assert [message.key() for message in messages(kafka, topic)] == [b"a", b"d"]
    assert messages(kafka, topic)[1].headers() == [("t", b"b"), ("t", b"c")]


async def test_a_record_whose_columns_all_go_beside_its_value_is_an_empty_object(
    kafka: str,
) -> None:
    """There is a record for each row, whatever is left for its value."""
    topic = new_topic(kafka)
    rows = pa.record_batch({"k": ["a", "b"]})
    assert await written(sink_to(kafka, topic, keyColumn="k", keepKey=False), rows) is None
    assert [m.value() for m in messages(kafka, topic)] == [b"{}", b"{}"]


async def test_a_topic_that_somebody_makes_just_before_is_found(kafka: str) -> None:
    """Brokers hear of it later than whoever made it, and a refusal is for good."""
    later = f"{new_topic(kafka)}-later"
    sink = sink_to(kafka, later)
    recovering = asyncio.create_task(sink.recover(task(1), SEED))
    await asyncio.sleep(0.3)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(later, 1, 1)])[later].result(20)
    await recovering
    await sink.close()


async def test_a_topic_is_made_where_that_is_asked_for(kafka: str) -> None:
    """Otherwise a misspelt name is an error that says so."""
    missing = f"{new_topic(kafka)}-missing"
    sink = sink_to(kafka, missing)
    with pytest.raises(Rejected, match="no such topic; create it") as caught:
        await sink.recover(task(1), SEED)
    assert caught.value.field == "options.topic"
    await sink.close()
    wanted = {"partitions": 3, "config": {"retention.ms": "60000"}}
    rows = pa.record_batch({"id": [1]})
    await written(sink_to(kafka, missing, createTopic=wanted), rows)
    assert values(kafka, missing) == [{"id": 1}]


async def test_a_topic_that_another_task_has_just_made_is_waited_for(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller says that it is there before a broker knows it, and calls it missing."""
    topic = new_topic(kafka)
    unheard = ["when asked", "after making it", "and once more"]

    class Late(AdminClient):
        def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
            found = super().list_topics(topic, timeout)
            if unheard and topic is not None:
                unheard.pop()
                missing = super().list_topics(f"{topic}-missing", timeout)
                found.topics = {topic: missing.topics[f"{topic}-missing"]}
            return found

    monkeypatch.setattr(target, "AdminClient", Late)
    sink = sink_to(kafka, topic, createTopic={"partitions": 1})
    await sink.recover(task(1), SEED)
    assert not unheard
    await sink.close()


async def test_settings_the_brokers_refuse_are_named(kafka: str) -> None:
    """Of a topic that is to be made."""
    sink = sink_to(kafka, f"{new_topic(kafka)}-new", createTopic={"config": {"no.such": "1"}})
    with pytest.raises(Rejected) as caught:
        await sink.recover(task(1), SEED)
    assert caught.value.field == "options.createTopic"
    await sink.close()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"keyColumn": "nobody"}, "options.keyColumn"),
        ({"timestampColumn": "name"}, "options.timestampColumn"),
        ({"headersColumn": "id"}, "options.headersColumn"),
        ({"keyColumn": "tags"}, "options.keyColumn"),
    ],
)
async def test_a_column_that_cannot_be_used_is_named(
    kafka: str, options: dict[str, str], field: str
) -> None:
    """Before anything is sent."""
    sink = sink_to(kafka, new_topic(kafka), **options)
    await sink.recover(task(1), SEED)
    rows = pa.record_batch({"id": [1], "name": ["n"], "tags": [["t"]]})
    with pytest.raises(Rejected) as caught:
        await sink.write(rows)
    assert caught.value.field == field
    await sink.close()


async def test_a_decision_of_any_size_comes_back(kafka: str) -> None:
    """Brokers keep 4 KiB of metadata; a folder of a thousand files has more to say."""
    place = KafkaPlace(kafka)
    many = {f"file-{i:05}.csv": SplitPosition(f'{{"offset":{i * 7919}}}', i) for i in range(3_000)}
    decision = replace(decided(1), positions=many)
    sink = place.sink(lambda _: None)
    await sink.recover(task(1), SEED)
    await sink.commit(decision)
    await sink.close()
    for run in (2, 3):  # run 2 claims it, which writes it again
        sink = place.sink(lambda _: None)
        assert await sink.recover(task(run), SEED) == decision
        await sink.close()


async def test_a_pipeline_that_is_told_another_topic_and_back_goes_on(kafka: str) -> None:
    """The register may be a decision behind; what was written to either must not come again."""
    topics = new_topic(kafka), new_topic(kafka)
    for run, topic in enumerate((*topics, *topics), start=1):
        sink = sink_to(kafka, topic, idPrefix=topics[0])
        held = await sink.recover(task(run), SEED)
        assert held.stamp.number == run - 1
        await sink.write(pa.record_batch({"n": [run]}))
        await sink.commit(decided(run, run=run))
        await sink.close()
    assert [values(kafka, topic) for topic in topics] == [
        [{"n": 1}, {"n": 3}],
        [{"n": 2}, {"n": 4}],
    ]


async def test_a_decision_that_was_lost_is_missed_aloud(kafka: str) -> None:
    """The register's copy may be a decision behind: rows would come again."""
    place = KafkaPlace(kafka)
    now = context().clock.now()
    sink = place.sink(lambda _: None)
    with pytest.raises(Corrupted, match="has lost decision 4"):
        await sink.recover(task(1), replace(decided(4), decided_at=now))
    await sink.close()
    idle = replace(decided(4), decided_at=now - timedelta(days=8))
    sink = place.sink(lambda _: None)
    assert await sink.recover(task(1), idle) == idle  # Brokers forget a group that is idle.
    await sink.close()


@pytest.mark.usefixtures("each_way")
async def test_a_zombie_that_comes_in_between_does_not_stop_the_living(kafka: str) -> None:
    """It takes the transactional id before it sees that it is late; nothing of it is written."""
    place = KafkaPlace(kafka)
    living = place.sink(lambda _: None)
    await living.recover(task(2), SEED)
    await living.write(place.rows(0, 3))
    zombie = place.sink(lambda _: None)
    with pytest.raises(Fenced, match="run 2 has claimed it"):
        await zombie.recover(task(1), SEED)
    with pytest.raises(Unavailable, match="another producer came in") as caught:
        await living.commit(decided(1, run=2))
    assert not isinstance(caught.value, Fenced)
    await zombie.close()
    await living.close()
    again = place.sink(lambda _: None)
    assert await again.recover(task(3), SEED) == SEED
    await again.write(place.rows(0, 3))
    await again.commit(decided(1, run=3))
    await again.close()
    assert place.visible() == [0, 1, 2]


async def test_brokers_that_speak_no_tls_are_told_of_and_not_just_waited_for(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver itself only says, after a while, that nobody has answered."""
    monkeypatch.setattr(kafka_sink, "ANSWER_S", 2.0)
    sink = sink_to(kafka, "any", security={"protocol": "tls"})
    with pytest.raises(Unavailable, match="SSL"):
        await sink.recover(task(1), SEED)
    await sink.close()
