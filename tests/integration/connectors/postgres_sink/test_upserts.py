"""Rows by key: replaced, deleted, and the last word of a checkpoint is the last word."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Rejected
from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of

UPSERT: dict[str, Any] = {"mode": "upsert", "keys": ["id"]}
CHANGES: dict[str, Any] = {**UPSERT, "deleteColumn": "op"}
ALL = "SELECT id, v FROM rows ORDER BY id"


@pytest.fixture
def table(database: Database) -> Database:
    """Return a database with a table of two rows."""
    database.execute(
        "CREATE TABLE rows (id integer PRIMARY KEY, v text, kept text DEFAULT 'kept');"
        "INSERT INTO rows VALUES (1, 'old', 'here'), (2, 'old', 'here')"
    )
    return database


async def test_a_row_of_a_known_key_is_replaced_and_others_are_added(table: Database) -> None:
    """Columns that the rows do not have stay as they are."""
    await Rig(table.url, UPSERT).write(rows_of(id=[2, 3], v=["new", None]))
    assert table.fetch("SELECT * FROM rows ORDER BY id") == [
        (1, "old", "here"),
        (2, "new", "here"),
        (3, None, "kept"),
    ]


async def test_the_last_of_several_rows_of_a_key_wins_in_and_across_batches(
    table: Database,
) -> None:
    """Otherwise the server refuses the second of a statement, or the first would win."""
    first, second = rows_of(id=[1, 1, 5], v=["a", "b", "c"]), rows_of(id=[5, 1], v=["d", "e"])
    await Rig(table.url, UPSERT).write(first, second)
    assert table.fetch(ALL) == [(1, "e"), (2, "old"), (5, "d")]


@pytest.mark.parametrize(
    "marks",
    [pa.array([True, None, False]), pa.array(["d", "u", None]), pa.array(["delete", "", "c"])],
)
async def test_a_marked_row_deletes_its_key(marks: pa.Array[Any], table: Database) -> None:
    """Change data capture tells of deletions; the mark itself is no column of the table."""
    batch = rows_of(id=[1, 2, 3], v=[None, "x", "y"], op=marks)
    assert await Rig(table.url, CHANGES).write(batch) == {}
    assert table.fetch(ALL) == [(2, "x"), (3, "y")]


async def test_a_truncate_deletes_what_was_before_it_where_that_is_asked_for(
    table: Database,
) -> None:
    """A copy of a table follows it; rows behind the truncate stay."""
    batch = rows_of(
        id=[3, None, 4, None, 5, None], v=[*"abcdef"], op=["c", "t", "c", "t", "c", "c"]
    )
    asked = await Rig(table.url, {**CHANGES, "truncates": "apply"}).write(batch)
    assert table.fetch(ALL) == [(5, "e")]
    assert asked == {5: "column 'id': a key cannot be null"}


async def test_a_truncate_that_is_not_asked_for_is_refused_with_the_choice(table: Database) -> None:
    """A letter that means something else must not empty a table."""
    batch = rows_of(id=[3, None], v=["a", None], op=["c", "t"])
    refused = await Rig(table.url, CHANGES).write(batch)
    assert "set truncates of the sink to apply, or of the source to skip" in refused[1]
    assert table.fetch(ALL) == [(1, "old"), (2, "old"), (3, "a")]


async def test_a_truncate_that_others_forbid_is_refused_alone(table: Database) -> None:
    """Rows of other tables refer to these."""
    table.execute("CREATE TABLE others (id int REFERENCES rows); INSERT INTO others VALUES (1)")
    batch = rows_of(id=[3, None, 4], v=["a", None, "b"], op=["c", "t", "c"])
    refused = await Rig(table.url, {**CHANGES, "truncates": "apply"}).write(batch)
    assert [*refused] == [1]
    assert "foreign key" in refused[1]
    assert [key for key, _ in table.fetch(ALL)] == [1, 2, 3, 4]


async def test_a_deletion_that_comes_encoded_deletes_too(table: Database) -> None:
    """Sources of few values may send dictionaries."""
    marks = pa.array(["d", "u"]).dictionary_encode()
    await Rig(table.url, CHANGES).write(rows_of(id=[1, 2], v=["", "x"], op=marks))
    assert table.fetch(ALL) == [(2, "x")]


async def test_deleting_and_writing_one_key_in_turn_ends_as_the_last_says(table: Database) -> None:
    """A key may come and go many times within a checkpoint."""
    ids = [1, 1, 2, 2, 3, 3, 4]
    ops = ["d", "c", "u", "d", "c", "d", "d"]
    await Rig(table.url, CHANGES).write(
        rows_of(id=ids, v=[str(n) for n in range(7)], op=ops),
        rows_of(id=[3], v=["back"], op=["c"]),
    )
    assert table.fetch(ALL) == [(1, "1"), (3, "back")]


async def test_a_deleted_row_gives_its_unique_values_to_another(database: Database) -> None:
    """Both may be in one batch: the deletion comes first."""
    database.execute("CREATE TABLE rows (id int PRIMARY KEY, v text UNIQUE);")
    database.execute("INSERT INTO rows VALUES (1, 'name')")
    batch = rows_of(id=[1, 2], v=[None, "name"], op=["d", "c"])
    assert await Rig(database.url, CHANGES).write(batch) == {}
    assert database.fetch(ALL) == [(2, "name")]


async def test_keys_of_several_columns_alone_are_enough(database: Database) -> None:
    """A table of pairs has nothing to update."""
    options = {"mode": "upsert", "keys": ["a", "B c"], "create": True}
    batch = pa.record_batch({"a": pa.array([1, 1, 1]), "B c": pa.array(["x", "y", "x"])})
    await Rig(database.url, options).write(batch, batch)
    assert database.fetch('SELECT a, "B c" FROM rows ORDER BY 2') == [(1, "x"), (1, "y")]


async def test_a_row_without_a_key_is_refused(table: Database) -> None:
    """Null is equal to nothing: such a row would be added again each time."""
    refused = await Rig(table.url, UPSERT).write(rows_of(id=[None, 7, None], v=["a", "b", "c"]))
    assert refused == dict.fromkeys([0, 2], "column 'id': a key cannot be null")
    assert table.fetch(ALL) == [(1, "old"), (2, "old"), (7, "b")]


async def test_of_a_key_whose_last_row_is_bad_the_last_good_one_is_kept(table: Database) -> None:
    """What is refused has not happened."""
    table.execute("ALTER TABLE rows ADD CHECK (v <> 'bad')")
    refused = await Rig(table.url, UPSERT).write(rows_of(id=[1, 1, 1], v=["a", "b", "bad"]))
    assert list(refused) == [2]
    assert table.fetch(ALL) == [(1, "b"), (2, "old")]


@pytest.mark.parametrize(
    ("options", "columns", "told"),
    [
        ({**UPSERT, "keys": ["nix"]}, {"id": [1]}, r"^options.keys: .*no column 'nix', only id"),
        (CHANGES, {"id": [1]}, r"^options.deleteColumn: .*no column 'op'"),
        (
            CHANGES,
            {"id": [1], "op": [1]},
            r"^options.deleteColumn: .*is int64; use bool, or string",
        ),
        ({**UPSERT, "keys": ["v"]}, {"v": ["x"]}, r"^options.keys: .*create a unique constraint"),
    ],
)
async def test_keys_that_cannot_be_are_named(
    options: dict[str, Any], columns: dict[str, Any], told: str, table: Database
) -> None:
    """Nothing could be written with them, ever."""
    with pytest.raises(Rejected, match=told):
        await Rig(table.url, options).write(rows_of(**columns))
