"""Opening a SQLite journal: whose it is, which version, and whether it is whole."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Corrupted, DataFlowError, Rejected, Unavailable
from dataflow.core.ids import Offset, PipelineId, Run, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import AppendId, Decision, Nonce, Record, Snapshot
from dataflow.journal.sqlite import Sqlite, check, file

Author = Callable[..., list[Record]]

SHARD = ShardId(3)
FLIGHTS = PipelineId("flights")
VERSION_1 = Path(__file__).with_name("version_1.sql")


async def read_all(journal: Sqlite) -> list[Record]:
    """Return the log of the shard that the tests write."""
    return [record async for page in journal.read(SHARD, Offset(0)) for record in page]


@pytest.fixture
async def written(tmp_path: Path, author: Author) -> tuple[Path, list[Record]]:
    """Leave a closed journal with nine records, a decision and a snapshot."""
    journal = await Sqlite.open(tmp_path)
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, 9)
    claim = await journal.append(claim, records, AppendId("1"))
    await journal.decide(claim, [Decision(FLIGHTS, Stamp(), Stamp(Run(1), 1), b"decided here")])
    await journal.save_snapshot(claim, Snapshot(Offset(4), records[3].hash, b"snapped first"))
    await journal.save_snapshot(claim, Snapshot(Offset(5), records[4].hash, b"snapped here"))
    assert await read_all(journal) == records
    await journal.close()
    return tmp_path / file.JOURNAL_FILE, records


def flip(path: Path, part: bytes, *, last: bool = False) -> None:
    """Change one bit of the only place, or the last one, where ``part`` stands."""
    content = bytearray(path.read_bytes())
    place = content.rfind(part) if last else content.find(part)
    assert place >= 0
    content[place] ^= 1
    path.write_bytes(content)


def change(path: Path, statement: str) -> None:
    """Change the database as no journal does."""
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("part", [b"3:5 of flights", b"adac-5"])
async def test_a_flipped_bit_refuses_to_start(
    written: tuple[Path, list[Record]], part: bytes
) -> None:
    """Also where a snapshot covers it: its damage would show when it is too late."""
    flip(written[0], part)
    with pytest.raises(Corrupted, match=r"journal\.db, shard 3: .*record 5 is not what was"):
        await Sqlite.open(written[0].parent)


@pytest.mark.parametrize("part", [b"3:5 of flights", b"adac-5"])
@pytest.mark.parametrize("limit", ["RECORDS_MAX", "BYTES_MAX"])
async def test_a_flipped_bit_in_an_old_record_is_found_when_it_is_read(
    written: tuple[Path, list[Record]], part: bytes, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a payload or beside it: the log says which record, and gives it to nobody."""
    monkeypatch.setattr(check, limit, 3)
    flip(written[0], part)
    journal = await Sqlite.open(written[0].parent)
    with pytest.raises(Corrupted, match=r"journal\.db, shard 3: .*record 5 is not what was"):
        await read_all(journal)
    with pytest.raises(Corrupted, match="shard 3: record 5"):
        await journal.history(FLIGHTS, SequenceNumber(0), 100)
    await journal.close()


