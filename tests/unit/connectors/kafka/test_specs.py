"""What is refused of Kafka's options, before any broker is asked."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dataflow.connect import PipelineOptions, Registry, Rejected, SinkStep, SourceStep
from dataflow.connect.spec import parse
from dataflow.connect.testkit import context
from dataflow.connectors.kafka.connection import Security, brokers_problem, settings
from dataflow.connectors.kafka.sink_spec import SPEC as SINK
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.source_spec import SPEC as SOURCE
from dataflow.connectors.kafka.source_spec import KafkaSourceOptions
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine.plan import validate

BROKERS = "a.example.com:9092, [::1]:9093"


def source_fields(connection: str = BROKERS, **options: Any) -> list[str]:  # noqa: ANN401 - any option
    """Return the fields that are wrong with a source."""
    given = parse(KafkaSourceOptions, json.dumps(options))
    return [problem.field for problem in SOURCE.check(SourceStep("kafka", connection), given)]


def sink_fields(connection: str = BROKERS, **options: Any) -> list[str]:  # noqa: ANN401 - any option
    """Return the fields that are wrong with a sink."""
    given = parse(KafkaSinkOptions, json.dumps({"topic": "t"} | options))
    return [problem.field for problem in SINK.check(SinkStep("kafka", connection), given)]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "options.topics"),
        ({"topics": ["t"], "topicPattern": "t.*"}, "options.topics"),
        ({"topics": ["t"], "start": "timestamp"}, "options.startTime"),
        ({"topics": ["t"], "startTime": "2026-01-01T00:00:00Z"}, "options.startTime"),
        (
            {"topics": ["t"], "start": "timestamp", "startTime": "2026-01-01T00:00:00"},
            "options.startTime",
        ),
        ({"topics": ["t"], "format": "bytes", "schema": {"a": "int64"}}, "options.schema"),
        ({"topics": ["t"], "otherColumns": "drop"}, "options.schema"),
        ({"topics": ["t"], "schema": {"a": "nonsense"}}, "options.schema.a"),
        ({"topics": ["t"], "schema": {"a": "duration"}}, "options.schema.a"),
        ({"topics": ["t"], "keyColumn": "k", "topicColumn": "k"}, "options"),
        ({"topics": ["t"], "keyColumn": "a", "schema": {"a": "string"}}, "options"),
        ({"topics": ["t"], "security": {"protocol": "saslTls"}}, "options.security.username"),
    ],
)
def test_options_of_a_source_that_contradict_each_other(
    options: dict[str, Any], field: str
) -> None:
    """Each is named, before anything starts."""
    assert source_fields(**options) == [field]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"valueColumn": "v"}, "options.valueColumn"),
        ({"format": "string"}, "options.valueColumn"),
        ({"keepKey": False}, "options.keepKey"),
        (
            {"security": {"username": "u", "password": "p"}},
            "options.security.protocol",
        ),
        (
            {"security": {"protocol": "tls", "keyFile": "/k"}},
            "options.security.certificateFile",
        ),
    ],
)
def test_options_of_a_sink_that_contradict_each_other(options: dict[str, Any], field: str) -> None:
    """Each is named, before anything starts."""
    assert sink_fields(**options) == [field]


def test_what_is_right_is_taken() -> None:
    """A source and a sink with much of everything."""
    assert not source_fields(topicPattern="orders-.*", schema={"a": "int64"}, keyColumn="k")
    assert not sink_fields(keyColumn="k", keepKey=False, createTopic={"partitions": 3})


@pytest.mark.parametrize("name", ["", ".", "a b", "ü", "x" * 250])
def test_a_name_that_no_topic_can_have(name: str) -> None:
    """Kafka itself would say so much later."""
    with pytest.raises(Rejected) as caught:
        parse(KafkaSinkOptions, json.dumps({"topic": name}))
    assert caught.value.problems[0].field == "options.topic"


@pytest.mark.parametrize(
    ("connection", "is_right"),
    [
        ("", False),
        ("broker", False),
        ("kafka://broker:9092", False),
        ("u:p@broker:9092", False),
        (BROKERS, True),
        ("${env:BROKERS}", True),
    ],
)
def test_how_brokers_are_written(connection: str, *, is_right: bool) -> None:
    """A URL is what people try first."""
    assert (not brokers_problem(connection)) == is_right


def test_a_login_is_resolved_where_it_is_used() -> None:
    """The journal keeps the reference alone."""
    security = Security(protocol="saslTls", username="u", password="p")
    given = settings("b:1", security, context())
    assert (given["security.protocol"], given["sasl.mechanism"]) == ("sasl_ssl", "SCRAM-SHA-512")
    assert (given["sasl.username"], given["sasl.password"]) == ("u", "p")
    with pytest.raises(Rejected, match="host:port"):
        settings("nonsense", Security(), context())


@pytest.mark.parametrize(
    ("delivery", "interval", "fields"),
    [
        ("exactly-once", timedelta(minutes=1), ["sink.options.transactionTimeout"]),
        ("exactly-once", timedelta(seconds=59), []),
        ("at-least-once", timedelta(minutes=1), []),
    ],
)
def test_a_transaction_has_to_outlast_its_checkpoint(
    delivery: str, interval: timedelta, fields: list[str]
) -> None:
    """Brokers abort one that does not, and no checkpoint would ever be decided."""
    options = {"topic": "t", "transactionTimeout": "1m", "delivery": delivery}
    spec = PipelineSpec(
        source=Source("kafka", BROKERS, options=json.dumps({"topics": ["t"]})),
        sink=Sink("kafka", BROKERS, options=json.dumps(options)),
        options=PipelineOptions(checkpoint_interval=interval),
    )
    problems = validate(Registry([SOURCE, SINK]), canonical(spec)).problems
    assert [problem.field for problem in problems] == fields
