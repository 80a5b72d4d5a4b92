"""Logins, rights and certificates on a real broker: each refusal says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from dataflow.connect import Rejected, SinkStep, SourceStep
from dataflow.connect.spec import parse
from dataflow.connect.testkit import context
from dataflow.connectors.kafka.sink import KafkaSink
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.source import KafkaSource
from dataflow.connectors.kafka.source_spec import KafkaSourceOptions
from tests.integration.connectors.kafka.places import Sent, new_topic, send
from tests.integration.connectors.kafka.secured import Secured
from tests.integration.connectors.kafka.test_sink import written
from tests.integration.connectors.kafka.test_source import all_rows

ROWS = pa.record_batch({"n": [1]})
READ, WRITE = AclOperation.READ, AclOperation.WRITE
TOPIC, GROUP, TRANSACTION = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker of this module's own, with three users."""
    with Secured(tmp_path_factory.mktemp("secured")) as broker:
        broker.enrol("reader", "writer", "nobody")
        broker.allow("reader", TOPIC, "topic-", READ)
        broker.allow("reader", GROUP, "dataflow", READ)
        broker.allow("writer", TOPIC, "topic-", READ, WRITE)
        broker.allow("writer", GROUP, "topic-", READ)
        broker.allow("writer", TRANSACTION, "topic-", WRITE)
        yield broker


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver goes on trying until a request's time is over, and only then is asked why."""
    monkeypatch.setattr("dataflow.connectors.kafka.source.ANSWER_S", 2.0)
    monkeypatch.setattr("dataflow.connectors.kafka.sink.ANSWER_S", 2.0)


def login(user: str, password: str = "", **more: str) -> dict[str, str]:
    """Return who somebody is."""
    known = {"username": user, "password": password or f"{user}-secret"}
    return {"protocol": "saslPlaintext", **known, **more}


def source(broker: str, topic: str, **security: str) -> KafkaSource:
    """Return a source that ends with what is there."""
    given = {"topics": [topic], "stopAtEnd": True, "security": security}
    step = SourceStep("kafka", broker)
    return KafkaSource(step, parse(KafkaSourceOptions, json.dumps(given)), context())


def sink(broker: str, topic: str, **security: str) -> KafkaSink:
    """Return a sink whose names begin with its topic's."""
    given = {"topic": topic, "idPrefix": topic, "security": security}
    step = SinkStep("kafka", broker)
    return KafkaSink(step, KafkaSinkOptions.model_validate(given), context())


def topic_with_a_record(secured: Secured) -> str:
    """Return a topic that holds a record."""
    topic = new_topic(secured.address)
    send(secured.address, topic, [Sent(b'{"n":1}')])
    return topic


@pytest.mark.parametrize(
    "who",
    [login("reader"), login("plain", mechanism="PLAIN")],
    ids=["scram", "plain"],
)
async def test_a_login_with_the_rights_reads(secured: Secured, who: dict[str, str]) -> None:
    """READ on topic and group is enough."""
    topic = topic_with_a_record(secured)
    assert await all_rows(source(secured.at("SASL"), topic, **who)) == [{"n": 1}]


async def test_a_login_with_the_rights_writes(secured: Secured) -> None:
    """READ and WRITE on the topic, WRITE on the transactional id, READ on the group."""
    topic = new_topic(secured.address)
    await written(sink(secured.at("SASL"), topic, **login("writer")), ROWS)
    rows = await all_rows(source(secured.at("SASL"), topic, **login("reader")))
    assert rows == [{"n": 1}]


async def refusal(broker: str, topic: str, what: str, **security: str) -> Rejected:
    """Return why a source or a sink fails."""
    step: Any = (source if what == "source" else sink)(broker, topic, **security)
    with pytest.raises(Rejected) as raised:
        await (all_rows(step) if what == "source" else written(step, ROWS))
    if what == "sink":
        await step.close()
    return raised.value


both = pytest.mark.parametrize("what", ["source", "sink"])


@both
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_login_names_it(secured: Secured, what: str, mechanism: str) -> None:
    """Whoever mends it looks there."""
    topic = topic_with_a_record(secured)
    who = login("reader", "wrong", mechanism=mechanism)
    error = await refusal(secured.at("SASL"), topic, what, **who)
    assert error.field == "options.security"
    assert "refuse this login" in error.message


@pytest.mark.parametrize(
    ("what", "user", "expected"),
    [
        ("source", "nobody", ("options.topic", "READ")),
        ("sink", "nobody", ("options.topic", "WRITE")),
        ("sink", "reader", ("options.security.username", "transactional id")),
    ],
)
async def test_a_right_that_is_missing_names_who_has_to_be_granted_what(
    secured: Secured, what: str, user: str, expected: tuple[str, str]
) -> None:
    """It is an operator who mends it, and has to know how."""
    topic = topic_with_a_record(secured)
    error = await refusal(secured.at("SASL"), topic, what, **login(user))
    field, remedy = expected
    assert error.field == field
    assert "grant this login" in error.message
    assert remedy in error.message


@both
async def test_an_untrusted_certificate_names_the_file_of_authorities(
    secured: Secured, what: str
) -> None:
    """Whoever answers may be anybody: no password is sent."""
    topic = topic_with_a_record(secured)
    trust = {"protocol": "saslTls", "caFile": f"{secured.stranger}"}
    error = await refusal(secured.at("SECURE"), topic, what, **login("reader") | trust)
    assert error.field == "options.security"
    assert "caFile" in error.message


async def test_a_login_goes_through_tls(secured: Secured) -> None:
    """Both together are what most clusters want."""
    topic = topic_with_a_record(secured)
    trust = {"protocol": "saslTls", "caFile": f"{secured.ca}"}
    rows = await all_rows(source(secured.at("SECURE"), topic, **login("reader") | trust))
    assert rows == [{"n": 1}]


async def test_a_client_shows_a_certificate(secured: Secured) -> None:
    """Its name is the user; here it has no rights, which the error tells."""
    topic = topic_with_a_record(secured)
    own = {
        "protocol": "tls",
        "caFile": f"{secured.ca}",
        "certificateFile": f"{secured.certificate}",
        "keyFile": f"{secured.key}",
    }
    error = await refusal(secured.at("TLS"), topic, "source", **own)
    assert error.field == "options.topic"


@both
async def test_a_client_without_the_certificate_that_brokers_want_is_told(
    secured: Secured, what: str
) -> None:
    """The brokers end the handshake."""
    topic = topic_with_a_record(secured)
    own = {"protocol": "tls", "caFile": f"{secured.ca}"}
    error = await refusal(secured.at("TLS"), topic, what, **own)
    assert error.field == "options.security"
