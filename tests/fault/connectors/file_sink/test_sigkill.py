"""The system kills the writer: no ``finally`` runs, no file is closed, no buffer is flushed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.connectors.file_sink.test_crash import ALL
from tests.fault.connectors.file_sink.writer import load

WRITER = "tests.fault.connectors.file_sink.writer"
ROOT = Path(__file__).parents[4]


def write(mode: str, folder: Path, kill_at: int) -> subprocess.CompletedProcess[str]:
    """Run the writer once."""
    arguments = [sys.executable, "-m", WRITER, mode, str(folder), str(kill_at)]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["csv", "csv.gz", "parquet", "csv parts", "parquet parts"])
def test_killed_again_and_again_it_shows_every_row_once(mode: str, tmp_path: Path) -> None:
    """Each life ends a little later than the one before, and the last one finishes."""
    for life, kill_at in enumerate((9, 3, 14, 5, 20, 8)):
        ended = write(mode, tmp_path, kill_at)
        assert (life, ended.returncode, ended.stderr) == (life, -signal.SIGKILL, "")
        rig = load(mode, tmp_path)
        if "parts" in mode or mode == "parquet":
            assert len(rig.visible()) <= rig.decided_rows
    assert write(mode, tmp_path, -1).returncode == 0
    rig = load(mode, tmp_path)
    assert (rig.visible(), rig.hidden()) == (ALL, [])