async def test_a_flipped_bit_in_the_last_record_is_found_at_once(
    written: tuple[Path, list[Record]],
) -> None:
    """The end is what the next owner builds on: nothing starts on a damaged one."""
    flip(written[0], b"3:9 of flights")
    with pytest.raises(Corrupted, match=r"journal\.db, shard 3: record 9 is not what was written"):
        await Sqlite.open(written[0].parent)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM by_shard WHERE offset = 9", "record 9 is missing"),
        ("DELETE FROM by_shard WHERE offset = 8", "record 8 is missing"),
        ("UPDATE by_shard SET offset = 50 WHERE offset = 5", "record 10 is missing"),
        ("UPDATE shards SET offset = 8", "record 8 is not the end that was acknowledged"),
        ("UPDATE shards SET head = zeroblob(32)", "record 9 is not the end that was acknowledged"),
        ("UPDATE shards SET offset = 12", "record 11 is missing"),
        ("UPDATE log SET payload = 'text' WHERE offset = 9", "record 9"),
        ("UPDATE log SET payload = 9 WHERE offset = 9", "record 9"),
        ("UPDATE log SET time_us = 1e30 WHERE offset = 9", "record 9"),
        ("UPDATE log SET mark = 0 WHERE offset = 9", "record 9"),
        ("DELETE FROM log WHERE offset = 5", "record 5 is missing"),
        ("DELETE FROM log WHERE offset = 1", "record 1 is missing"),
    ],
)
async def test_a_log_with_lost_or_made_up_records_refuses_to_start(
    written: tuple[Path, list[Record]], statement: str, told: str
) -> None:
    """Whatever was lost or made up: the file, the shard and the record are named."""
    change(written[0], statement)
    with pytest.raises(Corrupted, match=rf"journal\.db, shard 3: .*{told}"):
        await Sqlite.open(written[0].parent)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM by_shard WHERE offset = 5", "record 5 is missing"),
        ("DELETE FROM log WHERE offset = 5", "record 5 is missing"),
    ],
)
async def test_a_missing_record_is_found_when_it_is_read(
    written: tuple[Path, list[Record]],
    statement: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gap inside the log must never be passed over, neither by a log nor by a history."""
    monkeypatch.setattr(check, "RECORDS_MAX", 3)
    change(written[0], statement)
    journal = await Sqlite.open(written[0].parent)
    with pytest.raises(Corrupted, match=rf"shard 3: {told}"):
        await read_all(journal)
    with pytest.raises(Corrupted, match="missing"):
        await journal.history(FLIGHTS, SequenceNumber(0), 100)
    await journal.close()


async def test_a_history_with_a_gap_is_corruption(written: tuple[Path, list[Record]]) -> None:
    """Its index alone can be damaged, and then the log does not show it."""
    change(written[0], "DELETE FROM by_pipeline WHERE sequence = 4")
    journal = await Sqlite.open(written[0].parent)
    with pytest.raises(Corrupted, match="pipeline flights: event 4 is missing"):
        await journal.history(FLIGHTS, SequenceNumber(0), 100)
    await journal.close()


async def test_a_damaged_register_is_corruption(written: tuple[Path, list[Record]]) -> None:
    """A run that started from it would lose or repeat rows."""
    flip(written[0], b"decided here")
    journal = await Sqlite.open(written[0].parent)
    with pytest.raises(Corrupted, match="register of pipeline flights"):
        await journal.decision(SHARD, FLIGHTS)
    await journal.close()


async def test_a_damaged_snapshot_is_passed_over(written: tuple[Path, list[Record]]) -> None:
    """The one before leads to the same state, only by a longer way."""
    flip(written[0], b"snapped here")
    journal = await Sqlite.open(written[0].parent)
    found = await journal.load_snapshot(SHARD)
    await journal.close()
    assert found == Snapshot(Offset(4), written[1][3].hash, b"snapped first")


async def test_no_flipped_bit_changes_what_is_read(
    written: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    """Anywhere in the file: either the log is what was written, or somebody is told."""
    path, records = written
    places = random.Random(7)
    whole = path.read_bytes()
    damaged = tmp_path / "damaged"
    told = 0
    for _ in range(150):
        shutil.rmtree(damaged, ignore_errors=True)
        damaged.mkdir()
        content = bytearray(whole)
        used = [place for place in range(len(whole)) if whole[place]]
        content[places.choice(used)] ^= 1 << places.randrange(8)
        (damaged / path.name).write_bytes(content)
        try:
            journal = await Sqlite.open(damaged)
        except DataFlowError:
            told += 1
            continue
        try:
            assert await read_all(journal) == records
        except DataFlowError:
            told += 1
        finally:
            await journal.close()
    assert told > 15, "the flips hit nothing"


@pytest.mark.parametrize("size", [50, 4096, 20_000])
async def test_a_file_that_was_cut_refuses_to_start(
    written: tuple[Path, list[Record]], size: int
) -> None:
    """Half a restored backup must not pass for a short log."""
    with written[0].open("r+b") as opened:
        opened.truncate(size)
    with pytest.raises(Corrupted, match=rf"journal\.db was cut: it has {size} bytes of \d+"):
        await Sqlite.open(written[0].parent)


async def test_a_file_that_is_no_database_refuses_to_start(tmp_path: Path) -> None:
    """It is somebody's file; it must neither be used nor overwritten."""
    path = tmp_path / file.JOURNAL_FILE
    path.write_bytes(b"my notes\n" * 1000)
    with pytest.raises(Corrupted, match=r"journal\.db"):
        await Sqlite.open(tmp_path)
    assert path.read_bytes() == b"my notes\n" * 1000


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """Tables of ours in it would be a surprise to its owner."""
    change(tmp_path / file.JOURNAL_FILE, "CREATE TABLE notes (text)")
    before = (tmp_path / file.JOURNAL_FILE).read_bytes()
    with pytest.raises(Rejected, match="another program"):
        await Sqlite.open(tmp_path)
    assert (tmp_path / file.JOURNAL_FILE).read_bytes() == before


async def test_a_newer_journal_asks_for_the_newer_program(
    written: tuple[Path, list[Record]],
) -> None:
    """An old program would misread what it does not know."""
    change(written[0], "PRAGMA user_version = 99")
    with pytest.raises(Rejected, match=r"newer program \(schema 99; this one knows"):
        await Sqlite.open(written[0].parent)


async def test_a_journal_of_version_1_is_read(tmp_path: Path) -> None:
    """What the first release wrote is read by every later one."""
    connection = sqlite3.connect(tmp_path / file.JOURNAL_FILE)
    connection.executescript(VERSION_1.read_text(encoding="utf-8"))
    connection.close()
    journal = await Sqlite.open(tmp_path)
    claim = await journal.acquire(SHARD, Nonce("b"))
    records = await read_all(journal)
    register = await journal.decision(SHARD, FLIGHTS)
    snapshot = await journal.load_snapshot(SHARD)
    await journal.close()
    assert (claim.fence, claim.offset) == (2, 9)
    assert [record.payload for record in records] == [b"3:%d of flights" % n for n in range(1, 10)]
    assert (register and register.payload, snapshot and snapshot.payload) == (
        b"decided here",
        b"snapped here",
    )


async def test_migrations_run_once_and_in_order(
    written: tuple[Path, list[Record]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later schema is reached from an earlier one with everything in it."""
    later = [
        *file.MIGRATIONS,
        "ALTER TABLE shards ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
        "UPDATE shards SET note = note || ' yet'",
    ]
    monkeypatch.setattr(file, "MIGRATIONS", later)
    for _ in range(2):
        journal = await Sqlite.open(written[0].parent)
        assert await read_all(journal) == written[1]
        await journal.close()
    connection = sqlite3.connect(written[0])
    assert connection.execute("SELECT note FROM shards").fetchone() == ("none yet",)
    connection.close()


async def test_a_migration_that_fails_changes_nothing(
    written: tuple[Path, list[Record]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a migration would be a version that no program knows."""
    broken = "ALTER TABLE shards ADD COLUMN note TEXT; SELECT * FROM nowhere"
    with monkeypatch.context() as patched:
        patched.setattr(file, "MIGRATIONS", [*file.MIGRATIONS, broken])
        with pytest.raises(Unavailable, match="nowhere"):
            await Sqlite.open(written[0].parent)
    mended = [*file.MIGRATIONS, "ALTER TABLE shards ADD COLUMN note TEXT"]
    monkeypatch.setattr(file, "MIGRATIONS", mended)
    journal = await Sqlite.open(written[0].parent)
    assert await read_all(journal) == written[1]
    await journal.close()


async def test_a_folder_in_use_names_the_process(tmp_path: Path) -> None:
    """Two processes that both believe to own every shard would be two logs."""
    script = (
        "import asyncio, pathlib, sys\n"
        "from dataflow.journal.sqlite import Sqlite\n"
        "async def main():\n"
        "    await Sqlite.open(pathlib.Path(sys.argv[1]))\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(  # noqa: ASYNC220 - it runs beside the test, which waits for one line
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(Unavailable, match=f"in use by process {other.pid}") as busy:
            await Sqlite.open(tmp_path)
        other.kill()
    assert busy.value.code is Code.BUSY
    journal = await Sqlite.open(tmp_path)
    await journal.close()


async def test_a_closed_journal_frees_its_folder(tmp_path: Path) -> None:
    """The same process may open it again, and nobody can while it is open."""
    journal = await Sqlite.open(tmp_path)
    with pytest.raises(Unavailable, match=f"in use by process {os.getpid()}"):
        await Sqlite.open(tmp_path)
    await journal.close()
    await (await Sqlite.open(tmp_path)).close()


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The message names the path, for the one who must change it."""
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    with pytest.raises(Unavailable, match="data") as told:
        await Sqlite.open(tmp_path / "data")
    assert told.value.code is Code.STORAGE
