"""DuckDB as a second opinion: what SQL says that rows should become, and whether they did."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import duckdb
import pyarrow as pa

from dataflow.connect.transform import MAIN, ORDINAL, Output

SHOWN = 5
"""Rows that a failure shows of each kind."""


def asked(sql: str, **tables: pa.Table | pa.RecordBatch) -> pa.Table:
    """Return what DuckDB answers, over tables by their names."""
    with _database().cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, _table(table))
        answer: pa.Table = connection.sql(sql).to_arrow_table()
        return answer


def assert_same_rows(found: pa.Table, expected: pa.Table) -> None:
    """Compare rows in any order, each as often as it is there; NULL is NULL and NaN is NaN.

    Numbers compare by value, whatever their width.
    """
    assert found.schema.names == expected.schema.names
    differ = "SELECT * FROM {} EXCEPT ALL SELECT * FROM {}"
    missing = asked(differ.format("expected", "found"), expected=expected, found=found)
    surplus = asked(differ.format("found", "expected"), expected=expected, found=found)
    shown = {
        "missing": missing.slice(0, SHOWN).to_pylist(),
        "surplus": surplus.slice(0, SHOWN).to_pylist(),
    }
    assert (missing.num_rows, surplus.num_rows) == (0, 0), shown


def rows_of(outputs: Iterable[Output], name: str = MAIN) -> pa.Table:
    """Return all rows of one output, as users see them."""
    batches = [output.batches[name] for output in outputs if name in output.batches]
    table = pa.Table.from_batches(batches)
    return table.drop_columns([ORDINAL]) if ORDINAL in table.schema.names else table


def in_batches(table: pa.Table, rows: int) -> list[pa.RecordBatch]:
    """Return a table as a pipeline sees it: in batches, with ordinals."""
    ordinals = pa.array(range(table.num_rows), pa.int64())
    numbered = table.append_column(ORDINAL, ordinals).combine_chunks()
    return numbered.to_batches(max_chunksize=rows)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return what every question shares: to make it takes longer than most answers."""
    return duckdb.connect()


def _table(given: pa.Table | pa.RecordBatch) -> pa.Table:
    return given if isinstance(given, pa.Table) else pa.Table.from_batches([given])
