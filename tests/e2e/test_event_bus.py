"""The program with an event bus: what a reader of its topic sees over several lives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.e2e.programs import Document, api, refusing, serving, until
from tests.integration.connectors.kafka.places import messages

SOURCE = {"sourceType": "generator", "options": {"rows": 0, "rowsPerSecond": 100}}
SPEC = {"pipelineId": "events", "source": SOURCE, "sink": {"sinkType": "console"}}


def test_every_event_is_published_though_the_program_is_killed(folder: Path, kafka: str) -> None:
    """Twice, with events on their way: none is missing, and they are in order."""
    topic = f"events-{os.getpid()}-{folder.name[-20:]}"
    settings = {"DATAFLOW_KAFKA_BROKERS": kafka, "DATAFLOW_EVENTS_TOPIC": topic}

    def published() -> list[Document]:
        return [json.loads(one.value() or b"") for one in messages(kafka, topic)]

    for life in range(3):
        with serving(folder, settings) as server, api(server) as speaking:
            if not life:
                speaking.client.post("/pipelines", json=SPEC).raise_for_status()
            for verb in ("start", "stop") * 5:
                speaking.client.post(f"/pipelines/events/{verb}", json={}).raise_for_status()
            if life < 2:
                server.kill()
                continue
            asked = speaking.client.get("/pipelines/events/events", params={"pageSize": 500})
            events = asked.json()["events"]
            until(partial(_has, published, len(events)), published)
            assert published() == events
            page = speaking.client.get(f"{server.url}/metrics").text
            assert "dataflow_event_bus_lag 0.0" in page


def _has(published: Callable[[], list[Document]], count: int) -> bool:
    return len(published()) >= count


def test_a_topic_without_kafka_is_refused(folder: Path) -> None:
    """Before anything is served; the message says what to set."""
    code, said = refusing(folder, {"DATAFLOW_EVENTS_TOPIC": "events"})
    assert code == 1
    assert "kafka_brokers (DATAFLOW_KAFKA_BROKERS)" in said


def test_the_program_serves_while_its_kafka_is_not_there(folder: Path) -> None:
    """Commands are answered and shown; the metrics tell what waits."""
    settings = {"DATAFLOW_KAFKA_BROKERS": "127.0.0.1:1", "DATAFLOW_EVENTS_TOPIC": "events"}
    with serving(folder, settings) as server, api(server) as speaking:
        speaking.client.post("/pipelines", json=SPEC).raise_for_status()
        assert speaking.client.get("/pipelines/events").json()["status"] == "configured"
        until(
            lambda: (
                "dataflow_event_bus_lag 1.0" in speaking.client.get(f"{server.url}/metrics").text
            ),
            "what waits is shown",
        )
