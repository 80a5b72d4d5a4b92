"""A table in a file as a lookup: all of it in memory, in the order of its keys."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from dataflow.connect import Answer, Context, Lookup, Rejected, Waiting, Wanted
from dataflow.connectors.file.lookup_spec import FileLookupOptions, format_of

_NUMBER, _ROW = "__number", "__row"


def open_lookup(options: FileLookupOptions, wanted: Wanted, context: Context) -> FileLookup:
    """Return the lookup; the file is read when the first key is asked for."""
    return FileLookup(options, wanted, context)


class FileLookup(Lookup):
    """Answers by a join in memory; csv is read as texts, which are cast like any answer."""

    is_local = True
    keys_max = 1_000_000

    def __init__(self, options: FileLookupOptions, wanted: Wanted, context: Context) -> None:
        self._options = options
        self._keys = options.keys or tuple(wanted.keys)
        self._columns = tuple(wanted.columns)
        self._path = context.path(context.secret(options.path))
        self._clock = context.clock
        self._looked: float | None = None
        self._state: tuple[int, ...] = ()
        self._table = pl.DataFrame()

    def find(self, keys: pa.RecordBatch) -> Answer:
        """Return the rows of the table with these keys."""
        self._look()
        asked = pl.DataFrame(keys).select(
            pl.col(name).alias(f"{_NUMBER}{at}") for at, name in enumerate(keys.schema.names)
        )
        theirs = [f"{_ROW}{at}" for at in range(len(self._keys))]
        mine = asked.columns
        types = dict(zip(theirs, asked.dtypes, strict=True))
        table = self._typed(types)
        found = asked.with_row_index(_NUMBER).join(
            table, left_on=mine, right_on=theirs, how="inner", maintain_order="left"
        )
        rows = found.select(self._columns).to_arrow().combine_chunks().to_batches()
        of = pa.array(found[_NUMBER].to_numpy().astype(np.int64))
        empty = pa.RecordBatch.from_pylist([], schema=found.select(self._columns).to_arrow().schema)
        return Answer(rows[0] if rows else empty, of)

    def _typed(self, types: dict[str, pl.DataType]) -> pl.DataFrame:
        """Return the table with its keys in the types in which they are asked for."""
        changed = {name: of for name, of in types.items() if self._table.schema[name] != of}
        if changed:
            try:
                self._table = self._table.with_columns(
                    pl.col(n).cast(of) for n, of in changed.items()
                )
            except pl.exceptions.PolarsError as error:
                message = f"{self._path}: its keys are not of the types of the rows' keys: {error}"
                raise Rejected(message, field="options.lookup.keys") from error
        return self._table

    def _look(self) -> None:
        """Read the file, or read it again if it has changed."""
        now = self._clock.steady()
        interval_s = self._options.check_interval.total_seconds()
        if self._looked is not None and now - self._looked < interval_s:
            return
        try:
            found = self._path.stat()
        except FileNotFoundError as error:
            raise Waiting(f"{self._path} is not there yet") from error
        except OSError as error:
            raise Rejected(
                f"{self._path}: {error.strerror}", field="options.lookup.path"
            ) from error
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        if state != self._state:
            self._table = self._read()
            self._state = state
        self._looked = now

    def _read(self) -> pl.DataFrame:
        try:
            table = _read(self._path, format_of(self._options), self._options.delimiter)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise Rejected(f"{self._path}: {error}", field="options.lookup.path") from error
        names = [*self._keys, *self._columns]
        if lacking := [name for name in names if name not in table.columns]:
            message = (
                f"{self._path} has no column {lacking[0]!r}; it has {', '.join(table.columns)}"
            )
            raise Rejected(message, field="options.lookup.path")
        table = table.select(
            *(pl.col(key).alias(f"{_ROW}{at}") for at, key in enumerate(self._keys)),
            *(pl.col(name) for name in self._columns),
        )
        if (size := table.estimated_size()) > self._options.bytes_max:
            message = (
                f"{self._path} takes {size:,} bytes of memory; raise bytesMax, or ask a database"
            )
            raise Rejected(message, field="options.lookup.bytesMax")
        return table


def _read(path: Path, of: str, delimiter: str) -> pl.DataFrame:
    source = os.fspath(path)
    match of:
        case "csv":
            return pl.read_csv(source, infer_schema=False, separator=delimiter)
        case "json":
            return pl.read_ndjson(source, infer_schema_length=None)
        case _:
            return pl.read_parquet(source)
