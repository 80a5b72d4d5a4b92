"""What a crash leaves in the write-ahead log of a SQLite journal, whole or damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow.core.errors import Corrupted
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import AppendId, Nonce, Record
from dataflow.journal.sqlite import Sqlite, file, wal

Author = Callable[..., list[Record]]

SHARD = ShardId(3)
APPENDS = 30


@pytest.fixture
async def crashed(tmp_path: Path, author: Author) -> Path:
    """Leave what a killed process leaves after thirty appends: no clean close, a full log."""
    journal = await Sqlite.open(tmp_path / "living")
    claim = await journal.acquire(SHARD, Nonce("a"))
    for number in range(APPENDS):
        claim = await journal.append(claim, author(claim), AppendId(f"{number}"))
    image = tmp_path / "crashed"
    image.mkdir()
    for name in (file.JOURNAL_FILE, f"{file.JOURNAL_FILE}-wal"):
        shutil.copy(tmp_path / "living" / name, image)
    await journal.close()
    return image


def log(folder: Path) -> Path:
    """Return the write-ahead log in a folder."""
    return folder / f"{file.JOURNAL_FILE}-wal"


def flip(path: Path, place: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


async def count(folder: Path) -> int:
    """Return how many records the journal in a folder holds."""
    journal = await Sqlite.open(folder)
    try:
        return sum([len(page) async for page in journal.read(SHARD, Offset(0))])
    finally:
        await journal.close()


async def test_a_whole_log_is_read_to_its_end(crashed: Path) -> None:
    """Everything that was acknowledged stands there and nowhere else yet."""
    assert await count(crashed) == APPENDS


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
async def test_a_damaged_log_refuses_to_start(crashed: Path, share: float) -> None:
    """SQLite would go on without what stands behind the damage, and say nothing."""
    before = log(crashed).read_bytes()
    flip(log(crashed), int(len(before) * share))
    with pytest.raises(Corrupted, match=r"journal\.db-wal: frame \d+ is damaged and \d+ ackn"):
        await Sqlite.open(crashed)
    log(crashed).write_bytes(before)
    assert await count(crashed) == APPENDS


@pytest.mark.parametrize("place", [0, 9, 25])
async def test_a_damaged_header_refuses_to_start(crashed: Path, place: int) -> None:
    """Without its header SQLite would take the whole log for empty."""
    flip(log(crashed), place)
    with pytest.raises(Corrupted, match="frame 1 is damaged"):
        await Sqlite.open(crashed)


@pytest.mark.parametrize("cut", [1, wal.PAGE_BYTES, wal.PAGE_BYTES + wal.FRAME_HEADER_BYTES])
async def test_a_torn_last_write_is_no_damage(crashed: Path, cut: int) -> None:
    """A power cut leaves it, and nobody was told that it was durable."""
    content = log(crashed).read_bytes()
    log(crashed).write_bytes(content[:-cut])
    assert await count(crashed) == APPENDS - 1


async def test_a_hole_in_the_last_write_is_no_damage(crashed: Path) -> None:
    """The disk may write the end of a commit and not its beginning."""
    flip(log(crashed), log(crashed).stat().st_size - wal.PAGE_BYTES // 2)
    assert await count(crashed) == APPENDS - 1


async def test_an_empty_log_is_no_damage(crashed: Path) -> None:
    """A process can die between making the file and writing to it."""
    await (await Sqlite.open(crashed)).close()
    log(crashed).write_bytes(b"")
    assert await count(crashed) == APPENDS
