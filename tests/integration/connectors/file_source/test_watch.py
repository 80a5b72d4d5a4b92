"""Files that are written, renamed and deleted while they are read."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from dataflow.connect import Rejected, Split, SplitId, Waiting
from dataflow.connectors.file.source import FileSource
from dataflow.connectors.file.source_options import FilePosition
from tests.integration.connectors.file_source.conftest import Folder

WATCH = {"watch": True, "format": "csv"}


@dataclass
class Watcher:
    """Reads every split that shows up, as the engine does."""

    source: FileSource
    positions: dict[SplitId, FilePosition] = field(default_factory=dict)
    rows: list[Any] = field(default_factory=list)
    ended: set[SplitId] = field(default_factory=set)
    known: set[SplitId] = field(default_factory=set)

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for split in await self.source.splits():
                    if split.id not in self.known:
                        self.known.add(split.id)
                        tasks.create_task(self._read(split))
                await asyncio.sleep(0.01)

    async def _read(self, split: Split) -> None:
        async for chunk in self.source.read(split, self.positions.get(split.id)):
            self.rows += chunk.batch.column(0).to_pylist()
            self.positions[split.id] = chunk.resume_at
        self.ended.add(split.id)

    async def until(self, rows: list[Any]) -> None:
        """Wait for rows, whichever file comes first; then see that no others come."""
        for _ in range(300):
            if sorted(self.rows) == sorted(rows):
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert sorted(self.rows) == sorted(rows)


@asynccontextmanager
async def watching(
    folder: Folder, name: str = "", *, before: Watcher | None = None, **options: object
) -> AsyncIterator[Watcher]:
    """Watch a folder, from where an earlier watcher got to."""
    source = folder.source(name, {**WATCH, **options})
    assert not source.bounded
    await source.open(None)
    watcher = Watcher(source, dict(before.positions) if before else {})
    running = asyncio.get_running_loop().create_task(watcher.run())
    try:
        yield watcher
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_what_is_added_is_picked_up_when_it_is_complete(folder: Folder) -> None:
    """Half a record is no record yet."""
    path = folder.write("a.csv", "n\n1\n2")
    async with watching(folder) as watcher:
        await watcher.until([1])
        with path.open("a") as file:
            file.write("3\n4\n5")
        await watcher.until([1, 23, 4])
        folder.write("b.csv", "n\n7\n")
        await watcher.until([1, 23, 4, 7])


@pytest.mark.parametrize(
    "parts",
    [["a,", '"b', 'c"\n', "2,x\r", "\n3,y\n"], ['a,"bc"\r', "2,x\r3,y\r", "4"]],
)
async def test_half_a_header_and_half_a_line_break_are_waited_for(
    folder: Folder, parts: list[str]
) -> None:
    """Half a header names other columns; half a break would give the file another name."""
    folder.write("a.csv", "a,bc\n1,x\n")
    async with watching(folder) as watcher:
        await watcher.until([1])
        for part in parts:
            with (folder.path / "b.csv").open("a", newline="") as file:
                file.write(part)
            await watcher.until(watcher.rows)
        await watcher.until([1, 2, 3])
    assert len(watcher.known) == 2


async def test_a_restart_goes_on_with_every_file(folder: Folder) -> None:
    """Also with those that were renamed, and with what was added meanwhile."""
    path = folder.write("a.csv", "n\n1\n2\n")
    async with watching(folder) as first:
        await first.until([1, 2])
    path.rename(folder.path / "b.csv")
    with (folder.path / "b.csv").open("a") as file:
        file.write("3\n")
    folder.write("a.csv", "n\n10\n")
    async with watching(folder, before=first) as second:
        await second.until([3, 10])


async def test_a_rotated_file_is_finished_and_not_read_again(folder: Folder) -> None:
    """A log is renamed, its successor takes its name, and a writer may add to either."""
    path = folder.write("a.csv", "n\n1\n")
    async with watching(folder) as watcher:
        await watcher.until([1])
        path.rename(folder.path / "a.csv.1")
        folder.write("a.csv", "n\n2\n")
        with (folder.path / "a.csv.1").open("a") as file:
            file.write("3\n")
        await watcher.until([1, 2, 3])
        assert len(watcher.known) == 2


async def test_a_deleted_file_ends_and_another_of_its_name_begins(folder: Folder) -> None:
    """The system gives the inode to the next file at once; that must not end it unread."""
    path = folder.write("a.csv", "n\n1\n")
    async with watching(folder) as watcher:
        await watcher.until([1])
        path.unlink()
        folder.write("a.csv", "n\n2\n")
        await watcher.until([1, 2])
        for _ in range(100):
            if watcher.ended:
                break
            await asyncio.sleep(0.01)
        assert len(watcher.ended) == 1


async def test_a_file_cut_below_its_position_is_refused(folder: Folder) -> None:
    """Its writer has taken back what was read."""
    path = folder.write("a.csv", "n\n1\n2\n3\n")
    source = folder.source("", WATCH)
    await source.open(None)
    (split,) = await source.splits()
    reading = source.read(split, None)
    await anext(reading)
    os.truncate(path, 6)
    with pytest.raises(Rejected, match=r"a.csv: it has been truncated.* offset 8") as refused:
        await anext(reading)
    assert refused.value.code == "SOURCE_CHANGED"


async def test_a_file_deleted_before_it_was_read_is_refused(folder: Folder) -> None:
    """Its rows are lost, and somebody has to know."""
    path = folder.write("a.csv", "n\n1\n2")
    source = folder.source("", WATCH)
    await source.open(None)
    (split,) = await source.splits()
    reading = source.read(split, None)
    await anext(reading)
    path.unlink()
    with pytest.raises(Rejected, match="deleted with 1 bytes unread"):
        await anext(reading)


async def test_a_watched_folder_may_be_empty_at_first(folder: Folder) -> None:
    """Types are taken from the first record there is, so there must be one."""
    with pytest.raises(Waiting, match="no files"):
        await folder.source("", WATCH).open(None)
    folder.write("a.csv", "n\n")
    with pytest.raises(Waiting):
        await folder.source("", WATCH).open(None)
    folder.write("a.csv", "n\n1\n")
    async with watching(folder) as watcher:
        await watcher.until([1])


async def test_members_added_to_a_compressed_file_are_picked_up(folder: Folder) -> None:
    """One that is not complete yet is no damage while its writer may go on."""
    member = gzip.compress(b"n\n1\n")
    path = folder.write("a.csv.gz", member)
    async with watching(folder) as watcher:
        await watcher.until([1])
        more = gzip.compress(b"2\n3\n")
        for part in (more[:-5], more[-5:]):
            with path.open("ab") as file:
                file.write(part)
            await asyncio.sleep(0.05)
        await watcher.until([1, 2, 3])


async def test_the_latest_position_and_the_lag_are_known(folder: Folder) -> None:
    """A pipeline may begin at the end, and people ask how far behind it is."""
    folder.write("a.csv", 'n,s\n1,"x\ny"\n2,z\n3,')
    source = folder.source("", WATCH)
    await source.open(None)
    (split,) = await source.splits()
    assert (await source.latest(split)).offset == 16
    assert await source.lag() == (-1, 18)
    with (folder.path / "a.csv").open("a") as file:
        file.write("w\n")
    latest = FilePosition(**(await source.latest(split)).model_dump(by_alias=False))
    assert latest.offset == 20
    reading = source.read(split, latest.model_copy(update={"offset": 16}))
    assert (await anext(reading)).batch.to_pylist() == [{"n": 3, "s": "w"}]
    await source.splits()
    assert await source.lag() == (-1, 0)
    await reading.aclose()


async def test_the_lag_of_one_of_several_tasks_is_that_of_its_own_files(folder: Folder) -> None:
    """Summed up, a task that has read all of its own would count all others' for ever."""
    for name in "ab":
        folder.write(f"{name}.csv", "n\n1\n")
    source = folder.source("", WATCH)
    await source.open(None)
    first, _ = await source.splits()
    assert await source.lag() == (-1, 8)
    source.reads = lambda split: split == first.id
    assert await source.lag() == (-1, 4)


async def test_the_lag_of_a_bounded_source_counts_what_is_ahead(folder: Folder) -> None:
    """Files before the one that is being read have been read, also by an earlier run."""
    for name in "abc":
        folder.write(f"{name}.csv", "n\n1\n")
    source = folder.source("")
    await source.open(None)
    splits = await source.splits()
    assert await source.lag() == (-1, 12)
    reading = source.read(splits[1], None)
    await anext(reading)
    assert await source.lag() == (-1, 4)
    await reading.aclose()
    assert (await source.latest(splits[0])).offset == 4
