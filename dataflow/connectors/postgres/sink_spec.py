"""The ``postgres`` sink as people configure it. Imports no driver and no Arrow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import Field

from dataflow.connect import (
    Guarantee,
    Options,
    PipelineOptions,
    Problem,
    Rejected,
    SinkSpec,
    SinkStep,
)
from dataflow.connect.spec import parse

NAME_BYTES_MAX = 63
"""Of an identifier (NAMEDATALEN - 1): the server cuts longer ones, and would mean another."""

KEYS_MAX = 32
"""Columns of an index at most (INDEX_MAX_KEYS)."""

SCHEMES = ("postgresql", "postgres")
PORT = 5432
REFERENCE = "${"

Name = Annotated[str, Field(min_length=1, max_length=NAME_BYTES_MAX)]


class PostgresSinkOptions(Options):
    """How rows are written to a table."""

    table: str = Field(
        min_length=1,
        max_length=2 * NAME_BYTES_MAX + 1,
        description="Where rows go: table, or schema.table; spelt as the database shows it.",
    )
    mode: Literal["insert", "upsert"] = Field(
        default="insert",
        description="insert adds every row; upsert replaces the row of the same keys, and the last"
        " of several wins.",
    )
    keys: tuple[Name, ...] = Field(
        default=(),
        max_length=KEYS_MAX,
        description="The columns that tell rows apart. upsert needs a unique constraint over"
        " exactly these; a table that is created gets them as its primary key.",
    )
    delete_column: Name | None = Field(
        default=None,
        description="upsert: a column that is not written: rows in which it is true, 'd' or"
        " 'delete' delete the row of their keys.",
    )
    truncates: Literal["refuse", "apply"] = Field(
        default="refuse",
        description="deleteColumn: rows in which it is 't' or 'truncate', as they come of a table"
        " that was truncated: refuse them, or apply them, which deletes every row of the table.",
    )
    create: bool = Field(
        default=False, description="Create the table from the first rows if it is not there."
    )
    evolve: bool = Field(
        default=False,
        description="Add columns that the table lacks, and widen those too narrow for the rows'"
        " types.",
    )
    decisions_schema: Name | None = Field(
        default=None,
        description="Where the table dataflow_decisions is, which says how far each pipeline has"
        " got; by default the schema of the table.",
    )


class TableName(NamedTuple):
    """A table as options name it; without a schema it is found as the server finds it."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


def table_name(text: str) -> TableName:
    """Return schema and table of ``schema.table`` or ``table``."""
    schema, _, name = text.rpartition(".")
    return TableName(schema, name)


def _check(step: SinkStep, options: PostgresSinkOptions) -> Sequence[Problem]:
    urls = url_problems(step.connection_string)
    return [*urls, *_key_problems(options), *table_problems(options.table)]


def table_problems(table: str) -> list[Problem]:
    """Return what is wrong with the name of a table."""
    problems = []
    parts = table.split(".")
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - a schema and a table
        problems.append(Problem("options.table", "write table or schema.table"))
    for part in parts:
        if len(part.encode()) > NAME_BYTES_MAX:
            message = f"a name has at most {NAME_BYTES_MAX} bytes"
            problems.append(Problem("options.table", message))
    return problems


def url_problems(text: str) -> list[Problem]:
    """Return what is wrong with a connection string, as far as it stands there."""
    field, form = "connectionString", "postgresql://user:password@host:port/database"
    if not text:
        return [Problem(field, f"missing; write {form}")]
    if text.startswith(REFERENCE):
        return []  # What it stands for is known where the pipeline runs.
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES or not rest:
        return [Problem(field, f"write {form}")]
    authority, _, database = rest.partition("?")[0].partition("/")
    if not authority.rpartition("@")[2]:
        return [Problem(field, f"names no host; write {form}")]
    if not database:
        return [Problem(field, f"names no database; write {form}")]
    return []


def _key_problems(options: PostgresSinkOptions) -> list[Problem]:
    problems = []
    if options.mode == "upsert" and not options.keys:
        problems.append(Problem("options.keys", "missing; upsert needs the columns of a key"))
    if options.mode == "insert" and options.keys and not options.create:
        message = "only for mode upsert, or with create"
        problems.append(Problem("options.keys", message))
    if len(set(options.keys)) < len(options.keys):
        problems.append(Problem("options.keys", "a column is named twice"))
    if options.delete_column and options.mode != "upsert":
        problems.append(Problem("options.deleteColumn", "only for mode upsert"))
    if options.truncates == "apply" and not options.delete_column:
        problems.append(Problem("options.truncates", "needs deleteColumn, which tells of them"))
    if options.delete_column in options.keys:
        problems.append(Problem("options.deleteColumn", "is one of the keys"))
    return problems


def _beside(options: PostgresSinkOptions, pipeline: PipelineOptions) -> Sequence[Problem]:
    """A table is changed when nobody writes to it, and each task always has a transaction open."""
    if not options.evolve or pipeline.parallelism == 1:
        return []
    problem = "cannot be done by several tasks; set parallelism to 1, or change the table yourself"
    return [Problem("options.evolve", problem)]


def _place(step: SinkStep) -> str:
    """Return ``host:port/database/schema.table``; empty where that is not known yet."""
    if REFERENCE in re.sub(r"//[^@/]*@", "//", step.connection_string):
        return ""
    try:
        url = urlsplit(step.connection_string)
        table = table_name(parse(PostgresSinkOptions, step.options).table)
        port = url.port or PORT
    except (Rejected, ValueError):
        return ""
    database = unquote(url.path.lstrip("/"))
    return f"{url.hostname}:{port}/{database}/{table.schema or 'public'}.{table.name}"


SPEC = SinkSpec(
    name="postgres",
    summary="Rows into a table of PostgreSQL, exactly once: inserted, or upserted by key.",
    guarantee=Guarantee.EXACTLY_ONCE,
    options=PostgresSinkOptions,
    open="dataflow.connectors.postgres.sink:open_sink",
    check=_check,
    decides=lambda _: True,
    beside=_beside,
    place=_place,
    lanes=True,
)
