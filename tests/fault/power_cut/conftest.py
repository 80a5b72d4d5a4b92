"""A disk that a test can pull the plug of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.power_cut.disk import Disk


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Return what is known of the disk below the test's folder, while fsync is watched."""
    made = Disk(tmp_path)
    monkeypatch.setattr("os.fsync", made.fsync)
    return made
