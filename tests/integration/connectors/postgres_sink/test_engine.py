"""A pipeline from a file to a table through the engine, broken at every point it passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataflow.connect import OnError, Registry
from dataflow.connectors.file.source_spec import SPEC as FILE
from dataflow.connectors.postgres.sink_spec import SPEC as POSTGRES
from dataflow.core.checkpoint import Ledger
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Transform, canonical
from dataflow.core.spec import Source as SourceOf
from dataflow.transforms.filter_spec import SPEC as FILTER
from tests.contract.engine.owner import Broken, Owner, Points
from tests.contract.engine.test_sinks import survives
from tests.databases import Database

pytestmark = pytest.mark.slow

ROWS = 40
BAD = [7, 22, 23]
"""Rows that the table's check refuses."""

KEPT = [i for i in range(ROWS) if i % 4]
WRITTEN = [i for i in KEPT if i not in BAD]
LEDGER = Ledger(
    records_read=ROWS,
    records_written=len(WRITTEN),
    records_filtered=ROWS - len(KEPT),
    records_dead_lettered=len(BAD),
)
POINTS = {
    *(f"postgres.{name}" for name in ("claimed", "recovered", "written", "decided", "committed")),
    *(f"task.{name}" for name in ("opened", "written", "staged", "published", "committed")),
    *(f"owner.{name}" for name in ("claimed", "prepared", "decided", "committed")),
}
MODES: Mapping[str, dict[str, Any]] = {
    "insert": {},
    "upsert": {"mode": "upsert", "keys": ["id"]},
}


def owner_of(
    database: Database,
    root: Path,
    schema: str,
    mode: str,
    *,
    on_error: OnError = OnError.DEAD_LETTER,
) -> Owner:
    """Return the owner of csv -> filter -> a table in a schema of its own."""
    database.execute(
        f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.rows"
        f" (id bigint CHECK (id NOT IN ({', '.join(map(str, BAD))})), name text);"
    )
    if mode == "upsert":
        database.execute(f"ALTER TABLE {schema}.rows ADD PRIMARY KEY (id)")
    root.mkdir()
    lines = [f"{i},name of {i}" for i in range(ROWS)]
    (root / "in.csv").write_text("\n".join(["id,name", *lines, ""]))
    options = json.dumps({"table": f"{schema}.rows", **MODES[mode]})
    spec = PipelineSpec(
        source=SourceOf("file", str(root / "in.csv"), batch_size=4),
        transforms=(Transform("some", "filter", options='{"expression": "id % 4 <> 0"}'),),
        sink=Sink("postgres", database.url, options=options),
        options=PipelineOptions(
            checkpoint_rows=12, on_error=on_error, batch_timeout=timedelta(seconds=20)
        ),
    )
    return Owner(Registry([FILE, FILTER, POSTGRES]), canonical(spec), root / "objects")


async def check(owner: Owner, database: Database, schema: str) -> None:
    """Assert that every record is a row, filtered, or a letter, once."""
    assert database.column(f"SELECT id FROM {schema}.rows ORDER BY id") == WRITTEN  # noqa: S608 - this test's own
    assert owner.stored is not None
    assert owner.stored.ledgers["sink"] == LEDGER
    letters = await owner.dead_letters()
    assert sorted(letter.ordinal for letter in letters) == BAD
    assert all("violates check constraint" in letter.error for letter in letters)
    assert json.loads(letters[0].record)["name"] == f"name of {letters[0].ordinal}"


@pytest.mark.parametrize("mode", MODES)
async def test_broken_at_every_point_every_record_is_accounted_for_once(
    mode: str, database: Database, tmp_path: Path
) -> None:
    """Each point stands between two effects; at each the next run has to find out what holds."""
    passed, at = set[str](), 0
    while True:
        schema = f"at_{at}"
        owner, points = owner_of(database, tmp_path / schema, schema, mode), Points(at)
        ended = await survives(owner, points)
        if not ended:
            await owner.live(Points())
        await check(owner, database, schema)
        if ended:
            break
        passed.add(points.reached)
        at += 1
    assert passed >= POINTS


async def test_a_finished_pipeline_that_starts_again_writes_nothing(
    database: Database, tmp_path: Path
) -> None:
    """What it has read is in the decision, and that is in the table's database."""
    owner = owner_of(database, tmp_path / "again", "again", "insert")
    for _ in range(3):
        await owner.live(Points())
        await check(owner, database, "again")


async def test_a_register_that_lost_everything_goes_on_from_the_database(
    database: Database, tmp_path: Path
) -> None:
    """The sink's own decision wins: it was made with the rows."""
    owner = owner_of(database, tmp_path / "lost", "lost", "insert")
    await owner.live(Points())
    owner.stored = None
    await owner.live(Points())
    assert database.column("SELECT id FROM lost.rows ORDER BY id") == WRITTEN


async def test_a_bad_row_fails_the_pipeline_where_that_is_asked_for(
    database: Database, tmp_path: Path
) -> None:
    """The error names the record and what the server says of it; nothing of it is seen."""
    owner = owner_of(database, tmp_path / "fails", "fails", "insert", on_error=OnError.FAIL)
    with pytest.raises(Broken, match=r"record 7 of .*violates check constraint.*set onError"):
        await owner.live(Points())
    assert 5 not in database.column("SELECT id FROM fails.rows")
