"""What the system refuses: told with the path and the remedy, and nothing is lost."""

from __future__ import annotations

import os
import resource
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.connect import Rejected, Unavailable
from tests.unit.connectors.file_sink.rig import ROWS, Rig, batch_of

NOBODY = 65_534
MODES = {
    "csv": Rig(Path("out.csv")),
    "parquet": Rig(Path("out.parquet")),
    "csv parts": Rig(Path("out"), {"format": "csv"}),
    "parquet parts": Rig(Path("out"), {"format": "parquet"}),
}


@contextmanager
def room_for(size: int) -> Generator[None]:
    """Let files grow to ``size`` and no further, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def unprivileged() -> Generator[None]:
    """Be an ordinary user, whom permissions bind."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_full_disk_is_told_and_the_next_run_goes_on_when_there_is_room(
    mode: str, tmp_path: Path
) -> None:
    """A failed write leaves half a row behind, and no more than that is cut."""
    rig = MODES[mode].fresh(tmp_path)
    await rig.live(final=False, checkpoints=1)
    decided = rig.decided
    with room_for(1500 if "parquet" in mode else 500), pytest.raises(Unavailable) as raised:
        await rig.live()
    assert raised.value.code == "STORAGE"
    assert "make room" in raised.value.message
    assert str(tmp_path) in raised.value.message
    assert rig.decided_rows < ROWS
    await rig.live()
    assert decided != rig.decided
    assert (rig.visible(), rig.hidden()) == ([*range(ROWS)], [])


@pytest.mark.parametrize("mode", MODES)
async def test_a_folder_without_permission_is_named(mode: str, tmp_path: Path) -> None:
    """Trying again would not help; somebody has to grant it."""
    (tmp_path / "closed").mkdir(mode=0o500)
    rig = MODES[mode].fresh(tmp_path / "closed")
    sink = rig.sink()
    with unprivileged(), pytest.raises(Rejected) as raised:
        await sink.open(rig.task(), None)
    await sink.close()
    assert raised.value.code == "PERMISSION"
    assert str(rig.target) in raised.value.message


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
async def test_a_directory_where_a_file_is_meant_is_refused(name: str, tmp_path: Path) -> None:
    """The name says file, the disk says directory."""
    (tmp_path / name).mkdir()
    rig = Rig(tmp_path / name)
    sink = rig.sink()
    with pytest.raises(Rejected, match=r"out\.[a-z]+ is no regular file"):
        await sink.open(rig.task(), None)
    await sink.close()


async def test_a_file_where_a_directory_is_meant_is_refused(tmp_path: Path) -> None:
    """The name says directory, the disk says file."""
    (tmp_path / "out").write_text("mine")
    rig = Rig(tmp_path / "out", {"format": "csv"})
    sink = rig.sink()
    with pytest.raises(Rejected, match="Not a directory"):
        await sink.open(rig.task(), None)
    await sink.close()
    assert (tmp_path / "out").read_text() == "mine"


async def test_rows_so_far_in_another_place_are_not_forgotten(tmp_path: Path) -> None:
    """A changed path within a lineage would split the rows in two without a word."""
    rig = Rig(tmp_path / "a.csv")
    await rig.live(final=False, checkpoints=1)
    with pytest.raises(Rejected, match=r"a\.csv; change the path back") as raised:
        await replace(rig, target=tmp_path / "b.csv").live()
    assert raised.value.code == "SINK_CHANGED"


async def test_closing_drops_what_was_not_prepared(tmp_path: Path) -> None:
    """A reader of a stopped pipeline's file sees decided rows alone."""
    rig = Rig(tmp_path / "a.csv")
    sink = rig.sink()
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    await sink.write(batch_of(0, 5))
    await sink.prepare(1, final=False)
    await sink.write(batch_of(5, 10))
    await sink.close()
    assert rig.visible() == [0, 1, 2, 3, 4]
