"""What a SQLite journal keeps when its process, its disk or its commit dies."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.journal.contract import AppendId, Nonce, Record
from dataflow.journal.sqlite import Sqlite, file, journal, transaction
from dataflow.journal.sqlite.writer import Asked

Author = Callable[..., list[Record]]

KILLS = 20
SHARD = ShardId(3)


async def killed_writer(folder: Path, boot: int, patience: float) -> list[list[str]]:
    """Let a process write, kill it at a moment, and return what it had acknowledged."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("writing.py")),
        str(folder),
        str(boot),
        stdout=asyncio.subprocess.PIPE,
    )
    assert writer.stdout is not None
    first = await writer.stdout.readline()
    await asyncio.sleep(patience)
    writer.kill()
    rest = await writer.stdout.read()
    await writer.wait()
    return [line.split() for line in (first + rest).decode().splitlines()]


@pytest.mark.slow
async def test_every_acknowledged_write_outlives_kill_9(tmp_path: Path) -> None:
    """Acknowledged means durable; the rest is there or not, but never in pieces."""
    moments = random.Random(20)
    appended: dict[int, int] = {}
    decided = 0
    for boot in range(KILLS):
        for kind, name, number in await killed_writer(tmp_path, boot, moments.uniform(0, 0.15)):
            if kind == "append":
                appended[int(name)] = int(number)
            else:
                decided = int(number)
        opened = await Sqlite.open(tmp_path)
        for shard, acknowledged in appended.items():
            offsets = []
            async for page in opened.read(ShardId(shard), Offset(0)):
                for record in page:
                    text = f"{shard}:{record.offset} ".encode()
                    assert record.payload == text * (record.offset % 40 + 1)
                    offsets.append(record.offset)
            assert offsets == list(range(1, len(offsets) + 1))
            assert len(offsets) >= acknowledged
            assert len(offsets) % 2 == 0, "an append of two was cut in half"
        kept = await opened.decision(ShardId(8), PipelineId("p8"))
        assert (kept.stamp.number if kept else 0) >= decided
        await opened.close()
    assert sum(appended.values()) > KILLS * 8, "the writers wrote next to nothing"


async def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """Killing a process cannot show it: only a power cut loses what was never synchronised."""
    opened = await Sqlite.open(tmp_path)
    connection = opened._opened.connection
    modes = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    await opened.close()
    assert modes == ["wal", 2]


class TornCommit(sqlite3.Connection):
    """Loses the answer of its next COMMIT: AFTER it took effect, or BEFORE."""

    torn = ""

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        if sql != "COMMIT" or not self.torn:
            return super().execute(sql, *args)  # type: ignore[arg-type]  # passed on as they came
        when, self.torn = self.torn, ""
        if when == "after":
            super().execute(sql)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_unknown_commit_is_settled_by_repeating_it(
    tmp_path: Path, author: Author, when: str
) -> None:
    """Written or not, the identical append ends as one append."""
    opened = file.open_journal(tmp_path)
    opened.connection.close()
    connection = sqlite3.connect(
        opened.file, factory=TornCommit, isolation_level=None, check_same_thread=False
    )
    torn = journal.Sqlite(file.Opened(opened.file, connection, opened.lock))
    claim = await torn.acquire(SHARD, Nonce("a"))
    records = author(claim, 3)
    connection.torn = when
    with pytest.raises(Unavailable) as unknown:
        await torn.append(claim, records, AppendId("1"))
    assert unknown.value.code is Code.OUTCOME_UNKNOWN
    assert (await torn.append(claim, records, AppendId("1"))).offset == 3
    found = [record async for page in torn.read(SHARD, Offset(0)) for record in page]
    await torn.close()
    assert found == records


class Failing(sqlite3.Connection):
    """Fails as no database does, where it is told to."""

    at = ""

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        if self.at and self.at in sql:
            self.at = ""
            raise MemoryError
        return super().execute(sql, *args)  # type: ignore[arg-type]  # passed on as they came


async def test_a_defect_in_the_writer_reaches_the_caller(tmp_path: Path, author: Author) -> None:
    """Nobody must wait for ever, whatever went wrong; the next write works."""
    opened = file.open_journal(tmp_path)
    opened.connection.close()
    connection = sqlite3.connect(
        opened.file, factory=Failing, isolation_level=None, check_same_thread=False
    )
    failing = journal.Sqlite(file.Opened(opened.file, connection, opened.lock))
    claim = await failing.acquire(SHARD, Nonce("a"))
    connection.at = "INSERT INTO log"
    records = author(claim)
    with pytest.raises(Exception, match="MemoryError") as defect:
        await failing.append(claim, records, AppendId("1"))
    assert getattr(defect.value, "code", "") == Code.INTERNAL
    assert (await failing.append(claim, records, AppendId("1"))).offset == 1
    await failing.close()


class Stuck(TornCommit):
    """Cannot roll back once, beside losing the answer of a COMMIT."""

    stuck = True

    def rollback(self) -> None:
        if self.stuck:
            self.stuck = False
            raise sqlite3.OperationalError
        super().rollback()


async def test_a_failed_rollback_ends_with_the_next_write(tmp_path: Path, author: Author) -> None:
    """The writer must neither die nor stay in a transaction that nobody ends."""
    opened = file.open_journal(tmp_path)
    opened.connection.close()
    connection = sqlite3.connect(
        opened.file, factory=Stuck, isolation_level=None, check_same_thread=False
    )
    stuck = journal.Sqlite(file.Opened(opened.file, connection, opened.lock))
    claim = await stuck.acquire(SHARD, Nonce("a"))
    records = author(claim)
    connection.torn = "before"
    for _ in range(2):
        with pytest.raises(Unavailable):
            await stuck.append(claim, records, AppendId("1"))
    assert (await stuck.append(claim, records, AppendId("1"))).offset == 1
    await stuck.close()


