"""Records whose schemas a registry keeps, from the real broker and registry."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from uuid import UUID

import pytest

from dataflow.connect import Rejected, SourceStep, Unavailable, Waiting
from dataflow.connect.spec import parse
from dataflow.connect.testkit import context
from dataflow.connectors.kafka.source import KafkaSource
from dataflow.connectors.kafka.source_spec import KafkaSourceOptions
from tests.integration.connectors.kafka.places import Sent, new_topic, send
from tests.integration.connectors.kafka.schemas import PROTO, framed, record, register


def source_of(broker: str, topic: str, url: str, **options: object) -> KafkaSource:
    """Return a source that ends with what is there."""
    given = {"topics": [topic], "stopAtEnd": True, "format": "avro", "registry": {"url": url}}
    step = SourceStep("kafka", broker)
    return KafkaSource(step, parse(KafkaSourceOptions, json.dumps(given | options)), context())


async def read(source: KafkaSource) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of a source, and its bad records."""
    rows, bad = [], []
    try:
        await source.open(None)
        for split in await source.splits():
            async with aclosing(source.read(split, None)) as reading:
                async for chunk in reading:
                    rows += chunk.batch.to_pylist()
                    bad += chunk.rejected.to_pylist() if chunk.rejected else []
    finally:
        await source.close()
    return rows, bad


async def test_every_type_of_avro_is_a_column(kafka: str, registry: str) -> None:
    """Another client's writer is the judge of what is on the wire."""
    topic = new_topic(kafka)
    point = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": ["null", "int"]}]}
    schema = record(
        ("flag", "boolean"),
        ("small", "int"),
        ("large", "long"),
        ("single", "float"),
        ("double", "double"),
        ("raw", "bytes"),
        ("text", ["string", "null"]),
        ("size", ["null", {"type": "enum", "name": "Size", "symbols": ["S", "L"]}]),
        ("code", {"type": "fixed", "name": "Code", "size": 3}),
        ("tags", {"type": "array", "items": ["null", "string"]}),
        ("stock", ["null", {"type": "map", "values": "Size"}]),
        ("points", {"type": "array", "items": point}),
        ("at", ["null", "Point"]),
        ("price", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}),
        ("day", {"type": "int", "logicalType": "date"}),
        ("clock", {"type": "int", "logicalType": "time-millis"}),
        ("moment", {"type": "long", "logicalType": "timestamp-micros"}),
        ("local", {"type": "long", "logicalType": "local-timestamp-millis"}),
        ("key", {"type": "string", "logicalType": "uuid"}),
        ("nothing", "null"),
    )
    number = register(registry, f"{topic}-value", schema)
    row = {
        "flag": True,
        "small": -7,
        "large": 1 << 60,
        "single": 1.5,
        "double": 2.25,
        "raw": b"\0\xff",
        "text": "é",
        "size": "L",
        "code": b"abc",
        "tags": ["a", None],
        "stock": {"k": "S"},
        "points": [{"x": 1}, {"x": None}],
        "at": None,
        "price": Decimal("-12.34"),
        "day": date(2026, 1, 31),
        "clock": time(1, 2, 3),
        "moment": datetime(2026, 1, 31, 1, 2, 3, 4, tzinfo=UTC),
        "local": datetime(2026, 1, 31, 1, 2, 3),  # noqa: DTZ001 - without a zone
        "key": UUID(int=5),
        "nothing": None,
    }
    bare = row | {"text": None, "size": None, "tags": [], "stock": None, "at": {"x": 3}}
    send(kafka, topic, [Sent(framed(number, schema, one)) for one in (row, bare)])
    rows, bad = await read(source_of(kafka, topic, registry))
    told = {"stock": [{"key": "k", "value": "S"}], "key": f"{UUID(int=5)}"}
    assert (rows, bad) == ([row | told, bare | told | {"stock": None}], [])


async def test_records_of_several_schemas_are_rows_of_one(kafka: str, registry: str) -> None:
    """A topic outlives its schemas: each is read with its own, and keeps its place."""
    topic = new_topic(kafka)
    first = record(("id", "int"), ("gone", "string"))
    second = record(("id", "long"), ("note", ["null", "string"]), note=None)
    numbers = [register(registry, f"{topic}-value", one) for one in (first, second)]
    old = framed(numbers[0], first, {"id": 1, "gone": "x"})
    new = [framed(numbers[1], second, {"id": n, "note": "y"}) for n in (2, 3)]
    send(kafka, topic, [Sent(one) for one in (new[0], old, new[1])])
    rows, bad = await read(source_of(kafka, topic, registry))
    noted = [{"id": 2, "note": "y"}, {"id": 1, "note": None}, {"id": 3, "note": "y"}]
    assert (rows, bad) == (noted, [])


