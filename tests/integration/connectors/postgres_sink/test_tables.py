"""Tables made and changed on request, and refused otherwise."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Rejected, Run, Stamp
from dataflow.connect.testkit import task
from dataflow.connectors.postgres.sink_spec import SPEC, PostgresSinkOptions
from dataflow.core.spec import DEFAULTS
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import SEED, Rig, rows_of

TYPES = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'rows'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


async def test_a_table_is_made_with_its_keys_and_whatever_its_names(database: Database) -> None:
    """A name is a name: quotes, spaces and capitals in it are its own."""
    database.execute('CREATE SCHEMA "My ""S"')
    options = {"table": 'My "S.T a', "create": True, "keys": ["Id"]}
    batch = pa.record_batch({"Id": pa.array([1]), 'a"b; DROP': pa.array(["x"])})
    await Rig(database.url, options).write(batch)
    assert database.fetch('SELECT "Id", "a""b; DROP" FROM "My ""S"."T a"') == [(1, "x")]
    with pytest.raises(Exception, match="duplicate key"):
        database.execute('INSERT INTO "My ""S"."T a" VALUES (1)')


async def test_a_table_is_made_from_columns_alone(database: Database) -> None:
    """A run's first batch may have no rows: it tells the columns."""
    await Rig(database.url, {"create": True}).write(rows_of(a=pa.array([], pa.int64())))
    assert database.fetch(TYPES) == [("a", "bigint")]


async def test_a_table_that_is_there_is_not_made(database: Database) -> None:
    """With create one may begin on either."""
    database.execute("CREATE TABLE rows (a text)")
    await Rig(database.url, {"create": True}).write(rows_of(a=[1]))
    assert database.column("SELECT a FROM rows") == ["1"]


async def test_a_table_is_made_by_one_of_several_tasks(database: Database) -> None:
    """Each finds none with its first rows; the second waits until the first has committed."""
    rig = Rig(database.url, {"create": True})
    sinks = [rig.sink(), rig.sink()]
    for lane, sink in enumerate(sinks):
        await sink.recover(replace(task(1, rig.pipeline), index=lane), SEED)
    await sinks[0].write(rows_of(a=[1]))
    waiting = asyncio.create_task(sinks[1].write(rows_of(a=[2])))
    await asyncio.wait({waiting}, timeout=0.3)
    assert not waiting.done()
    decided = replace(SEED, stamp=Stamp(Run(1), 1))
    await sinks[0].commit(decided)
    assert await waiting is None
    await sinks[1].commit(decided)
    await rig.close()
    assert database.column("SELECT a FROM rows ORDER BY a") == [1, 2]


def test_several_tasks_change_no_table() -> None:
    """Who changes one waits for all who have a transaction open, and they for each other."""
    options = PostgresSinkOptions(table="rows", evolve=True)
    several = replace(DEFAULTS, parallelism=2)
    assert [p.field for p in SPEC.beside(options, several)] == ["options.evolve"]
    assert not SPEC.beside(options, DEFAULTS)
    assert not SPEC.beside(PostgresSinkOptions(table="rows"), several)


async def test_nothing_is_made_by_a_run_that_decides_nothing(database: Database) -> None:
    """The table comes with the checkpoint that has its first rows."""
    rig = Rig(database.url, {"create": True})
    sink = await rig.open()
    await sink.write(rows_of(a=[1]))
    await sink.close()
    assert database.column("SELECT to_regclass('rows') IS NULL") == [True]


async def test_missing_columns_are_added_and_narrow_ones_widened(database: Database) -> None:
    """A source that grows is followed without a person, and without losing a row."""
    database.execute(
        "CREATE TABLE rows (a smallint, b integer, c real, d varchar(3), e numeric(4,2),"
        " f bigint, g text, h numeric)"
    )
    columns: dict[str, Any] = {
        "a": [2**40],
        "b": pa.array([7], pa.decimal128(20, 5)),
        "c": [0.1],
        "d": ["longer"],
        "e": pa.array(["12345.678"]).cast(pa.decimal128(8, 3)),
        "f": pa.array([1], pa.int8()),
        "g": [5],
        "h": pa.array([1], pa.decimal128(5, 2)),
        "new": [[1]],
    }
    await Rig(database.url, {"evolve": True}).write(rows_of(**columns))
    assert database.fetch(TYPES) == [
        ("a", "bigint"),
        ("b", "numeric(20,5)"),
        ("c", "double precision"),
        ("d", "text"),
        ("e", "numeric(8,3)"),
        ("f", "bigint"),
        ("g", "text"),
        ("h", "numeric"),
        ("new", "bigint[]"),
    ]
    assert database.fetch("SELECT a, c, d, e::text FROM rows") == [
        (2**40, 0.1, "longer", "12345.678")
    ]


async def test_columns_may_change_from_batch_to_batch(database: Database) -> None:
    """Of a source without a schema each batch has the columns it has."""
    options = {"create": True, "evolve": True, "mode": "upsert", "keys": ["a"]}
    await Rig(database.url, options).write(
        rows_of(a=[1]), rows_of(a=[2], b=["x"]), rows_of(b=["y"], a=[1]), rows_of(a=[3])
    )
    assert database.fetch("SELECT a, b FROM rows ORDER BY a") == [(1, "y"), (2, "x"), (3, None)]


async def test_a_column_that_the_table_lacks_is_named_with_the_remedies(database: Database) -> None:
    """Dropped in silence it would be lost data."""
    database.execute("CREATE TABLE rows (a integer)")
    with pytest.raises(Rejected, match=r"no column 'b', only a; add it, set evolve") as refused:
        await Rig(database.url, {}).write(rows_of(a=[1], b=[2]))
    assert refused.value.field == "options.table"


async def test_a_type_that_there_is_none_for_is_named(database: Database) -> None:
    """And not made something that it is not."""
    months = pa.array([None], pa.month_day_nano_interval())
    with pytest.raises(Rejected, match=r"column 'm' is month_day_nano_interval.* cast it"):
        await Rig(database.url, {"create": True}).write(rows_of(m=months))


async def test_columns_the_rows_lack_take_their_defaults(database: Database) -> None:
    """Serial numbers and times of insertion are the table's own business."""
    database.execute("CREATE TABLE rows (n serial, a integer, b text DEFAULT 'b')")
    await Rig(database.url, {}).write(rows_of(a=[5]))
    assert database.fetch("SELECT * FROM rows") == [(1, 5, "b")]