async def test_a_writer_ends_with_its_event_loop(tmp_path: Path, author: Author) -> None:
    """A program that forgets to close must not leave a thread that talks to nobody."""
    writers = []

    async def forgetful() -> None:
        opened = await Sqlite.open(tmp_path)
        claim = await opened.acquire(SHARD, Nonce("a"))
        asking = opened.append(claim, author(claim), AppendId("1"))
        _ = asyncio.get_running_loop().create_task(asking)
        await asyncio.sleep(0)
        writers.append(opened._writer)

    await asyncio.to_thread(asyncio.run, forgetful())
    writers[0]._handed.put([Asked(transaction.Index(None), None)])
    await asyncio.to_thread(writers[0]._thread.join, 5)
    assert not writers[0]._thread.is_alive()


async def test_what_was_asked_for_before_closing_is_done(tmp_path: Path, author: Author) -> None:
    """Also in the same turn of the event loop; nobody is left without an answer."""
    opened = await Sqlite.open(tmp_path)
    claims = [await opened.acquire(ShardId(n), Nonce(f"{n}")) for n in range(16)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(opened.append(claim, author(claim), AppendId("1")))
            for claim in claims
        ]
        group.create_task(opened._writer.close())
    await opened.close()
    assert [task.result().offset for task in tasks] == [1] * 16


async def test_a_caller_that_gave_up_leaves_the_others_their_answers(
    tmp_path: Path, author: Author
) -> None:
    """A cancelled append may have happened; those beside it must still hear."""
    opened = await Sqlite.open(tmp_path)
    claims = [await opened.acquire(ShardId(n), Nonce(f"{n}")) for n in range(3)]
    tasks = [
        asyncio.get_running_loop().create_task(opened.append(c, author(c), AppendId("1")))
        for c in claims
    ]
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert [(await tasks[n]).offset for n in (0, 2)] == [1, 1]
    await opened.close()


class Counting(sqlite3.Connection):
    """Counts what it commits."""

    commits = 0

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        self.commits += sql == "COMMIT"
        return super().execute(sql, *args)  # type: ignore[arg-type]  # passed on as they came


async def test_a_group_is_bounded(tmp_path: Path, author: Author) -> None:
    """Sixteen appends of a megabyte do not fit one transaction and are written all the same."""
    opened = file.open_journal(tmp_path)
    opened.connection.close()
    connection = sqlite3.connect(
        opened.file, factory=Counting, isolation_level=None, check_same_thread=False
    )
    counted = journal.Sqlite(file.Opened(opened.file, connection, opened.lock))
    claims = [await counted.acquire(ShardId(n), Nonce(f"{n}")) for n in range(16)]
    before = connection.commits
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                counted.append(c, author(c, 1, payload=bytes(1 << 20)), AppendId("1"))
            )
            for c in claims
        ]
    commits = connection.commits - before
    await counted.close()
    assert ([task.result().offset for task in tasks], commits) == ([1] * 16, 2)


async def test_the_indexes_follow_without_being_asked(tmp_path: Path, author: Author) -> None:
    """What a reader would have to wait for stays bounded while nobody reads."""
    opened = await Sqlite.open(tmp_path)
    claim = await opened.acquire(SHARD, Nonce("a"))
    for number in range(10):
        claim = await opened.append(claim, author(claim, 500), AppendId(f"{number}"))
    await opened.close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    (waiting,) = connection.execute(transaction.SQL["unindexed"]).fetchone()
    connection.close()
    assert waiting < 4096


async def test_the_bytes_of_a_page_are_bounded(tmp_path: Path, author: Author) -> None:
    """A thousand records of a megabyte each would be a gigabyte."""
    opened = await Sqlite.open(tmp_path)
    claim = await opened.acquire(SHARD, Nonce("a"))
    for number in range(12):
        records = author(claim, 1, payload=bytes(1 << 20))
        claim = await opened.append(claim, records, AppendId(f"{number}"))
    sizes = [
        sum(len(record.payload) for record in page) async for page in opened.read(SHARD, Offset(0))
    ]
    await opened.close()
    assert (sum(sizes), max(sizes) <= 5 << 20) == (12 << 20, True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path, author: Author) -> None:
    """Whoever is acknowledged is kept; with room made it goes on where it was."""
    opened = await Sqlite.open(small_disk)
    claim = await opened.acquire(SHARD, Nonce("a"))
    written: list[Record] = []
    records, told = author(claim, 1, payload=bytes(20_000)), None
    while told is None:
        try:
            claim = await opened.append(claim, records, AppendId(f"{claim.offset}"))
            written += records
            records = author(claim, 1, payload=bytes(20_000))
        except Unavailable as full:
            told = full
    assert (told.code, "the disk is full" in told.message) == (Code.STORAGE, True)
    remount = ["mount", "-o", "remount,size=8m", str(small_disk)]
    await asyncio.to_thread(subprocess.run, remount, check=True)
    await opened.append(claim, records, AppendId(f"{claim.offset}"))
    written += records
    found = [record async for page in opened.read(SHARD, Offset(0)) for record in page]
    await opened.close()
    assert found == written
