"""What the pages of source and sink say is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dataflow.connect import Options, Registry
from dataflow.connectors.kafka.sink_spec import SPEC as SINK
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.source_spec import SPEC as SOURCE
from dataflow.connectors.kafka.source_spec import KafkaSourceOptions
from dataflow.core.spec import PipelineSpec, Sink, Source, Transform, canonical
from dataflow.transforms.filter_spec import SPEC as FILTER
from tests.contract.engine.owner import Owner, Points
from tests.integration.connectors.kafka.places import Sent, messages, new_topic, send

README = Path(__file__).parents[4] / "dataflow" / "connectors" / "README.md"


def page(title: str) -> str:
    """Return the text below a title."""
    return README.read_text("utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "options"),
    [("Source `kafka`", KafkaSourceOptions), ("Sink `kafka`", KafkaSinkOptions)],
)
def test_every_option_stands_on_the_page_and_no_other(title: str, options: type[Options]) -> None:
    """An option that nobody can find is none."""
    table = page(title).partition("| option |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    named = [field.alias for name, field in options.model_fields.items() if name != "on_error"]
    assert listed == named


async def test_the_example_runs_as_it_stands(kafka: str, tmp_path: Path) -> None:
    """Somebody copies it first; only brokers and topics are others here."""
    (text,) = re.findall(r"```json\n(.*?)```", page("Source `kafka`"), re.DOTALL)
    shown: dict[str, Any] = json.loads(text)
    read = new_topic(kafka)
    records = [Sent(b'{"id":%d,"amount":%d}' % (i, i * 60), key=b"k%d" % i) for i in range(4)]
    send(kafka, read, records)
    source, (step,), sink = shown["source"], shown["transforms"], shown["sink"]
    source["options"]["topics"] = [read]
    sink["options"]["topic"] = written = f"{read}-large"
    spec = PipelineSpec(
        source=Source(source["sourceType"], kafka, options=json.dumps(source["options"])),
        transforms=(Transform("t", step["transformType"], options=json.dumps(step["options"])),),
        sink=Sink(sink["sinkType"], kafka, options=json.dumps(sink["options"])),
    )
    owner = Owner(Registry([SOURCE, FILTER, SINK]), canonical(spec), tmp_path / "objects")
    await owner.live(Points())
    found = {
        message.key(): json.loads(message.value() or b"") for message in messages(kafka, written)
    }
    assert found == {b"k2": {"id": 2, "amount": 120}, b"k3": {"id": 3, "amount": 180}}
