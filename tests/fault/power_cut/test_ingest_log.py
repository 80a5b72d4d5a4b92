"""A pushed batch that was acknowledged is there after a power cut."""

from __future__ import annotations

import shutil
from pathlib import Path

from dataflow.durable import sync_path
from dataflow.engine.ingest.segment import create
from tests.fault.power_cut.disk import Disk
from tests.unit.engine.ingest.pushing import Pushing


async def test_what_is_acknowledged_survives(disk: Disk, tmp_path: Path) -> None:
    """Its sender forgets it; the first batch brings the segment, and the folders it is in."""
    pushing = Pushing(tmp_path / "ingest")
    for n in range(3):
        await pushing.push(f"b{n}", n)
        assert disk.lost() == []
    await pushing.logs.close()


def test_a_new_segment_survives_before_anything_is_written_to_it(
    disk: Disk, tmp_path: Path
) -> None:
    """A header that is torn would make the log unreadable, and with it what came before."""
    made = create(tmp_path, 7, b"schema", b"window")
    assert disk.left_of(made.path) == made.path.read_bytes()


async def test_what_a_killed_process_wrote_survives_from_the_next_open_on(
    disk: Disk, tmp_path: Path
) -> None:
    """It may have been in memory only, and is read and counted from now on."""
    pushing = Pushing(tmp_path / "first")
    await pushing.push("b0", 0)
    await pushing.logs.close()
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    again = Pushing(tmp_path / "second")
    assert await again.numbers() == [0]
    sync_path(tmp_path / "second")
    sync_path(tmp_path)
    assert disk.left_of(again.segments[0]) == again.segments[0].read_bytes()
    await again.logs.close()
