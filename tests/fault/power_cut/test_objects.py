"""An object that was put is there after a power cut, and so is one that was moved."""

from __future__ import annotations

from pathlib import Path

from dataflow.engine.objects import Objects
from tests.fault.power_cut.disk import Disk

KEY, OTHER = "p/letters/1", "q/kept/7"


async def test_what_is_put_survives_with_every_folder_on_the_way(
    disk: Disk, tmp_path: Path
) -> None:
    """A dead letter is read nowhere again once its checkpoint is decided."""
    root = tmp_path / "objects"
    await Objects.local(root).put(KEY, b"a letter")
    assert disk.left_of(root / KEY) == b"a letter"


async def test_what_is_put_again_survives_as_it_is_now(disk: Disk, tmp_path: Path) -> None:
    """The store writes a new file in the place of the old one."""
    objects = Objects.local(tmp_path)
    await objects.put(KEY, b"a letter")
    await objects.put(KEY, b"another")
    assert disk.left_of(tmp_path / KEY) == b"another"


async def test_what_is_moved_survives_under_its_new_key(disk: Disk, tmp_path: Path) -> None:
    """The decision that follows knows the new key alone."""
    objects = Objects.local(tmp_path)
    await objects.put(KEY, b"a letter")
    await objects.move(KEY, OTHER)
    assert disk.left_of(tmp_path / OTHER) == b"a letter"
