"""What the views in SQLite add: they outlive the process, and may be thrown away."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.core import events as e
from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.ids import ShardId
from dataflow.views.contract import Query
from dataflow.views.sqlite import Sqlite, file, writer

Owner = Any
"""``conftest.Owner``: events of one shard, in order."""
Opener = Callable[[], Awaitable[Sqlite]]

DAMAGED = "{} is damaged; restart the program: the file is then built again, and nothing is lost"


async def applied(open_sqlite: Opener, owner: Owner) -> Sqlite:
    """Open views that show two events of one pipeline."""
    views = await open_sqlite()
    views.apply(owner("p", e.PipelineCreated(owner.spec()), e.PipelineStarted()))
    await views.settled()
    return views


async def test_what_was_applied_outlives_the_process(open_sqlite: Opener, owner: Owner) -> None:
    """The owner goes on behind the offset that it is told."""
    await applied(open_sqlite, owner)
    views = await open_sqlite()
    applied_offsets = [await views.applied_offset(ShardId(shard)) for shard in (3, 4)]
    assert applied_offsets == [2, 0]
    assert (await views.pipelines(Query()))[1] == 1


async def test_closing_writes_what_waits(open_sqlite: Opener, owner: Owner) -> None:
    """A clean stop leaves nothing to be applied again."""
    views = await open_sqlite()
    views.apply(owner("p", e.PipelineCreated(owner.spec())))
    views = await open_sqlite()
    assert await views.applied_offset(ShardId(3)) == 1


async def test_the_offset_never_goes_back(open_sqlite: Opener, owner: Owner) -> None:
    """An event applied again is older than what the file already shows."""
    views = await open_sqlite()
    made = owner("p", e.PipelineCreated(owner.spec()), e.PipelineStarted())
    views.apply(made)
    await views.settled()
    views.apply(made[:1])
    views = await open_sqlite()
    assert await views.applied_offset(ShardId(3)) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"rubbish" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:6000]),
        lambda path: _change(path, "PRAGMA user_version = 99"),
        lambda path: path.unlink(),
    ],
    ids=["rubbish", "cut", "another version", "gone"],
)
async def test_views_that_are_no_good_begin_anew(
    open_sqlite: Opener, owner: Owner, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """Everything follows from the journal: damage costs a replay and stops nobody."""
    await (await applied(open_sqlite, owner)).close()
    spoil(tmp_path / file.VIEWS_FILE)
    views = await open_sqlite()
    assert (await views.applied_offset(ShardId(3)), await views.pipelines(Query())) == (0, ([], 0))
    views.apply(owner("q", e.PipelineCreated(owner.spec())))
    await views.settled()
    assert (await views.pipelines(Query()))[1] == 1


def _change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """It only happens to have the name; its owner wants it back as it was."""
    path = tmp_path / file.VIEWS_FILE
    _change(path, "CREATE TABLE notes (text)")
    before = path.read_bytes()
    with pytest.raises(Rejected, match="another program"):
        await Sqlite.open(tmp_path)
    assert path.read_bytes() == before


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The message names the file, for the one who must make room for it."""
    with pytest.raises(Unavailable, match=r"nowhere/views\.db") as told:
        await Sqlite.open(tmp_path / "nowhere")
    assert told.value.code is Code.STORAGE


async def test_damage_found_by_a_query_is_mended_by_the_next_start(
    open_sqlite: Opener, owner: Owner, tmp_path: Path
) -> None:
    """Deep in the file nobody looks at the start; whoever meets it is told what to do."""
    views = await open_sqlite()
    for number in range(300):
        views.apply(owner(f"p{number}", e.PipelineCreated(owner.spec(description="x" * 300))))
    await views.close()
    path = tmp_path / file.VIEWS_FILE
    content = bytearray(path.read_bytes())
    for start in range(4096 * 8, len(content), 4096):
        content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    views = await open_sqlite()
    for _ in range(2):
        with pytest.raises(Unavailable) as told:
            await views.pipelines(Query(limit=1000))
        assert told.value.message == DAMAGED.format(path)
    views = await open_sqlite()
    assert (await views.applied_offset(ShardId(3)), await views.pipelines(Query())) == (0, ([], 0))


async def test_a_value_that_nobody_wrote_is_damage(
    open_sqlite: Opener, owner: Owner, tmp_path: Path
) -> None:
    """SQLite has no checksums: a flipped bit in a row shows only in what the row then says."""
    await (await applied(open_sqlite, owner)).close()
    path = tmp_path / file.VIEWS_FILE
    _change(path, "UPDATE pipelines SET labels = 'cut {', created_us = 'noon'")
    views = await open_sqlite()
    with pytest.raises(Unavailable) as told:
        await views.pipelines(Query())
    assert told.value.message == DAMAGED.format(path)
    assert await (await open_sqlite()).applied_offset(ShardId(3)) == 0


