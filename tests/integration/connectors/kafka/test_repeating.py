"""The Kafka sink without transactions, on the real broker."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from dataflow.connect import Registry, Rejected, SinkStep
from dataflow.connect.testkit.places import context, task
from dataflow.connectors.kafka.repeating import RepeatingKafkaSink
from dataflow.connectors.kafka.sink import open_sink
from dataflow.connectors.kafka.sink_spec import SPEC, KafkaSinkOptions
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine.plan import plan
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.engine.owner import Owner, Points
from tests.integration.connectors.kafka.places import ANSWER_S, messages, new_topic, values

STEP = Sink("kafka")
LOOSE = {"delivery": "at-least-once"}


async def opened(broker: str, topic: str, **options: object) -> RepeatingKafkaSink:
    """Return a sink that is ready."""
    given = KafkaSinkOptions.model_validate({"topic": topic, **LOOSE, **options})
    sink = open_sink(SinkStep("kafka", broker), given, context())
    assert isinstance(sink, RepeatingKafkaSink)
    await sink.open(task(1))
    return sink


@pytest.mark.usefixtures("each_way")
async def test_rows_show_before_any_decision_and_those_that_do_not_fit_are_refused(
    kafka: str,
) -> None:
    """Readers need not know of transactions; a document of ten megabytes stops nothing."""
    topic = new_topic(kafka, config={"max.message.bytes": "2000"})
    sink = await opened(kafka, topic, headersColumn="h", keyColumn="k")
    rows = pa.record_batch(
        {
            "k": ["a", "b", "c", "d"],
            "text": ["a", "x" * 5_000, "c", "d"],
            "h": ['{"n": "1"}', "{}", "none", '{"n": "4"}'],
        }
    )
    refused = await sink.write(rows)
    await sink.flush()
    assert refused is not None
    assert refused.column("index").to_pylist() == [1, 2]
    found = [(m.key(), json.loads(m.value() or b""), m.headers()) for m in messages(kafka, topic)]
    assert found == [
        (b"a", {"k": "a", "text": "a"}, [("n", b"1")]),
        (b"d", {"k": "d", "text": "d"}, [("n", b"4")]),
    ]
    await sink.close()


@pytest.mark.usefixtures("each_way")
async def test_a_record_that_is_not_acknowledged_fails_the_flush(kafka: str) -> None:
    """Its position would be decided otherwise, and the record lost."""
    topic = new_topic(kafka)
    sink = await opened(kafka, topic, compression="none")
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry("max.message.bytes", "500", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.incremental_alter_configs([resource])[resource].result(ANSWER_S)
    assert await sink.write(pa.record_batch({"text": ["x" * 5_000]})) is None
    with pytest.raises(Rejected, match="the brokers refuse a record"):
        await sink.flush()
    await sink.close()


async def test_a_pipeline_says_what_it_guarantees_and_keeps_its_decision_in_the_register(
    kafka: str, tmp_path: Path
) -> None:
    """A group that holds nothing of the pipeline's is needed for nothing."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("1\n2\n")
    topic = new_topic(kafka)
    spec = canonical(
        PipelineSpec(
            source=Source("lines", str(tmp_path / "in"), batch_size=1, poll_interval_ms=1),
            sink=replace(
                STEP, connection_string=kafka, options=json.dumps({"topic": topic, **LOOSE})
            ),
        )
    )
    registry = Registry([LINES, SPEC])
    assert plan(registry, spec).guarantee == "at-least-once"
    owner = Owner(registry, spec, tmp_path / "objects")
    await owner.live(Points())
    await owner.live(Points())
    assert [value["line"] for value in values(kafka, topic)] == ["MQ==", "Mg=="]
