"""The key ranges of a table as splits, and who waits for the last of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from dataflow.connect import Chunk, Rejected, Split, SplitId
from dataflow.connectors.formats.parse import rejected
from dataflow.connectors.postgres.source.catalog import SourceTable
from dataflow.connectors.postgres.source.changed import Changed
from dataflow.connectors.postgres.source.snapshot import Range, Snapshots
from dataflow.connectors.postgres.source.spec import PostgresPinned, PostgresPosition, Seen

PREFIX = "snapshot/"
"""What the name of such a split begins with; its number follows."""


class Ranges:
    """Reads each range once, all of them in the snapshot of this run.

    Attributes:
        splits: the ranges, in the order of their keys.
    """

    def __init__(self, snapshots: Snapshots, rows_max: int) -> None:
        self._snapshots = snapshots
        self._rows_max = rows_max
        self._read: dict[SplitId, Sequence[Seen]] = {}
        """Those that have been read to their end, and in which snapshots."""
        self._one_ended = asyncio.Event()
        self._opened: tuple[SourceTable, PostgresPinned, Changed] | None = None
        self.splits: Sequence[Split] = ()

    def open(self, table: SourceTable, pinned: PostgresPinned, changed: Changed) -> None:
        """Take note of what is read, and how it becomes rows."""
        self._opened = table, pinned, changed
        count = len(pinned.bounds) + 1
        self.splits = [Split(SplitId(f"{PREFIX}{part}")) for part in range(count)]

    async def read(
        self, split: Split, start: PostgresPosition
    ) -> AsyncGenerator[Chunk[PostgresPosition], None]:
        """Yield the rows of a range, from a key on, as this run's snapshot shows them."""
        if self._opened is None:
            raise RuntimeError("open comes before anything else")
        seen = start.seen
        if not start.done:
            table, pinned, changed = self._opened
            if pinned.resumes and pinned.bounds:
                raise _elsewhere()
            part = int(split.id.removeprefix(PREFIX))
            taken = await self._snapshots.taken(table.name)
            after = start.after or (pinned.bounds[part - 1 : part] if part else ())
            now = Seen(
                part=part,
                ranges=len(self.splits),
                after=after,
                snapshot=taken.shows,
                lsn=taken.lsn,
            )
            seen = (*seen, now)
            reading = Range.of_part(table, pinned, part)
            async with (
                self._snapshots.session(taken) as connection,
                aclosing(reading.pages(connection, start.after, self._rows_max)) as pages,
            ):
                page = None
                async for page in pages:
                    parsed = await asyncio.to_thread(changed.read, page.texts)
                    bad = rejected(parsed.bad) if parsed.bad else None
                    position = PostgresPosition(after=page.last, seen=seen)
                    yield Chunk(parsed.batch, position, bad, page.size)
            if page is None:  # What comes into it later has to be told by the snapshot, too.
                yield Chunk(changed.nothing, start.model_copy(update={"seen": seen, "done": True}))
        self.ended(split, seen)
        if len(self._read) == len(self.splits):
            await self._snapshots.close()

    def ended(self, split: Split, seen: Sequence[Seen]) -> None:
        """Take note that a range has been read to its end, now or by an earlier run."""
        self._read[split.id] = seen
        self._one_ended.set()

    async def all_seen(self) -> Sequence[Seen]:
        """Wait until every range has been read; return in which snapshots.

        Raises:
            Rejected: there were other ranges, and what snapshots showed of them is not known.
        """
        while any(split.id not in self._read for split in self.splits):
            self._one_ended.clear()
            await self._one_ended.wait()
        found = [seen for split in self.splits for seen in self._read[split.id]]
        if any(seen.ranges != len(self.splits) for seen in found):
            raise _elsewhere()
        return found


def _elsewhere() -> Rejected:
    return Rejected(
        "the pipeline was updated before its table had been read and a change behind it, and its"
        " ranges end elsewhere now; replay it, which reads the table anew",
        field="options.snapshotRanges",
    )
