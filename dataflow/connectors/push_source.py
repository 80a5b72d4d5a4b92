"""Read the ingest log of a pipeline: one split, by the offset of each record."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pyarrow as pa

from dataflow.connect import (
    Chunk,
    Context,
    Log,
    Rejected,
    Source,
    SourceStep,
    Split,
    SplitId,
    Waiting,
)
from dataflow.connect.columns import PinnedColumn
from dataflow.connect.types import from_arrow, parse_type, to_arrow
from dataflow.connectors.push import PushOptions, PushPinned, PushPosition

BATCH_ROWS = 65_536
"""Rows of a batch unless ``batchSize`` says otherwise: what the log hands on at a time, or so."""

SPLIT = Split(SplitId("log"))


def open_source(step: SourceStep, options: PushOptions, context: Context) -> Push:
    """Return the source of one step.

    Raises:
        Rejected: this process keeps no ingest log.
    """
    if context.log is None:
        raise Rejected("there is no ingest log here to read pushed records from")
    return Push(step, options, context.log)


class Push(Source[PushPosition, PushPinned]):
    """What was pushed, in the order in which it was acknowledged."""

    bounded = False
    fixed = True

    def __init__(self, step: SourceStep, options: PushOptions, log: Log) -> None:
        self._batch_rows = step.batch_size or BATCH_ROWS
        self._options = options
        self._log = log
        self._next: int | None = None

    async def open(self, pinned: PushPinned | None) -> PushPinned:
        """Return the columns: declared, or those of the first batch.

        Raises:
            Waiting: no batch has been pushed, and no columns are declared.
            Rejected: the columns are not those of the lineage, or not those of the log.
        """
        stored = await self._log.schema()
        declared = self._declared()
        schema = declared or stored
        if schema is None:
            raise Waiting("no batch has been pushed yet, and no schema is declared")
        _require_same(schema, stored, "the log of pushed records")
        found = PushPinned(columns=tuple(_columns(schema)))
        if pinned is not None and pinned != found:
            raise Rejected(
                f"the columns were {_shown(pinned.columns)} and are {_shown(found.columns)};"
                " declare the former, or replay from the beginning",
                field="options.schema",
            )
        return found

    async def splits(self) -> Sequence[Split]:
        """Return the one split there is."""
        return (SPLIT,)

    async def read(
        self,
        split: Split,  # noqa: ARG002 - there is but one
        start: PushPosition | None,
    ) -> AsyncGenerator[Chunk[PushPosition], None]:
        """Yield the records from ``start``, or all that are still there, for ever.

        Raises:
            Rejected: records from ``start`` on have been forgotten.
            Corrupted: the log ends before ``start``, or is damaged.
        """
        offset = start.offset if start else await self._log.begin()
        # A run starts from a decision, so what is before has been decided, by this run or another.
        await self._log.cut(offset)
        self._next = offset
        async with aclosing(self._log.read(offset)) as batches:
            async for read in batches:
                for first in range(0, read.batch.num_rows, self._batch_rows):
                    batch = read.batch.slice(first, self._batch_rows)
                    offset += batch.num_rows
                    self._next = offset
                    yield Chunk(batch, PushPosition(offset=offset), bytes_read=batch.nbytes)

    async def latest(self, split: Split) -> PushPosition:  # noqa: ARG002 - there is but one
        """Return the offset of the record that will be pushed next."""
        return PushPosition(offset=await self._log.end())

    async def acknowledge(self, split: Split, position: PushPosition) -> None:  # noqa: ARG002 - see above
        """Let the log forget what is decided."""
        await self._log.cut(position.offset)

    async def lag(self) -> tuple[int, int]:
        """Return records and bytes that are durable and not read yet."""
        if self._next is None:
            return -1, -1
        return await self._log.behind(self._next)

    def _declared(self) -> pa.Schema | None:
        types = self._options.types.items()
        fields = [pa.field(name, to_arrow(parse_type(text))) for name, text in types]
        return pa.schema(fields) if fields else None


def _require_same(schema: pa.Schema, stored: pa.Schema | None, where: str) -> None:
    if stored is not None and stored != schema:
        has, wants = _shown(list(_columns(stored))), _shown(list(_columns(schema)))
        raise Rejected(
            f"{where} has {has}, fixed by its first batch, and the source declares {wants};"
            " declare the same, or make another pipeline",
            field="options.schema",
        )


def _columns(schema: pa.Schema) -> Sequence[PinnedColumn]:
    return [PinnedColumn(name=field.name, type=str(from_arrow(field.type))) for field in schema]


def _shown(columns: Sequence[PinnedColumn]) -> str:
    return f"{', '.join(f'{column.name}: {column.type}' for column in columns):.500}"
