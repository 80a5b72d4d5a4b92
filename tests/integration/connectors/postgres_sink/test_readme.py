"""What the page of the sink says is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dataflow.connect import OnError, Registry
from dataflow.connectors.file.source_spec import SPEC as FILE
from dataflow.connectors.postgres.sink_spec import SPEC as POSTGRES
from dataflow.connectors.postgres.sink_spec import PostgresSinkOptions
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, canonical
from dataflow.core.spec import Source as SourceOf
from tests.contract.engine.owner import Owner, Points
from tests.databases import Database

README = Path(__file__).parents[4] / "dataflow" / "connectors" / "README.md"
PAGE = README.read_text("utf-8").partition("## Sink `postgres`")[2].partition("\n## ")[0]


def example() -> dict[str, Any]:
    """Return the pipeline that the page shows."""
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown: dict[str, Any] = json.loads(text)
    return shown


def test_every_option_stands_on_the_page_and_no_other() -> None:
    """An option that nobody can find is none."""
    table = PAGE.partition("| option |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert listed == [
        field.alias
        for name, field in PostgresSinkOptions.model_fields.items()
        if name != "on_error"
    ]


async def test_the_example_runs_as_it_stands(database: Database, tmp_path: Path) -> None:
    """Somebody copies it first; only server and path are others here."""
    shown = example()
    path = tmp_path / "orders.csv"
    path.write_text("id,amount,op\n1,10,c\n2,20,c\nx,30,c\n1,11,u\n2,,d\n")
    step = shown["sink"]
    url = step["connectionString"].replace(
        "db.example.com:5432/shop", f"{database.address}/{database.name}"
    )
    spec = PipelineSpec(
        source=SourceOf(
            shown["source"]["sourceType"], str(path), options='{"schema": {"id": "int64"}}'
        ),
        sink=Sink(
            step["sinkType"], url.replace("loader", "postgres"), options=json.dumps(step["options"])
        ),
        options=PipelineOptions(on_error=OnError(shown["options"]["onError"])),
    )
    owner = Owner(Registry([FILE, POSTGRES]), canonical(spec), tmp_path / "objects")
    await owner.live(Points())
    assert database.fetch("SELECT id, amount FROM orders") == [(1, 11)]
    assert len(await owner.dead_letters()) == 1
