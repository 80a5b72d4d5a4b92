"""The ``file`` lookup as people configure it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataflow.connect import Duration, LookupOptions, LookupSpec, Problem, Wanted

ENDINGS = {
    ".csv": "csv",
    ".json": "json",
    ".ndjson": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
}


class FileLookupOptions(LookupOptions):
    """A table in a file, which is kept in memory and read again when the file has changed."""

    type: Literal["file"]
    path: str = Field(
        min_length=1, description="The file; the node that runs the pipeline reads it."
    )
    format: Literal["csv", "json", "parquet"] | None = Field(
        None, description="By the file's ending where nothing is said; json is one object a line."
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="Between columns of csv.")
    keys: tuple[str, ...] = Field(
        (), description="The columns that hold the keys; as in the rows where nothing is said."
    )
    check_interval: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=1))] = Field(
        timedelta(seconds=1), description="How often to look whether the file has changed."
    )
    bytes_max: int = Field(
        256 << 20, ge=1 << 10, le=1 << 40, description="Bytes of memory that the table may take."
    )


def format_of(options: FileLookupOptions) -> str:
    """Return the format; empty where nothing tells it."""
    known = (of for ending, of in ENDINGS.items() if options.path.endswith(ending))
    return options.format or next(known, "")


def _check(options: FileLookupOptions, wanted: Wanted) -> Sequence[Problem]:
    return [*_problems(options, wanted)]


def _problems(options: FileLookupOptions, wanted: Wanted) -> Iterator[Problem]:
    if not format_of(options):
        yield Problem("format", f"missing; {options.path!r} ends in none of {', '.join(ENDINGS)}")
    if options.keys and len(options.keys) != len(wanted.keys):
        yield Problem("keys", f"give as many as there are keys to look up: {len(wanted.keys)}")


SPEC = LookupSpec(
    name="file",
    summary="A table in a csv, json or parquet file.",
    options=FileLookupOptions,
    open="dataflow.connectors.file.lookup:open_lookup",
    check=_check,
)
