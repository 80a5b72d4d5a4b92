"""The ``postgres`` source as people configure it, and as the journal remembers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataflow.connect import (
    Duration,
    Model,
    Options,
    Pinned,
    Position,
    Problem,
    SourceSpec,
    SourceStep,
)
from dataflow.connect.columns import TAKEN, PinnedColumn
from dataflow.connect.transform import HIDDEN
from dataflow.connectors.postgres.sink_spec import (
    NAME_BYTES_MAX,
    table_problems,
    url_problems,
)

RANGES_MAX = 16
"""Each is a session with the server, and a split."""

SlotName = Annotated[str, Field(pattern=r"^[a-z0-9_]*$", max_length=NAME_BYTES_MAX)]


class PostgresSourceOptions(Options):
    """What is read of a database, and how."""

    table: str = Field(
        min_length=1,
        max_length=2 * NAME_BYTES_MAX + 1,
        description="What is read: table, or schema.table; spelt as the database shows it.",
    )
    mode: Literal["changes", "snapshot", "incremental"] = Field(
        default="changes",
        description="changes: the table as it is, then what happens to it, for ever; snapshot: the"
        " table as it is; incremental: rows with a larger cursorColumn than all before, for ever.",
    )
    cursor_column: str = Field(
        default="",
        max_length=NAME_BYTES_MAX,
        description="incremental: a column that only grows, such as a number from a sequence or the"
        " moment of the last change; it needs an index.",
    )
    cursor_lag: Duration = Field(
        default=timedelta(0),
        ge=timedelta(0),
        description="incremental: rows are read only this long after a value of theirs, or a larger"
        " one, was there: longer than any transaction that writes them.",
    )
    cursor_nulls: Literal["fail", "skip"] = Field(
        default="fail",
        description="incremental: when a run begins and some rows have no value in cursorColumn:"
        " fail, or leave them out.",
    )
    snapshot: bool = Field(
        default=True,
        description="changes: read the table as it is first; without, only what happens from the"
        " slot's beginning on.",
    )
    snapshot_ranges: int = Field(
        default=1,
        ge=1,
        le=RANGES_MAX,
        description="In how many parts the table is read, by its first key column; with mode"
        " changes all at once.",
    )
    slot: SlotName = Field(
        default="",
        description="The replication slot; by default a name made of the pipeline's. No two"
        " pipelines may share one.",
    )
    create_slot: bool = Field(
        default=True,
        description="Make the slot when a pipeline begins anew, in place of one of that name;"
        " without, it is there and says where changes begin.",
    )
    publication: str = Field(
        default="",
        max_length=NAME_BYTES_MAX,
        description="The publication; by default of the slot's name, and made if it is not there.",
    )
    operation_column: str = Field(
        default="op",
        description="Column for what happened to a row: r (read from the table), c (insert),"
        " u (update), d (delete), t (truncate of the table); empty for none.",
    )
    lsn_column: str = Field(
        default="lsn",
        description="Column for where in the log the change was committed, an int64, null for a row"
        " read from the table; empty for none.",
    )
    time_column: str = Field(
        default="commit_time",
        description="Column for when it was committed, UTC; likewise.",
    )
    truncates: Literal["row", "skip", "fail"] = Field(
        default="row",
        description="When the table is truncated: a row of nulls with operation t, nothing, or an"
        " error.",
    )
    unchanged: Literal["reject", "null"] = Field(
        default="reject",
        description="A large value that an update left alone is not in the log, unless the table"
        " has REPLICA IDENTITY FULL: reject the record, or give null.",
    )
    new_columns: Literal["fail", "drop"] = Field(
        default="fail",
        description="When the table gets columns that the pipeline did not begin with: fail, or"
        " read on without them.",
    )
    stop_at_end: bool = Field(
        default=False,
        description="End with the last change, or row, that is there when a run begins.",
    )

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return the types of the columns beside the table's, in their order."""
        if self.mode != "changes":
            return {}
        types = {
            self.operation_column: "string",
            self.lsn_column: "int64",
            self.time_column: "timestamptz",
        }
        return {name: of for name, of in types.items() if name}


class Seen(Model):
    """Rows that were read in one snapshot: those of a key range, up to where the next one begins.

    Attributes:
        part: the number of the range of the table.
        ranges: how many there were.
        after: the keys are larger than this one, or what it begins with; empty at the beginning of
            the table.
        snapshot: ``xmin:xmax:xip_list``, which tells the transactions that it showed.
        lsn: those are committed before this position.
    """

    part: int = 0
    ranges: int = 1
    after: tuple[str, ...] = ()
    snapshot: str
    lsn: int


class PostgresPosition(Position):
    """What to read next: of a key range the next key, of the log the next change.

    Attributes:
        after: of a range, the key of the last row that was read; by a cursor, its value, then the
            key.
        seen: the snapshots that its rows were read in; of the log, those of all ranges, until
            nothing of them comes any more.
        done: of a range: there is nothing to read.
        lsn: of the log: where a transaction was committed, or what is behind it.
        index: changes of the table in that transaction that have been read.
    """

    after: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    done: bool = False
    lsn: int = Field(default=0, ge=0)
    index: int = Field(default=0, ge=0)


class PostgresPinned(Pinned):
    """What is fixed for a lineage before its first row.

    Attributes:
        columns: of the table.
        keys: those of them that order its rows and tell them apart.
        bounds: where ranges of the first key end, but the last one.
        resumes: positions were there already, of ranges that may have ended elsewhere.
        begins: where the slot began when the lineage did.
    """

    columns: tuple[PinnedColumn, ...]
    keys: tuple[str, ...]
    bounds: tuple[str, ...] = ()
    resumes: bool = False
    begins: int = 0


def check(step: SourceStep, options: PostgresSourceOptions) -> Sequence[Problem]:
    """Return what is wrong with options that each look right alone."""
    problems = [*url_problems(step.connection_string), *table_problems(options.table)]
    names = [options.operation_column, options.lsn_column, options.time_column]
    given = [name for name in names if name]
    problems += [
        Problem("options", f"two columns are named {name!r}")
        for name in sorted({name for name in given if given.count(name) > 1})
    ]
    if (options.mode == "incremental") != bool(options.cursor_column):
        message = "goes with mode incremental, and only with it"
        problems.append(Problem("options.cursorColumn", message))
    return problems + [Problem("options", f"{n!r}: {TAKEN}") for n in given if n in HIDDEN]


SPEC = SourceSpec(
    name="postgres",
    summary="A table as it is, and its changes as the database's log tells them.",
    options=PostgresSourceOptions,
    open="dataflow.connectors.postgres.source.source:open_source",
    clean="dataflow.connectors.postgres.source.cleaning:clean",
    position=PostgresPosition,
    pinned=PostgresPinned,
    check=check,
)
