"""Changes of a table to rows: what was there before fills what the log leaves out.

A change of a key is two rows, the deletion of the old key and the insertion of the new one: whoever
keeps rows by key needs both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.formats.parse import Parsed
from dataflow.connectors.postgres.source import pgoutput as p
from dataflow.connectors.postgres.source.columns import Converter, Texts, without
from dataflow.connectors.postgres.source.spec import PostgresPinned, PostgresSourceOptions
from dataflow.connectors.postgres.source.visible import Shown

OPERATIONS: Mapping[int, str] = {p.INSERT: "c", p.UPDATE: "u", p.DELETE: "d", p.TRUNCATE: "t"}

EPOCH_US = 946_684_800_000_000
"""2000-01-01, which PostgreSQL counts from, since 1970."""


class Transaction(NamedTuple):
    """Where a transaction's commit stands in the log, when it was, and who has shown it.

    Attributes:
        shown: by snapshot, whether it was seen there; empty where it was in none.
    """

    lsn: int
    time_us: int
    shown: Sequence[bool] = ()


class _Pool(NamedTuple):
    """All tuples of some messages, and a last one of nulls.

    Attributes:
        columns: the texts of each column of the table.
        main: which tuple holds a message's row.
        moved: messages whose first tuple holds another key than their row.
        unknown: by column of the table, which tuples lack its value.
    """

    columns: Mapping[str, Texts]
    main: pl.Series
    moved: pl.Series
    unknown: Mapping[str, pl.Series]


class Changed:
    """Makes rows of a lineage's columns, and of those that go with them."""

    def __init__(
        self, pinned: PostgresPinned, options: PostgresSourceOptions, shown: Shown | None = None
    ) -> None:
        self._shown = shown
        self._converter = Converter(pinned.columns)
        self._keys = pinned.keys
        self._options = options
        self._beside = {name: to_arrow(parse_type(of)) for name, of in options.metadata.items()}
        beside = [pa.field(name, of) for name, of in self._beside.items()]
        self.schema = pa.schema([*self._converter.schema, *beside])

    @property
    def nothing(self) -> pa.RecordBatch:
        """Return no rows."""
        return pa.RecordBatch.from_pylist([], schema=self.schema)

    def rows(
        self,
        relation: p.Relation,
        messages: Sequence[bytes],
        transactions: Sequence[Transaction],
        counts: Sequence[int],
    ) -> Parsed:
        """Return the rows of changes, in their order.

        Args:
            relation: the form of the table that they were made of.
            messages: inserts, updates, deletes and truncates.
            transactions: what they belong to.
            counts: how many belong to each.
        """
        kinds = pl.Series([message[0] for message in messages], dtype=pl.UInt8)
        numbers = pl.int_range(len(messages), eager=True)
        tuples = [message for message in messages if message[0] != p.TRUNCATE]
        held = numbers.filter(kinds != p.TRUNCATE)
        pool = self._pool(p.Rows(tuples, len(relation.columns)), relation)
        nulls = len(pool.unknown[relation.columns[0]]) - 1
        moved = pool.moved
        operations = kinds.replace_strict(OPERATIONS, return_dtype=pl.String)
        main = pl.DataFrame({"number": held, "tuple": pool.main})
        old = pl.DataFrame({"number": held.gather(moved), "tuple": moved})
        empty = numbers.filter(kinds == p.TRUNCATE)
        rows = pl.concat(
            [
                main.with_columns(operation=operations.gather(held), turn=1),
                old.with_columns(operation=pl.lit("d"), turn=0),
                pl.DataFrame({"number": empty}).with_columns(
                    pl.lit(nulls, pl.Int64).alias("tuple"), operation=pl.lit("t"), turn=1
                ),
            ]
        )
        of_moved = pl.col("number").is_in(held.gather(moved).implode())
        rows = rows.with_columns(
            operation=pl.when(of_moved & (pl.col("turn") == 1))
            .then(pl.lit("c"))
            .otherwise("operation")
        ).sort("number", "turn")
        return self._converted(pool, rows, _of_each(counts).gather(rows["number"]), transactions)

    def _pool(self, messages: p.Rows, relation: p.Relation) -> _Pool:
        count = len(messages.kinds)
        every = pl.int_range(count, eager=True)
        old = (messages.kinds == p.UPDATE) & messages.firsts.is_in([p.KEY, p.OLD])
        with_old = every.filter(old)
        first = messages.first()
        second = messages.second(first, with_old)
        main = every.zip_with(~old, count + old.cast(pl.Int64).cum_sum() - 1)
        moved = pl.Series([False]).new_from_index(0, len(with_old))
        columns: dict[str, Texts] = {}
        unknown: dict[str, pl.Series] = {}
        for at, name in enumerate(relation.columns):
            before = first.texts[at].take(with_old.to_arrow())
            lacking = second.kinds[at] == p.UNCHANGED
            after = _filled(second.texts[at], lacking, before)
            null = pa.nulls(1, pa.large_string())
            columns[name] = pa.concat_arrays([first.texts[at], after, null])
            still = lacking & pl.Series(after.is_null())
            unknown[name] = pl.concat(
                [first.kinds[at] == p.UNCHANGED, still, pl.Series([False])], rechunk=True
            )
            if name in self._keys:
                moved = moved | pl.Series(before).ne_missing(pl.Series(after))
        return _Pool(columns, main, with_old.filter(moved), unknown)

    def _converted(
        self,
        pool: _Pool,
        rows: pl.DataFrame,
        of_transaction: pl.Series,
        transactions: Sequence[Transaction],
    ) -> Parsed:
        if (told := self._told(pool, rows, of_transaction, transactions)) is not None:
            rows, of_transaction = rows.filter(~told), of_transaction.filter(~told)
        tuples = rows["tuple"]
        taken = tuples.to_arrow()
        texts = {
            field.name: pool.columns[field.name].take(taken)
            if field.name in pool.columns
            else pa.nulls(len(tuples), pa.large_string())
            for field in self._converter.schema
        }
        wrong = self._unknown(pool, tuples) if self._options.unchanged == "reject" else {}
        parsed = self._converter.rows(texts, wrong)
        lsns = pl.Series([one.lsn for one in transactions], dtype=pl.Int64)
        times = pl.Series([one.time_us + EPOCH_US for one in transactions], dtype=pl.Int64)
        operations = rows["operation"]
        moments = times.gather(of_transaction)
        return self._beside_of(parsed, operations, lsns.gather(of_transaction), moments)

    def read(self, texts: Mapping[str, Texts]) -> Parsed:
        """Return rows of the table as it is."""
        parsed = self._converter.rows(texts)
        operations = pl.Series(["r"]).new_from_index(0, parsed.records)
        nulls = pl.Series([None], dtype=pl.Int64).new_from_index(0, parsed.records)
        return self._beside_of(parsed, operations, nulls, nulls)

    def _beside_of(
        self, parsed: Parsed, operations: pl.Series, lsns: pl.Series, times_us: pl.Series
    ) -> Parsed:
        """Add the columns that go with a table's."""
        beside = {
            self._options.operation_column: operations,
            self._options.lsn_column: lsns,
            self._options.time_column: times_us,
        }
        arrays = [beside[name].to_arrow().cast(of) for name, of in self._beside.items()]
        if arrays:
            held = pa.RecordBatch.from_arrays(arrays, names=list(self._beside))
            if parsed.bad:
                held = without(held, [bad.index for bad in parsed.bad])
            arrays = [*held.columns]
        columns = [*parsed.batch.columns, *arrays]
        return Parsed(pa.RecordBatch.from_arrays(columns, schema=self.schema), parsed.bad)

    def _told(
        self,
        pool: _Pool,
        rows: pl.DataFrame,
        of_transaction: pl.Series,
        transactions: Sequence[Transaction],
    ) -> pl.Series | None:
        """Tell of each row whether the snapshot that its key was read in has shown it."""
        half = {at: one.shown for at, one in enumerate(transactions) if one.shown}
        if self._shown is None or not half:
            return None
        told = [False] * len(rows)
        doubtful = of_transaction.is_in([*half]).arg_true()
        taken = rows["tuple"].gather(doubtful).to_arrow()
        keys = [pool.columns[name].take(taken).to_pylist() for name in self._keys]
        parts = self._shown.parts(keys)
        for row, of, part in zip(doubtful, of_transaction.gather(doubtful), parts, strict=True):
            told[row] = half[of][part]
        return pl.Series(told, dtype=pl.Boolean)

    def _unknown(self, pool: _Pool, tuples: pl.Series) -> Mapping[int, str]:
        """Return what is wrong with rows that lack a value."""
        wrong: dict[int, str] = {}
        for field in self._converter.schema:
            if field.name not in pool.unknown or not pool.unknown[field.name].any():
                continue
            for row in pool.unknown[field.name].gather(tuples).arg_true():
                wrong[row] = (
                    f"column {field.name!r}: the log lacks a large value that was left alone"
                    "; give the table REPLICA IDENTITY FULL, or set unchanged to null"
                )
        return wrong


def _filled(texts: Texts, lacking: pl.Series, before: Texts) -> Texts:
    """Return texts, those that are lacking from before."""
    if not lacking.any():
        return texts
    filled: Texts = pl.Series(texts).zip_with(~lacking, pl.Series(before)).to_arrow()
    return filled.cast(pa.large_string())


def _of_each(counts: Sequence[int]) -> pl.Series:
    """Return the number of the transaction of each change."""
    frame = pl.DataFrame({"one": range(len(counts)), "count": counts})
    return frame.select(pl.col("one").repeat_by("count")).to_series().explode()