async def test_fields_that_nobody_declared_have_the_record_refused(
    kafka: str, registry: str
) -> None:
    """With otherColumns reject; else they are dropped."""
    topic = new_topic(kafka)
    schema = record(("id", "long"), ("extra", "string"))
    number = register(registry, f"{topic}-value", schema)
    send(kafka, topic, [Sent(framed(number, schema, {"id": 1, "extra": "x"}))])
    options = {"schema": {"id": "int64"}}
    _, bad = await read(source_of(kafka, topic, registry, otherColumns="reject", **options))
    rows, _ = await read(source_of(kafka, topic, registry, otherColumns="drop", **options))
    assert "'extra'" in bad[0]["error"]
    assert rows == [{"id": 1}]


async def test_bad_records_alone_are_set_aside_with_their_place(kafka: str, registry: str) -> None:
    """One that is too long would move all behind it, were it not noticed."""
    topic = new_topic(kafka)
    schema = record(("id", "long"), ("note", "string"))
    number = register(registry, f"{topic}-value", schema)
    good = [framed(number, schema, {"id": n, "note": "ab"}) for n in range(4)]
    wrong = {
        1: good[1] + b"\0",
        2: good[2][:-1],
        4: b"{}",
        5: b"\0" + (1 << 30).to_bytes(4, "big") + b"\2",
        6: good[1][:-2] + b"\xff\xfe",
        7: good[1][:6] + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    }
    sent = [good[0], wrong[1], wrong[2], good[3], *(wrong[n] for n in (4, 5, 6, 7)), good[1]]
    send(kafka, topic, [Sent(one) for one in sent])
    rows, bad = await read(source_of(kafka, topic, registry))
    assert [row["id"] for row in rows] == [0, 3, 1]
    assert [one["index"] for one in bad] == list(wrong)
    assert [base64.b64decode(one["record"]) for one in bad] == list(wrong.values())
    expected = ("behind", "shorter", "in front", "no schema", "UTF-8", "shorter")
    assert all(text in one["error"] for one, text in zip(bad, expected, strict=True)), bad


async def test_a_value_that_does_not_fit_the_column_is_the_records_fault(
    kafka: str, registry: str
) -> None:
    """Numbers are cast where they hold; a text is no number."""
    topic = new_topic(kafka)
    schemas = [record(("id", "long")), record(("id", "string"))]
    numbers = [register(registry, f"{topic}-value", one) for one in schemas]
    sent = [framed(numbers[0], schemas[0], {"id": n}) for n in (1, 1 << 40)]
    sent.append(framed(numbers[1], schemas[1], {"id": "5"}))
    send(kafka, topic, [Sent(one) for one in sent])
    options = {"schema": {"id": "int32"}, "otherColumns": "drop"}
    rows, bad = await read(source_of(kafka, topic, registry, **options))
    assert rows == [{"id": 1}]
    assert [one["index"] for one in bad] == [1, 2]
    assert all("field 'id': expected int32" in one["error"] for one in bad)


async def test_tombstones_are_rows_of_nulls_between_the_others(kafka: str, registry: str) -> None:
    """They say that a key is gone."""
    topic = new_topic(kafka)
    schema = record(("id", "long"))
    number = register(registry, f"{topic}-value", schema)
    sent = [framed(number, schema, {"id": 1}), None, framed(number, schema, {"id": 2})]
    send(kafka, topic, [Sent(one) for one in sent])
    rows, _ = await read(source_of(kafka, topic, registry, tombstones="nulls"))
    assert [row["id"] for row in rows] == [1, None, 2]


