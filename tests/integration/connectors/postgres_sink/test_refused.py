"""Rows that a table cannot hold are left out, each with why; all others are written."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connectors.postgres.names import quoted
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of

CASES: dict[str, tuple[str, pa.Array[Any], dict[int, str]]] = {
    "a NUL": (
        "v text",
        pa.array(["a", "b\0c", "", "\0"]),
        {1: "PostgreSQL's text cannot hold a NUL", 3: "cannot hold a NUL"},
    ),
    "a NUL in JSON": (
        "v jsonb",
        pa.array([{"a": "x"}, {"a": "\0"}, None]),
        {1: "unsupported Unicode escape"},
    ),
    "out of range": (
        "v smallint",
        pa.array([1, 40_000, -40_000, 32_767]),
        {1: "column 'v': value \"40000\" is out of range", 2: "out of range"},
    ),
    "no number": ("v integer", pa.array(["1", "x", "3"]), {1: 'type integer: "x"'}),
    "half a number": ("v integer", pa.array([1.0, 1.5, None]), {1: 'type integer: "1.5"'}),
    "too many digits": ("v numeric(3,1)", pa.array([99.9, 100.0]), {1: "numeric field overflow"}),
    "too long": ("v varchar(2)", pa.array(["ab", "abc"]), {1: "too long"}),
    "too long for its padding": ("v char(2)", pa.array(["ab", "abc", "a"]), {1: "too long"}),
    "too many bits": ("v bit(2)", pa.array(["01", "011", "1"]), {1: "bit", 2: "bit"}),
    "no list": ("v integer[]", pa.array(["{1,2}", "{1,x}"]), {1: '"x"'}),
    "no date": ("v date", pa.array([date(1, 1, 1), -719_529], pa.date32()), {1: "date"}),
    "no value": ("v text NOT NULL", pa.array(["a", None]), {1: "null value in column"}),
    "a check": (
        "v integer CHECK (v > 0)",
        pa.array([1, 0, 2, -1]),
        {1: "violates check constraint", 3: "violates check constraint"},
    ),
    "a duplicate": (
        "v integer UNIQUE",
        pa.array([1, 2, 1, 3, 9]),
        {2: "Key (v)=(1) already exists", 4: "already exists"},
    ),
    "no parent": ("v integer REFERENCES parents (id)", pa.array([9, 8]), {1: "is not present"}),
    "none but bad ones": ("v integer", pa.array(["x", "y"]), {0: '"x"', 1: '"y"'}),
}


@pytest.mark.parametrize("mode", ["insert", "upsert"])
@pytest.mark.parametrize("name", CASES)
async def test_a_row_the_table_cannot_hold_is_told_and_the_others_are_written(
    name: str, mode: str, database: Database
) -> None:
    """One bad record in a million must not cost the million, nor stop the pipeline."""
    column, values, why = CASES[name]
    database.execute(
        "CREATE TABLE parents (id integer PRIMARY KEY); INSERT INTO parents VALUES (9)"
    )
    database.execute(f"CREATE TABLE rows (n bigint PRIMARY KEY, {column})")
    if name == "a duplicate":
        database.execute("INSERT INTO rows VALUES (-1, 9)")
    options = {"mode": "upsert", "keys": ["n"]} if mode == "upsert" else {}
    batch = rows_of(n=[*range(len(values))], v=values)
    refused = await Rig(database.url, options).write(batch)
    assert refused.keys() == why.keys()
    for row, error in refused.items():
        assert why[row] in error
    written = database.column("SELECT n FROM rows WHERE n >= 0 ORDER BY n")
    assert written == [n for n in range(len(values)) if n not in why]


async def test_bad_rows_all_over_a_large_batch_are_found(database: Database) -> None:
    """The rows between them are many, and each is written once."""
    database.execute("CREATE TABLE rows (n integer CHECK (n % 1000 <> 7))")
    refused = await Rig(database.url, {}).write(rows_of(n=[*range(20_000)]))
    assert sorted(refused) == [*range(7, 20_000, 1_000)]
    (row,) = database.fetch("SELECT count(*), count(DISTINCT n) FROM rows")
    assert row == (19_980, 19_980)


async def test_names_of_columns_mean_themselves_also_where_rows_are_doubted(
    database: Database,
) -> None:
    """They are written into a function's body, between quotes of several kinds."""
    names = ["a'b", 'c"d', "{e}", "$$", "dataflow_at", "%s \\"]
    columns = ", ".join(f"""{quoted(name)} integer""" for name in names)
    database.execute(f"CREATE TABLE rows ({columns}, PRIMARY KEY ({quoted(names[0])}))")
    batch = pa.record_batch({name: pa.array(["1", "x", "3"]) for name in names})
    good = batch.set_column(0, names[0], pa.array([1, 2, 3]))
    refused = await Rig(database.url, {}).write(batch)
    assert 'column "a\'b": invalid input' in refused[1]
    refused = await Rig(database.url, {"mode": "upsert", "keys": [names[0]]}).write(good)
    assert "column 'c\"d': invalid input" in refused[1]
    assert database.fetch("SELECT * FROM rows ORDER BY 1") == [(1,) * 6, (3,) * 6]


async def test_deletions_among_bad_rows_delete(database: Database) -> None:
    """In the order of the rows."""
    database.execute(
        "CREATE TABLE rows (id int PRIMARY KEY, v int); INSERT INTO rows VALUES (1, 1)"
    )
    options = {"mode": "upsert", "keys": ["id"], "deleteColumn": "op"}
    changes = {"id": [1, 2, 3, 2, 3], "v": [None, "2", "x", None, "3"], "op": [*"dccdc"]}
    batch = rows_of(**changes)
    refused = await Rig(database.url, options).write(batch)
    assert list(refused) == [2]
    assert database.fetch("SELECT id, v FROM rows") == [(3, 3)]


async def test_a_checkpoint_of_bad_rows_alone_leaves_the_next_one_alone(
    database: Database,
) -> None:
    """What was staged in doubt goes with its batch."""
    database.execute("CREATE TABLE rows (n integer)")
    rig = Rig(database.url, {})
    sink = await rig.open()
    for values in (["x", "1"], ["y", "2"], ["z", "3"]):
        assert await sink.write(rows_of(n=values)) is not None
        await rig.commit(sink)
    await sink.close()
    assert database.column("SELECT n FROM rows ORDER BY n") == [1, 2, 3]


async def test_texts_of_many_lines_are_no_obstacle_to_finding_the_bad_row(
    database: Database,
) -> None:
    """The server counts lines, and a row may have many."""
    database.execute("CREATE TABLE rows (n integer, v text)")
    numbers = ["1", "x", "3", "y"]
    refused = await Rig(database.url, {}).write(rows_of(n=numbers, v=["a\n\nb", "c\r\n", "\n", ""]))
    assert sorted(refused) == [1, 3]
    assert database.fetch("SELECT n, v FROM rows ORDER BY n") == [(1, "a\n\nb"), (3, "\n")]


async def test_refused_rows_leave_later_batches_of_the_checkpoint_alone(
    database: Database,
) -> None:
    """A failed statement ends a transaction, unless a savepoint stands before it."""
    database.execute("CREATE TABLE rows (n integer)")
    refused = await Rig(database.url, {}).write(rows_of(n=["1", "x"]), rows_of(n=["2"]))
    assert refused == {}
    assert database.column("SELECT n FROM rows ORDER BY n") == [1, 2]
