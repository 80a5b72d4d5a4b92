"""What a source promises: ``SourceSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeAlias

import pyarrow as pa

from dataflow.connect.source import REJECTED_COLUMNS, Chunk, PinnedT, PositionT, Source, Split
from dataflow.connect.transform import HIDDEN
from dataflow.core.errors import Rejected

Record: TypeAlias = tuple[object, ...]


class SourceSuite(ABC, Generic[PositionT, PinnedT]):
    """For a source over something that has at least two chunks in one of its splits.

    Attributes:
        position: the model of its positions.
        pinned: the model of what it fixes for a lineage.
        records_max: how many records of a split to read; for a source without an end.
    """

    position: type[PositionT]
    pinned: type[PinnedT]
    records_max: int | None = None

    @abstractmethod
    def source(self) -> Source[PositionT, PinnedT]:
        """Return a new instance over the same records, as a new process would make it."""

    async def opened(self) -> Source[PositionT, PinnedT]:
        """Return an instance that is ready, with what an earlier one pinned, from its JSON."""
        first = self.source()
        pinned = await first.open(None)
        await first.close()
        source = self.source()
        if pinned is not None:
            pinned = self.pinned.model_validate_json(pinned.model_dump_json())
        await source.open(pinned)
        return source

    async def chunks(
        self,
        source: Source[PositionT, PinnedT],
        split: Split,
        start: PositionT | None = None,
        skip: int = 0,
    ) -> Sequence[Chunk[PositionT]]:
        """Read a split to its end, or to ``records_max`` less those skipped."""
        found: list[Chunk[PositionT]] = []
        records = skip
        if self.records_max is not None and records >= self.records_max:
            return found
        async with aclosing(source.read(split, start)) as reading:
            async for chunk in reading:
                found.append(chunk)
                records += len(_records(chunk))
                if self.records_max is not None and records >= self.records_max:
                    break
        return found

    async def test_splits_are_named_once_and_always_the_same(self) -> None:
        """A position belongs to its split by name; two of one name would share it."""
        source, again = await self.opened(), await self.opened()
        names = [split.id for split in await source.splits()]
        assert names
        assert len(set(names)) == len(names)
        assert [split.id for split in await again.splits()] == names
        await source.close()
        await again.close()

    async def test_resuming_at_any_position_yields_exactly_the_remaining_records(self) -> None:
        """A position is the next thing to read, and survives the journal as JSON."""
        source = await self.opened()
        cuts = 0
        for split in await source.splits():
            whole = await self.chunks(source, split)
            records = [record for chunk in whole for record in _records(chunk)]
            read = 0
            for chunk in whole:
                read += len(_records(chunk))
                cuts += 1
                text = chunk.resume_at.model_dump_json()
                position = self.position.model_validate_json(text)
                assert position == chunk.resume_at
                fresh = await self.opened()
                rest = await self.chunks(fresh, split, position, skip=read)
                await fresh.close()
                found = [record for chunk in rest for record in _records(chunk)]
                assert found == records[read : read + len(found)]
                if self.records_max is None:
                    assert len(found) == len(records) - read
        assert cuts > 1, "give the suite a source with more than one chunk"
        await source.close()

    async def test_reading_again_yields_the_same(self) -> None:
        """A retry reads what the first attempt read, from the same instance and from a new one."""
        source, other = await self.opened(), await self.opened()
        for split in await source.splits():
            expected = [_records(chunk) for chunk in await self.chunks(source, split)]
            flat = [record for chunk in expected for record in chunk]
            for again in (source, other):
                found = [_records(chunk) for chunk in await self.chunks(again, split)]
                same = [record for chunk in found for record in chunk]
                compared = len(flat) if self.records_max is None else min(len(flat), len(same))
                assert same[:compared] == flat[:compared]
                assert bool(same) == bool(flat)
        await source.close()
        await other.close()

    async def test_no_chunk_says_nothing_and_the_schema_never_changes(self) -> None:
        """A chunk moves on, with records or without; expressions are bound to one schema."""
        source = await self.opened()
        schemas: list[pa.Schema] = []
        for split in await source.splits():
            before = None
            for chunk in await self.chunks(source, split):
                assert _records(chunk) or chunk.resume_at != before
                before = chunk.resume_at
                schemas.append(chunk.batch.schema)
        assert all(schema.equals(schemas[0]) for schema in schemas)
        assert not HIDDEN & set(schemas[0].names), "these names are the engine's"
        await source.close()

    async def test_records_that_cannot_be_read_are_numbered_within_their_chunk(self) -> None:
        """Their number names them in dead letters; the good ones have the others."""
        source = await self.opened()
        for split in await source.splits():
            for chunk in await self.chunks(source, split):
                if chunk.rejected is None:
                    continue
                assert tuple(chunk.rejected.schema.names) == REJECTED_COLUMNS
                numbers: list[Any] = chunk.rejected.column("index").to_pylist()
                assert numbers == sorted(set(numbers))
                assert set(numbers) <= set(range(len(_records(chunk))))
                assert chunk.rejected.column("error").null_count == 0
        await source.close()

    async def test_a_reader_can_be_closed_early(self) -> None:
        """A stop does so between two chunks; what was open is let go, and others read on."""
        source = await self.opened()
        for split in await source.splits():
            async with aclosing(source.read(split, None)) as reading:
                chunk = await anext(reading, None)
            if chunk is not None:
                again = await self.chunks(source, split)
                count = min(len(_records(chunk)), len(_records(again[0])))
                assert _records(again[0])[:count] == _records(chunk)[:count]
        await source.close()

    async def test_what_is_pinned_survives_the_journal_and_stays(self) -> None:
        """A schema that was inferred holds for the whole lineage, whatever comes later."""
        source = self.source()
        pinned = await source.open(None)
        await source.close()
        if pinned is not None:
            assert self.pinned.model_validate_json(pinned.model_dump_json()) == pinned
        source = self.source()
        assert await source.open(pinned) == pinned
        await source.close()

    async def test_nothing_is_read_behind_the_latest_position(self) -> None:
        """A lineage that begins at the end skips what was there; a source may refuse to."""
        source = await self.opened()
        for split in await source.splits():
            try:
                latest = await source.latest(split)
            except Rejected:
                continue
            position = self.position.model_validate_json(latest.model_dump_json())
            if source.bounded:
                assert not await self.chunks(source, split, position)
        await source.close()


def _records(chunk: Chunk[PositionT]) -> Sequence[Record]:
    """Return the records of a chunk in reading order: good ones by value, bad ones by error."""
    good = iter(chunk.batch.to_pylist())
    bad: dict[int, Record] = {}
    if chunk.rejected is not None:
        for row in chunk.rejected.to_pylist():
            bad[row["index"]] = ("rejected", row["record"], row["error"])
    total = chunk.batch.num_rows + len(bad)
    return [bad[index] if index in bad else tuple(next(good).items()) for index in range(total)]
