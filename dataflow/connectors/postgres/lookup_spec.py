"""The ``postgres`` lookup as people configure it. Imports no driver and no Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataflow.connect import Duration, LookupOptions, LookupSpec, Problem, Wanted
from dataflow.connectors.postgres.sink_spec import NAME_BYTES_MAX, REFERENCE, SCHEMES

_PASSWORD = re.compile(r"^[a-z]+://[^/@\s:]*:(?!\$\{)[^/@\s]+@", re.IGNORECASE)


class PostgresLookupOptions(LookupOptions):
    """A table whose rows are asked for by keys, many at once."""

    type: Literal["postgres"]
    connection_string: str = Field(
        min_length=1, description="postgresql://user:${env:PASSWORD}@host:5432/database."
    )
    table: str = Field(
        min_length=1,
        max_length=2 * NAME_BYTES_MAX + 1,
        description="table, or schema.table, as the database shows it; a view will do.",
    )
    keys: tuple[str, ...] = Field(
        (), description="The columns that hold the keys; as in the rows where nothing is said."
    )
    batch_size: int = Field(1_000, ge=1, le=100_000, description="Keys of one question.")
    timeout: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(hours=1))] = Field(
        timedelta(seconds=10), description="For one question."
    )


def _check(options: PostgresLookupOptions, wanted: Wanted) -> Sequence[Problem]:
    return [*_problems(options, wanted)]


def _problems(options: PostgresLookupOptions, wanted: Wanted) -> Iterator[Problem]:
    given = options.connection_string
    if not given.startswith((*(f"{scheme}://" for scheme in SCHEMES), REFERENCE)):
        yield Problem("connectionString", "write postgresql://user@host:port/database")
    if _PASSWORD.search(given):
        message = "holds a password in the clear; write ${env:NAME} or ${file:/path} for it"
        yield Problem("connectionString", message)
    if options.keys and len(options.keys) != len(wanted.keys):
        yield Problem("keys", f"give as many as there are keys to look up: {len(wanted.keys)}")


SPEC = LookupSpec(
    name="postgres",
    summary="A table or view of PostgreSQL.",
    options=PostgresLookupOptions,
    open="dataflow.connectors.postgres.lookup:open_lookup",
    check=_check,
)
