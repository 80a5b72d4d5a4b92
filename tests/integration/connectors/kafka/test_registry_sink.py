"""Rows as records whose schemas a registry keeps, on the real broker and registry."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Rejected
from dataflow.connectors.kafka.sink import KafkaSink
from tests.integration.connectors.kafka.places import messages, new_topic
from tests.integration.connectors.kafka.schemas import PROTO, record, register, require, unframed
from tests.integration.connectors.kafka.test_registry_source import read, source_of
from tests.integration.connectors.kafka.test_sink import sink_to, written

WHEN = datetime(2026, 1, 31, 1, 2, 3, 4000, tzinfo=UTC)


def avro_to(broker: str, topic: str, url: str, **registry: object) -> KafkaSink:
    """Return a sink for Avro."""
    return sink_to(broker, topic, format="avro", registry={"url": url, **registry})


def told(broker: str, topic: str, url: str) -> list[Any]:
    """Return the records of a topic as another client reads them."""
    return [unframed(url, message.value()) for message in messages(broker, topic)]


ROWS = pa.record_batch(
    {
        "flag": pa.array([True, None]),
        "tiny": pa.array([-1, None], pa.int8()),
        "large": pa.array([1 << 62, -(1 << 63)]),
        "unsigned": pa.array([(1 << 64) - 1, None], pa.uint64()),
        "double": pa.array([0.5, None]),
        "text": pa.array(["é", ""]),
        "raw": pa.array([b"\0\xff", None]),
        "price": pa.array([Decimal("-12.34"), None], pa.decimal128(10, 2)),
        "day": pa.array([date(2026, 1, 31), None]),
        "clock": pa.array([time(1, 2, 3), None], pa.time64("us")),
        "moment": pa.array([WHEN, None], pa.timestamp("us", "UTC")),
        "tags": pa.array([["a", None, "b"], []], pa.list_(pa.string())),
        "points": pa.array([None, [{"x": 1, "y": None}]]),
        "at": pa.array([{"x": 5, "deep": {"z": "q"}}, None]),
        "stock": pa.array([[("k", 7)], None], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(2),
    }
)


async def test_a_schema_made_of_rows_says_what_they_hold(kafka: str, registry: str) -> None:
    """Another client reads by it what was written."""
    topic = new_topic(kafka)
    assert await written(avro_to(kafka, topic, registry, register=True), ROWS) is None
    first, second = told(kafka, topic, registry)
    expected = ROWS.to_pylist()
    assert first == expected[0] | {"unsigned": Decimal((1 << 64) - 1), "stock": {"k": 7}}
    assert second == expected[1]


async def test_what_is_written_is_read_again(kafka: str, registry: str) -> None:
    """Source and sink are of one mind; a part of a batch begins anywhere."""
    topic = new_topic(kafka)
    await written(avro_to(kafka, topic, registry, register=True), ROWS.slice(1))
    rows, bad = await read(source_of(kafka, topic, registry))
    assert (rows, bad) == ([ROWS.to_pylist()[1]], [])


async def test_a_registered_schema_decides(kafka: str, registry: str) -> None:
    """Narrower numbers, enums, fixed, defaults, unions with null behind: as it was agreed upon."""
    topic = new_topic(kafka)
    money = {"type": "fixed", "name": "Money", "size": 8, "logicalType": "decimal"}
    schema = record(
        ("id", "int"),
        ("size", {"type": "enum", "name": "Size", "symbols": ["S", "L"]}),
        ("code", ["null", {"type": "fixed", "name": "Code", "size": 2}]),
        ("note", ["string", "null"]),
        ("stock", {"type": "map", "values": ["null", "long"]}),
        ("paid", money | {"precision": 10, "scale": 1}),
        ("state", "string"),
        state="new",
    )
    register(registry, f"{topic}-value", schema)
    pairs = pa.list_(pa.struct([("key", pa.string()), ("value", pa.int64())]))
    rows = pa.record_batch(
        {
            "id": pa.array([1, 1 << 40, None, 4, 5, 6]),
            "size": pa.array(["L", "S", "S", "XXL", "S", "S"]).dictionary_encode(),
            "code": pa.array([b"ab", None, None, None, b"abc", None]),
            "stock": pa.array([[("k", 1), ("l", None)], [], [], [], [], [(None, 1)]], pairs),
            "paid": pa.array([Decimal("-1.5")] * 6, pa.decimal128(10, 1)),
        }
    )
    refused = await written(avro_to(kafka, topic, registry), rows)
    assert refused is not None
    assert refused.column("index").to_pylist() == [1, 2, 3, 4, 5]
    assert "expected int32" in refused.column("error")[0].as_py()
    assert "'size'" in refused.column("error")[2].as_py()
    assert told(kafka, topic, registry) == [
        {
            "id": 1,
            "size": "L",
            "code": b"ab",
            "note": None,
            "stock": {"k": 1, "l": None},
            "paid": Decimal("-1.5"),
            "state": "new",
        }
    ]


async def test_a_schema_that_cannot_evolve_names_subject_and_remedy(
    kafka: str, registry: str
) -> None:
    """Readers of the topic count on the old one."""
    topic = new_topic(kafka)
    subject = f"{topic}-value"
    register(registry, subject, record(("id", "long")))
    require(registry, subject, "BACKWARD")
    sink = avro_to(kafka, topic, registry, register=True, record="shop.Order")
    with pytest.raises(Rejected, match="can't evolve") as raised:
        await written(sink, pa.record_batch({"id": ["text"]}))
    await sink.close()
    assert raised.value.field == "options.registry"
    assert subject in raised.value.message
    assert "another subject" in raised.value.message


async def test_a_column_may_come_later(kafka: str, registry: str) -> None:
    """What is made of rows may always evolve that way."""
    topic = new_topic(kafka)
    await written(avro_to(kafka, topic, registry, register=True), pa.record_batch({"id": [1]}))
    require(registry, f"{topic}-value", "FULL")
    later = sink_to(
        kafka, topic, format="avro", idPrefix="l", registry={"url": registry, "register": True}
    )
    await written(later, pa.record_batch({"id": [2], "note": ["x"]}))
    rows, _ = await read(source_of(kafka, topic, registry))
    assert rows == [{"id": 1, "note": None}, {"id": 2, "note": "x"}]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ([("id", "long")], "no field 'extra'"),
        ([("id", "long"), ("extra", "string"), ("more", "string")], "needs a field 'more'"),
        ([("id", ["string", "long"])], "union of several"),
    ],
)
async def test_rows_that_do_not_go_with_the_schema_name_what_is_wrong(
    kafka: str, registry: str, fields: list[tuple[str, object]], problem: str
) -> None:
    """Before a row is written."""
    topic = new_topic(kafka)
    register(registry, f"{topic}-value", record(*fields))
    sink = avro_to(kafka, topic, registry)
    with pytest.raises(Rejected, match=problem):
        await written(sink, pa.record_batch({"id": [1], "extra": ["x"]}))
    await sink.close()


async def test_a_subject_without_a_schema_is_told_with_its_remedy(
    kafka: str, registry: str
) -> None:
    """Nobody has to guess which one was meant."""
    topic = new_topic(kafka)
    sink = avro_to(kafka, topic, registry, subjectName="topicRecord", record="shop.Order")
    with pytest.raises(Rejected, match=rf"{topic}-shop.Order holds no schema; .*register"):
        await written(sink, pa.record_batch({"id": [1]}))
    await sink.close()


async def test_rows_are_protobuf_messages(kafka: str, registry: str) -> None:
    """The message stands second in its file, which stands in front of each."""
    topic = new_topic(kafka)
    rows = pa.record_batch(
        {
            "id": pa.array([1, 2], pa.int32()),
            "note": pa.array(["a", None]),
            "kind": pa.array(["LARGE", None]),
            "lines": pa.array([[{"count": 3}], None]),
            "stock": pa.array([[("k", 7)], None], pa.map_(pa.string(), pa.int64())),
            "at": pa.array([WHEN, None], pa.timestamp("ms", "UTC")),
            "address": pa.array([{"city": "B"}, None]),
        }
    )
    shop = {"url": registry, "register": True, "schema": PROTO, "record": "shop.Order"}
    assert await written(sink_to(kafka, topic, format="protobuf", registry=shop), rows) is None
    head = [(message.value() or b"")[5:7] for message in messages(kafka, topic)]
    assert head == [b"\2\2"] * 2
    asked = {"format": "protobuf", "registry": {"url": registry, "message": "shop.Order"}}
    found, _ = await read(source_of(kafka, topic, registry, **asked))
    stock = {"stock": [{"key": "k", "value": 7}]}
    assert found[0] == rows.to_pylist()[0] | stock
    empty = {"kind": "SMALL", "lines": [], "stock": []}
    assert found[1] == rows.to_pylist()[1] | empty


async def test_rows_that_are_no_messages_are_refused_alone(kafka: str, registry: str) -> None:
    """An enum has its names, and a list no nulls."""
    topic = new_topic(kafka)
    rows = pa.record_batch(
        {
            "id": [1, 2, 3, 4, 5],
            "kind": ["SMALL", "HUGE", "LARGE", "LARGE", "LARGE"],
            "lines": [[{"count": 1}], [], [None], [{"count": 1 << 40}], []],
            "stock": pa.array([[], [], [], [], [("k", None)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    shop = {"url": registry, "register": True, "schema": PROTO, "record": "shop.Order"}
    refused = await written(sink_to(kafka, topic, format="protobuf", registry=shop), rows)
    assert refused is not None
    assert refused.column("index").to_pylist() == [1, 2, 3, 4]
    told = refused.column("error").to_pylist()
    expected = ("'kind'", "'lines'", "'lines': expected", "'stock'")
    assert all(text in f"{one}" for text, one in zip(expected, told, strict=True))
    asked = {"format": "protobuf", "registry": {"url": registry, "message": "shop.Order"}}
    found, _ = await read(source_of(kafka, topic, registry, **asked))
    assert [row["id"] for row in found] == [1]