async def test_a_query_that_fits_no_parameter_is_no_damage(
    open_sqlite: Opener, owner: Owner
) -> None:
    """A caller's odd text must not cost everybody the views."""
    views = await applied(open_sqlite, owner)
    with pytest.raises(UnicodeEncodeError):
        await views.pipelines(Query(text="\ud800"))
    assert await (await open_sqlite()).applied_offset(ShardId(3)) == 2


async def test_a_file_that_cannot_be_read_now_is_told_without_the_query(
    open_sqlite: Opener, owner: Owner
) -> None:
    """What a caller looked for helps nobody with a disk, and is not for the log."""
    views = await applied(open_sqlite, owner)
    for connection in views._reader._idle:
        connection.set_progress_handler(lambda: 1, 1)
    with pytest.raises(Unavailable, match=r"views\.db.*interrupted") as told:
        await views.pipelines(Query(text="secret"))
    assert "secret" not in told.value.message


async def test_a_writer_that_meets_damage_says_so_and_stops(
    open_sqlite: Opener, owner: Owner, tmp_path: Path
) -> None:
    """Nothing may wait for ever, and the next start begins anew."""
    await (await applied(open_sqlite, owner)).close()
    path = tmp_path / file.VIEWS_FILE
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(b ^ 0xFF for b in content[4096:]))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writing = writer.Writer(connection, path)
    writing.apply(owner("p", e.PipelinePaused()))
    for _ in range(2):
        with pytest.raises(Unavailable) as told:
            await writing.settled()
        assert told.value.message == DAMAGED.format(path)
    assert not path.exists()
    await writing.close()


async def test_a_writer_that_cannot_go_on_says_so_and_stops(
    open_sqlite: Opener, owner: Owner
) -> None:
    """Nothing may wait for ever, and the next start begins anew."""
    views = await applied(open_sqlite, owner)
    views._writer._connection.execute("DROP TABLE applied")
    views._writer._connection.execute("CREATE TABLE applied (shard NOT NULL CHECK (0), offset)")
    views.apply(owner("p", e.PipelinePaused()))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await views.settled()


async def test_an_event_that_fits_no_column_is_told(open_sqlite: Opener, owner: Owner) -> None:
    """A defect of this program: the command path goes on, the views say that they do not."""
    views = await applied(open_sqlite, owner)
    views.apply(owner("p", e.PipelinePaused(), e.ConfigUpdated(spec=owner.spec("\ud800"))))
    with pytest.raises(Unavailable, match="the views have stopped"):
        await views.settled()
    views = await open_sqlite()
    assert await views.applied_offset(ShardId(3)) == 2


async def test_views_end_with_their_event_loop(tmp_path: Path, owner: Owner) -> None:
    """A program that forgets to close must not leave a thread that talks to nobody."""
    writers: list[writer.Writer] = []

    async def forgetful() -> None:
        views = await Sqlite.open(tmp_path)
        views.apply(owner("p", e.PipelineCreated(owner.spec())))
        writers.append(views._writer)

    await asyncio.to_thread(asyncio.run, forgetful())
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writers[0]._handed.put(waiting)
    await asyncio.to_thread(writers[0]._thread.join, 5)
    assert not writers[0]._thread.is_alive()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 512 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def test_what_a_full_disk_refused_is_written_later(small_disk: Path, owner: Owner) -> None:
    """With room made, the next to wait finds everything."""
    views = await Sqlite.open(small_disk)
    made = [
        projected
        for n in range(300)
        for projected in owner(f"p{n}", e.PipelineCreated(owner.spec(description="x" * 3000)))
    ]
    views.apply(made)
    with pytest.raises(Unavailable, match="the disk is full") as full:
        await views.settled()
    assert full.value.code is Code.STORAGE
    remount = ["mount", "-o", "remount,size=16m", str(small_disk)]
    await asyncio.to_thread(subprocess.run, remount, check=True)
    await views.settled()
    assert (await views.pipelines(Query()))[1] == 300
    await views.close()


async def test_what_waits_for_a_full_disk_is_bounded(
    small_disk: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views are worth no memory without end: the next start brings them up to date."""
    monkeypatch.setattr(writer, "WAITING_MAX", 200)
    views = await Sqlite.open(small_disk)
    for n in range(300):
        views.apply(owner(f"p{n}", e.PipelineCreated(owner.spec(description="x" * 3000))))
    with pytest.raises(Unavailable, match="start again to bring them up to date"):
        await views.settled()
    views.apply(owner("late", e.PipelineCreated(owner.spec())))
    with pytest.raises(Unavailable, match="start again"):
        await views.settled()
    assert views._writer._waiting == []
    await views.close()
