"""Pushed records and events in a Kafka that wants a login, or a certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from tests.e2e.programs import api, serving, until
from tests.integration.connectors.kafka.places import messages
from tests.integration.connectors.kafka.secured import Secured

OK = 200
EVERYTHING = [ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker of this module's own."""
    with Secured(tmp_path_factory.mktemp("secured")) as broker:
        for kind in EVERYTHING:
            broker.allow("*", kind, "dataflow", AclOperation.ALL)
        yield broker


@pytest.mark.parametrize("listener", ["SECURE", "TLS"])
def test_pushed_records_and_events_go_through_brokers_that_ask_who_comes(
    secured: Secured, folder: Path, listener: str
) -> None:
    """A cluster's pushed records are in Kafka alone; few companies have one that is open to all."""
    topic = f"dataflow-events-{listener.lower()}"
    settings = {
        "DATAFLOW_CLUSTER": f"dataflow-{listener.lower()}",
        "DATAFLOW_KAFKA_BROKERS": secured.at(listener),
        "DATAFLOW_KAFKA_CA_FILE": f"{secured.ca}",
        "DATAFLOW_INGEST_LOG": "kafka",
        "DATAFLOW_EVENTS_TOPIC": topic,
    }
    if listener == "TLS":
        settings |= {
            "DATAFLOW_KAFKA_PROTOCOL": "tls",
            "DATAFLOW_KAFKA_CERTIFICATE_FILE": f"{secured.certificate}",
            "DATAFLOW_KAFKA_KEY_FILE": f"{secured.key}",
        }
    else:
        settings |= {
            "DATAFLOW_KAFKA_PROTOCOL": "saslTls",
            "DATAFLOW_KAFKA_MECHANISM": "PLAIN",
            "DATAFLOW_KAFKA_USERNAME": "plain",
            "DATAFLOW_KAFKA_PASSWORD": "plain-secret",
        }
    spec = {
        "pipelineId": "pushed",
        "source": {"sourceType": "push", "options": {"schema": {"id": "int64"}}},
        "sink": {"sinkType": "file", "connectionString": f"{folder}/out.jsonl"},
        "options": {"checkpointInterval": "20ms"},
    }
    with serving(folder, settings) as server, api(server) as http:
        http.create(spec)
        http.start("pushed")
        pushed = http.client.post(
            "/pipelines/pushed/batches",
            content=b'{"id":7}\n',
            headers={"content-type": "application/x-ndjson"},
        )
        assert pushed.status_code == OK, pushed.text
        until(lambda: (folder / "out.jsonl").exists() and _read(folder / "out.jsonl"), "rows")
        assert _read(folder / "out.jsonl") == [{"id": 7}]
        until(lambda: len(messages(secured.address, topic)) > 1, "events")


def _read(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
