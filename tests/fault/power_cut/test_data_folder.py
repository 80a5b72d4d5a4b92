"""The data directory itself is found again after a power cut."""

from __future__ import annotations

from pathlib import Path

from dataflow.journal.sqlite.lock import FolderLock
from tests.fault.power_cut.disk import Disk


def test_a_data_directory_that_was_made_survives_by_its_name(disk: Disk, tmp_path: Path) -> None:
    """What is synced in a folder that nobody finds is lost all the same."""
    folder = tmp_path / "new" / "data"
    FolderLock(folder).release()
    assert disk.left_of(folder) is not None
