"""A preview of a table shows rows of it, and leaves nothing on the server."""

from __future__ import annotations

from dataflow.connect import Context, PipelineId, Registry
from dataflow.connect.testkit.places import Clock, context
from dataflow.connectors.console import SPEC as CONSOLE
from dataflow.connectors.postgres.source.spec import SPEC
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine.plan import plan
from dataflow.engine.preview import preview
from tests.databases import Database

LEFT = """
SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()
UNION ALL SELECT pubname::text FROM pg_publication"""


async def test_rows_are_shown_and_no_slot_is_left(database: Database) -> None:
    """A slot that nobody reads holds the log of the whole server, for ever."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    options = '{"table": "t", "stopAtEnd": true}'
    spec = PipelineSpec(
        source=Source("postgres", database.url, options=options), sink=Sink("console")
    )

    def contexts(pipeline: PipelineId, _: str) -> Context:
        return context(pipeline=pipeline)

    (shown,) = await preview(plan(Registry([SPEC, CONSOLE]), canonical(spec)), contexts, Clock(), 1)
    assert [name for name, _ in shown.columns] == ["id", "op", "lsn", "commit_time"]
    assert database.column(LEFT) == []