async def test_protobuf_messages_are_rows(kafka: str, registry: str) -> None:
    """A message may be nested in another; its place in the file stands in front of it."""
    topic = new_topic(kafka)
    number = register(registry, f"{topic}-value", PROTO, "PROTOBUF")
    head = b"\0" + number.to_bytes(4, "big")
    order = (
        b"\2\2"
        + bytes.fromhex("0801120161180122020803")
        + b"\x2a\x05\x0a\x01k\x10\7\x32\2\x08\x01\x3a\3\x0a\1B"
    )
    line = b"\4\2\2\x08\x05"
    send(kafka, topic, [Sent(head + one) for one in (order, b"\2\2", line, b"\2\2\xff", b"\x7e")])
    options = {"format": "protobuf", "registry": {"url": registry, "message": "shop.Order"}}
    rows, bad = await read(source_of(kafka, topic, registry, **options))
    assert rows[0] == {
        "id": 1,
        "note": "a",
        "kind": "LARGE",
        "lines": [{"count": 3}],
        "stock": [{"key": "k", "value": 7}],
        "at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "address": {"city": "B"},
    }
    assert (rows[1]["id"], rows[1]["note"], rows[1]["kind"]) == (0, None, "SMALL")
    assert rows[2] == dict.fromkeys(rows[0])
    assert [one["index"] for one in bad] == [3, 4]


async def test_an_unregistered_topic_is_waited_for(kafka: str, registry: str) -> None:
    """Whoever writes first registers."""
    topic = new_topic(kafka)
    with pytest.raises(Waiting, match=f"{topic}-value"):
        await read(source_of(kafka, topic, registry))


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        (["string", "long"], "union of several"),
        ({"type": "array", "items": "null"}, "no bytes"),
        (["null", "Order"], "holds itself"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 60}, "60 digits"),
    ],
)
async def test_what_no_column_holds_is_told_by_its_field(
    kafka: str, registry: str, of: object, problem: str
) -> None:
    """Before anything is read."""
    topic = new_topic(kafka)
    register(registry, f"{topic}-value", record(("odd", of)))
    with pytest.raises(Rejected, match=problem):
        await read(source_of(kafka, topic, registry))


async def test_a_registry_that_is_down_is_tried_again(kafka: str) -> None:
    """The records are fine; only nobody tells what they are."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    topic = new_topic(kafka)
    with pytest.raises(Unavailable, match="schema registry"):
        await read(source_of(kafka, topic, f"http://127.0.0.1:{port}"))


@pytest.fixture
def guarded() -> Iterator[str]:
    """A registry that wants a login, and knows nothing else."""

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = "Basic " + base64.b64encode(b"reader:s3cret").decode()
            known = self.headers.get("Authorization") == wanted
            self.send_response(HTTPStatus.NOT_FOUND if known else HTTPStatus.UNAUTHORIZED)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Guard)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_registry_takes_a_login(kafka: str, guarded: str) -> None:
    """A wrong one names the field; a right one comes to what is not there."""
    topic = new_topic(kafka)
    login = {"url": guarded, "username": "reader", "password": "wrong"}
    with pytest.raises(Rejected, match="refuses this login") as raised:
        await read(source_of(kafka, topic, "", registry=login))
    assert raised.value.field == "options.registry.username"
    with pytest.raises(Waiting):
        await read(source_of(kafka, topic, "", registry=login | {"password": "s3cret"}))


async def test_a_decimal_has_no_more_digits_than_its_type(kafka: str, registry: str) -> None:
    """Its bytes may hold more."""
    topic = new_topic(kafka)
    of = {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}
    number = register(registry, f"{topic}-value", record(("price", of)))
    head = b"\0" + number.to_bytes(4, "big")
    send(kafka, topic, [Sent(head + b"\2\5"), Sent(head + b"\x08\x7f\xff\xff\xff")])
    rows, bad = await read(source_of(kafka, topic, registry))
    assert (rows, [one["index"] for one in bad]) == ([{"price": Decimal("0.5")}], [1])


async def test_two_bad_records_do_not_make_up_for_each_other(kafka: str, registry: str) -> None:
    """A byte too many and one too few: together they are as long as two good ones."""
    topic = new_topic(kafka)
    number = register(registry, f"{topic}-value", record(("flag", "boolean")))
    head = b"\0" + number.to_bytes(4, "big")
    send(kafka, topic, [Sent(head + b"\1\0"), Sent(head), Sent(head + b"\1")])
    rows, bad = await read(source_of(kafka, topic, registry))
    assert rows == [{"flag": True}]
    assert [one["index"] for one in bad] == [0, 1]
