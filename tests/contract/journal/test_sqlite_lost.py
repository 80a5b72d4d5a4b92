"""A SQLite journal that is gone: told apart from one that has never been."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflow.core.errors import Code, Corrupted, Unavailable
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import AppendId, Nonce, Record
from dataflow.journal.sqlite import Sqlite, file

Author = Callable[..., list[Record]]

SHARD = ShardId(3)


@pytest.fixture
async def data(tmp_path: Path, author: Author) -> Path:
    """Leave a data directory whose journal holds nine records."""
    folder = tmp_path / "data"
    journal = await Sqlite.open(folder)
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.append(claim, author(claim, 9), AppendId("1"))
    await journal.close()
    return folder


def empty(path: Path) -> None:
    """Leave nothing of what a file held."""
    path.write_bytes(b"")


def beside(folder: Path, name: str) -> Path:
    """Make something that stands beside a journal."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"of use")
    return path


@pytest.mark.parametrize("lose", [Path.unlink, empty], ids=["missing", "empty"])
@pytest.mark.parametrize(
    "left", ["views.db", "ingest/flights", "objects/letters", "journal.db-wal"]
)
async def test_a_lost_journal_is_not_begun_anew(
    data: Path, lose: Callable[[Path], None], left: str
) -> None:
    """A new one would deny every pipeline that the rest of the directory speaks of."""
    lose(data / file.JOURNAL_FILE)
    kept = beside(data, left)
    for _ in range(2):
        with pytest.raises(Corrupted, match=r"journal\.db is (missing|empty)") as told:
            await Sqlite.open(data)
        assert str(data / left.split("/", maxsplit=1)[0]) in told.value.message
        assert "restore the data directory from a backup" in told.value.message
    assert kept.read_bytes() == b"of use"


@pytest.mark.parametrize("made", [(), ("ingest", "objects")], ids=["nothing", "empty folders"])
async def test_a_folder_where_no_journal_has_been_is_begun(
    tmp_path: Path, made: tuple[str, ...]
) -> None:
    """Somebody may have prepared it."""
    for name in made:
        (tmp_path / name).mkdir()
    await (await Sqlite.open(tmp_path)).close()


async def images_of_a_first_start(tmp_path: Path, patched: pytest.MonkeyPatch) -> list[Path]:
    """Return what a process leaves that is killed before any statement of its first start."""
    living, images = tmp_path / "living", tmp_path / "images"
    connect = sqlite3.connect

    def watched(*args: Any, **kwargs: Any) -> sqlite3.Connection:  # noqa: ANN401 - as the driver's
        connection: sqlite3.Connection = connect(*args, **kwargs)
        if not kwargs.get("uri"):
            connection.set_trace_callback(
                lambda _: shutil.copytree(living, images / f"{len([*images.glob('*')]):03}")
            )
        return connection

    images.mkdir()
    with patched.context() as patch:
        patch.setattr(sqlite3, "connect", watched)
        journal = await Sqlite.open(living)
    await journal.close()
    return sorted(images.iterdir())


async def test_a_crash_at_any_point_of_the_first_start_costs_nothing(
    tmp_path: Path, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a beginning must not be taken for a loss: nobody has a backup of it."""
    images = await images_of_a_first_start(tmp_path, monkeypatch)
    assert len(images) > 15
    for image in images:
        journal = await Sqlite.open(image)
        claim = await journal.acquire(SHARD, Nonce("a"))
        await journal.append(claim, author(claim, pipeline=image.name), AppendId("1"))
        assert len([page async for page in journal.read(SHARD, Offset(0))]) == 1
        await journal.close()


async def test_a_journal_whose_first_write_ahead_log_is_lost_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is copied into the file, that log alone holds the tables."""
    image = (await images_of_a_first_start(tmp_path, monkeypatch))[-1]
    (image / f"{file.JOURNAL_FILE}-wal").unlink()
    assert (image / file.JOURNAL_FILE).stat().st_size
    beside(image, "views.db")
    with pytest.raises(Corrupted, match=r"journal\.db is empty, yet .*views\.db is there"):
        await Sqlite.open(image)


async def test_a_folder_in_the_journals_place_is_told(tmp_path: Path) -> None:
    """A volume mounted one level too deep looks like this."""
    (tmp_path / file.JOURNAL_FILE).mkdir()
    with pytest.raises(Unavailable, match=r"journal\.db is a folder; .*data directory") as told:
        await Sqlite.open(tmp_path)
    assert told.value.code is Code.STORAGE


async def test_a_part_that_cannot_be_read_is_told(data: Path) -> None:
    """The message names the file and who must do what, as for every other trouble with it."""
    (data / f"{file.JOURNAL_FILE}-wal").mkdir()
    with pytest.raises(Unavailable, match=r"journal\.db-wal: .*; this user must be able") as told:
        await Sqlite.open(data)
    assert told.value.code is Code.STORAGE
    (data / f"{file.JOURNAL_FILE}-wal").rmdir()
    await (await Sqlite.open(data)).close()
