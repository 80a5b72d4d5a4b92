"""What the page of the source says is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dataflow.connect import Registry
from dataflow.connectors.postgres.sink_spec import SPEC as SINK
from dataflow.connectors.postgres.source.spec import SPEC, PostgresSourceOptions
from dataflow.core.spec import PipelineSpec, Sink, canonical
from dataflow.core.spec import Source as SourceOf
from tests.contract.engine.owner import Owner, Points
from tests.databases import Database

README = Path(__file__).parents[4] / "dataflow" / "connectors" / "README.md"
PAGE = README.read_text("utf-8").partition("## Source `postgres`")[2].partition("\n## ")[0]


def test_every_option_stands_on_the_page_and_no_other() -> None:
    """An option that nobody can find is none."""
    table = PAGE.partition("| option |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert listed == [
        field.alias
        for name, field in PostgresSourceOptions.model_fields.items()
        if name != "on_error"
    ]


async def test_the_example_keeps_a_copy_of_a_table(database: Database, tmp_path: Path) -> None:
    """Somebody copies it first; only servers are others here, and each run ends."""
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown: dict[str, Any] = json.loads(text)
    source, sink = shown["source"], shown["sink"]
    database.execute("CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10, 2), note text)")
    spec = PipelineSpec(
        source=SourceOf(
            source["sourceType"],
            database.url,
            options=json.dumps({**source["options"], "stopAtEnd": True}),
        ),
        sink=Sink(sink["sinkType"], database.url, options=json.dumps(sink["options"])),
    )
    database.execute("INSERT INTO orders SELECT i, i, 'before' FROM generate_series(10, 12) i")
    owner = Owner(Registry([SPEC, SINK]), canonical(spec), tmp_path)
    await owner.live(Points())
    for statement in (
        "INSERT INTO orders VALUES (1, 1.5, 'a'), (2, 2, NULL), (3, 3, 'c')",
        "UPDATE orders SET note = 'b' WHERE id = 2",
        "UPDATE orders SET id = 4 WHERE id = 3",
        "DELETE FROM orders WHERE id = 1",
    ):
        database.execute(statement)
        await owner.live(Points())
        rows = "SELECT id, amount, note FROM {} ORDER BY id"
        assert database.fetch(rows.format("orders_copy")) == database.fetch(rows.format("orders"))
