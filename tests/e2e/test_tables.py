"""A pipeline that follows a table through an update of its spec."""

from __future__ import annotations

import json
from pathlib import Path

from tests.databases import Database
from tests.e2e.programs import Api, until
from tests.e2e.specs import line, sink
from tests.e2e.test_sink_changes import again, update

SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"


def test_an_update_goes_on_with_the_slot_and_reads_no_row_twice(
    http: Api, folder: Path, database: Database
) -> None:
    """What came between the runs is in the slot alone: to make it anew would lose that."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    options = {"table": "t", "stopAtEnd": True, "lsnColumn": "", "timeColumn": ""}
    source = {"sourceType": "postgres", "connectionString": database.url, "options": options}
    spec = line(source, sink(folder / "out.jsonl"))
    pipeline = http.run(spec)
    database.execute("INSERT INTO t VALUES (2)")
    again(http, pipeline)
    database.execute("INSERT INTO t VALUES (3)")
    spec["source"] = {**source, "batchSize": 7, "options": {**options, "newColumns": "drop"}}
    update(http, pipeline, spec)
    database.execute("INSERT INTO t VALUES (4)")
    again(http, pipeline)
    told = [json.loads(row) for row in (folder / "out.jsonl").read_text().splitlines()]
    assert [(row["op"], row["id"]) for row in told] == [("r", 1), ("c", 2), ("c", 3), ("c", 4)]
    assert database.column(SLOTS) == [1]
    http.client.delete(f"/pipelines/{pipeline}").raise_for_status()
    until(lambda: database.column(SLOTS) == [0], "the slot is gone with the pipeline")
    until(lambda: database.column("SELECT pubname FROM pg_publication") == [], "likewise")
