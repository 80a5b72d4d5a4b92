"""The first stage: splits in, rows with their positions out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from dataflow.connect import Chunk, Position, Rejected, Split, Waiting
from dataflow.connect.gathering import size_of
from dataflow.connect.transform import HIDDEN, ORDINAL
from dataflow.core.checkpoint import Checkpoint, SplitPosition
from dataflow.core.clock import Clock
from dataflow.core.ids import SplitId
from dataflow.core.schedule import Schedule, round_due
from dataflow.engine.channel import Channel
from dataflow.engine.items import Item, RoundBegins, Rows, SourceEnded, SplitEnded, SplitsListed
from dataflow.engine.rejects import Refused
from dataflow.engine.steps import Input
from dataflow.engine.tasks import all_of

CLOCK_EVERY_S = 30.0
"""How often who waits for a moment asks the clock, which may be set meanwhile."""


class Gate:
    """Hears of where a source stands, and may keep it from ending."""

    def listed(self, source: str) -> None:
        """Take note that the splits of a source are known, and told to all behind it."""

    async def ending(self, source: str) -> None:
        """Return when a source may say that it has ended."""


OPEN = Gate()


class Reader:
    """Reads every split from where the checkpoint left it.

    Splits that end are read one after the other, unless their source says that all are read at
    once; those that do not end are.
    """

    def __init__(
        self,
        source: Input,
        start: Checkpoint,
        channel: Channel[Item],
        clock: Clock,
        *,
        numbers: bool = True,
        at_once: bool = False,
        gate: Gate = OPEN,
    ) -> None:
        """``numbers`` tells whether anything behind asks for the ordinals of rows.

        ``at_once`` tells whether the first round of a scheduled source waits for no moment, as
        others wait for its rows.
        """
        self._numbers = numbers
        self._at_once = at_once
        self._gate = gate
        self._input = source
        self._start = start
        self._channel = channel
        self._clock = clock
        self.waiting = ""
        """What the source waits for; empty while it reads."""
        self.records = 0
        self.moves = 0
        """How often a position has moved on without a record."""
        self._open: dict[SplitId, None] = {}
        self._read = {name: before.records for name, before in start.positions.items()}

    async def read(self, ended: Callable[[], None]) -> None:
        """Read until the source is exhausted; for ever if it is unbounded or scheduled.

        ``ended`` is called whenever it has been read to its end.
        """
        if self._input.schedule is not None:
            await self._rounds(self._input.schedule, ended)
        elif self._input.source.bounded:
            await self._to_the_end(None)
            ended()
        else:
            await self._for_ever()

    async def _to_the_end(self, moment: datetime | None) -> None:
        splits = await self._first_splits()
        await self._list([s for s in splits if not self._before(self._named(s)).ended])
        self._gate.listed(self._input.name)
        await self._to_their_ends(splits)
        await self._gate.ending(self._input.name)
        await self._channel.put(SourceEnded(self._input.name, moment), 0)

    async def _rounds(self, schedule: Schedule, ended: Callable[[], None]) -> None:
        """Read the source anew in each round, and go on with one that a crash has cut short.

        A moment that strikes in a round is missed: rounds do not overlap.
        """
        latest = self._start.positions.get(self._input.splits.rounds)
        moment = datetime.fromisoformat(latest.position) if latest is not None else None
        if moment is not None and latest is not None and not latest.ended:
            await self._to_the_end(moment)
            ended()
        elif moment is not None:
            await self._channel.put(SourceEnded(self._input.name, moment), 0)
            ended()
        if moment is None and self._at_once:
            moment = self._clock.now()
            await self._round(moment)
            ended()
        while True:
            moment = round_due(schedule, moment, self._clock.now())
            await self._until(moment)
            await self._round(moment)
            ended()

    async def _round(self, moment: datetime) -> None:
        """Read every split from its beginning; records are counted on."""
        begin = {name: SplitPosition(records=count) for name, count in self._read.items()}
        self._start = replace(self._start, positions=begin)
        await self._channel.put(RoundBegins(self._input.name, moment), 0)
        await self._to_the_end(moment)

    async def _until(self, moment: datetime) -> None:
        while (left_s := (moment - self._clock.now()).total_seconds()) > 0:
            self.waiting = f"the round of {moment.isoformat()}"
            await asyncio.sleep(min(left_s, CLOCK_EVERY_S))
        self.waiting = ""

    async def _for_ever(self) -> None:
        splits = await self._first_splits()
        await self._list([s for s in splits if not self._before(self._named(s)).ended])
        self._gate.listed(self._input.name)
        if self._input.source.fixed:
            await all_of([self._split(split) for split in splits])
            return
        known: set[SplitId] = set()
        is_first = True
        async with asyncio.TaskGroup() as tasks:
            while True:
                if new := [split for split in splits if split.id not in known]:
                    if not is_first:
                        await self._list(new)
                    known.update(split.id for split in new)
                for split in new:
                    tasks.create_task(self._split(split))
                is_first = False
                await asyncio.sleep(self._input.poll_interval_s)
                splits = await self._input.listed()

    async def _list(self, splits: Sequence[Split]) -> None:
        """Say what is going to be read, BEFORE any row of it."""
        self._open |= dict.fromkeys(map(self._named, splits))
        await self._tell_open()

    async def _tell_open(self) -> None:
        idles = not self._input.source.bounded
        item = SplitsListed(self._input.name, tuple(self._open), idles)
        await self._channel.put(item, 0)

    def _named(self, split: Split) -> SplitId:
        return self._input.splits.named(split.id)

    def _before(self, name: SplitId) -> SplitPosition:
        return self._start.positions.get(name, SplitPosition())

    async def _to_their_ends(self, splits: Sequence[Split]) -> None:
        if not self._input.source.at_once:
            for split in splits:
                await self._split(split)
            return
        await all_of([self._split(split) for split in splits])

    async def _first_splits(self) -> Sequence[Split]:
        """List the splits, BEFORE any is read and AFTER the source has allowed for those gone."""
        while True:
            splits = await self._input.listed()
            gone = self._gone({self._named(split) for split in splits})
            try:
                for split, position in gone:
                    await self._input.source.gone(split, position)
            except Waiting as error:
                self.waiting = error.message
                await asyncio.sleep(self._input.poll_interval_s)
            else:
                self.waiting = ""
                return await self._input.listed() if gone else splits

    def _gone(self, listed: AbstractSet[SplitId]) -> Sequence[tuple[Split, Position]]:
        """Return the splits that an earlier run was in the middle of and that are not listed."""
        found = []
        for name, before in self._start.positions.items():
            split = self._input.splits.own(name)
            if split is None or name in listed or before.ended or not before.records:
                continue
            with suppress(ValidationError):  # of another source, before the pipeline was updated
                position = self._input.position.model_validate_json(before.position)
                found.append((Split(split), position))
        return found

    async def _split(self, split: Split) -> None:
        name = self._named(split)
        before = self._before(name)
        position: Position | None = None
        if before.position:
            position = self._input.position.model_validate_json(before.position)
        if before.ended:
            if not await self._input.source.grown(split, position):
                return
            self._open[name] = None
            await self._tell_open()
        records = before.records
        while True:
            try:
                async with aclosing(self._input.source.read(split, position)) as chunks:
                    async for chunk in chunks:
                        self.waiting = ""
                        rows = self._rows(name, chunk, records)
                        await self._channel.put(rows, rows.size)
                        position, records = chunk.resume_at, records + rows.read
                        self._read[name] = records
                        self.records += rows.read
                        self.moves += rows.read == 0
            except Waiting as error:
                self.waiting = error.message
                await asyncio.sleep(self._input.poll_interval_s)
            else:
                del self._open[name]
                await self._channel.put(SplitEnded(self._input.name, name), 0)
                return

    def _rows(self, split: SplitId, chunk: Chunk[Position], first: int) -> Rows:
        """Give every record its ordinal, counting those that could not be read too."""
        for name in HIDDEN.intersection(chunk.batch.schema.names):
            raise Rejected(f"{split}: a column is named {name!r}, as one of the engine's own is")
        good = chunk.batch.num_rows
        bad = chunk.rejected.num_rows if chunk.rejected is not None else 0
        batch = chunk.batch
        if self._numbers:
            batch = batch.append_column(ORDINAL, _ordinals(first, good + bad, chunk.rejected))
        refused = Refused()
        if chunk.rejected is not None:
            now = self._clock.now()
            refused = self._input.rejects.unread(
                split, chunk.rejected, first, now, schema=chunk.batch.schema
            )
        return Rows(
            source=self._input.name,
            split=split,
            batch=batch,
            resume_at=chunk.resume_at,
            read=good + bad,
            bytes_read=chunk.bytes_read,
            size=size_of(batch),
            skipped=refused.skipped,
            dead=refused.dead,
        )


def _ordinals(first: int, count: int, rejected: pa.RecordBatch | None) -> pa.Int64Array:
    every = count_up(first, count)
    if rejected is None or rejected.num_rows == 0:
        return every
    bad = pc.is_in(count_up(0, count), value_set=rejected.column("index"))
    return every.filter(pc.invert(bad))


def count_up(first: int, count: int) -> pa.Int64Array:
    """Return so many ordinals, from one on."""
    every: pa.Int64Array = pa.arange(first, first + count)  # type: ignore[attr-defined]  # stubs lag
    return every
