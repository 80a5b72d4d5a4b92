"""Upserts: rows are staged in a temporary table, then merged by key; the last of a key wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.connectors.postgres.names import listed, quoted
from dataflow.connectors.postgres.statements import load
from dataflow.connectors.postgres.tables import Table

SQL = load("tables.sql")

STAGE = "dataflow_stage"
ROW, DELETED = "dataflow_row", "dataflow_deleted"
"""Columns of the stage: where in the batch a row was, and whether it deletes."""


class Merge:
    """The statements that merge rows of some columns into a table.

    Attributes:
        keys, deletes: what it was made with.
        targets: the types of the stage's columns.
        prepare: makes the stage, empty.
        merge: moves the stage's rows to where they belong.
    """

    def __init__(
        self, table: Table, keys: Sequence[str], names: Sequence[str], *, deletes: bool
    ) -> None:
        """``deletes`` tells whether any row may: to look for them takes a sort."""
        self.keys, self.deletes = keys, deletes
        self.targets: Mapping[str, str] = {
            **table.targets(names),
            ROW: "bigint",
            DELETED: "boolean",
        }
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in self.targets.items())
        self.prepare = SQL["stage"].format(columns=columns)
        places = {
            "table": quoted(table.name),
            "keys": listed(keys),
            "names": listed(names),
            "same": " AND ".join(f"t.{quoted(key)} = s.{quoted(key)}" for key in keys),
            "update": update_of([name for name in names if name not in keys]),
        }
        steps = ["delete", "upsert", "clear"] if deletes else ["upsert", "clear"]
        self.merge = ";".join(SQL[step].format(**places) for step in steps)


def update_of(names: Sequence[str]) -> str:
    """Return what happens to these columns of a row that is there."""
    sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names)
    return f"UPDATE SET {sets}" if sets else "NOTHING"
