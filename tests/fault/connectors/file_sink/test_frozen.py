"""The writer is frozen by the system: its lock stays with it, and ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataflow.connect import Unavailable
from tests.fault.connectors.file_sink.test_sigkill import ROOT
from tests.fault.connectors.file_sink.writer import load

HOLDER = "tests.fault.connectors.file_sink.frozen"


@contextmanager
def frozen(mode: str, folder: Path) -> Iterator[None]:
    """Have a writer that holds the lock and does not move; on leaving it is gone."""
    arguments = [sys.executable, "-m", HOLDER, mode, str(folder)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.send_signal(signal.SIGSTOP)
            yield
        finally:
            holder.kill()


@pytest.mark.parametrize("mode", ["csv", "parquet parts"])
async def test_a_frozen_writer_keeps_everybody_out_until_it_is_gone(
    mode: str, tmp_path: Path
) -> None:
    """It may wake up in the middle of a write, so nobody takes its lock; and none outlives it."""
    rig = load(mode, tmp_path)
    with frozen(mode, tmp_path):
        successor = rig.sink()
        with pytest.raises(Unavailable, match="another writer holds"):
            await successor.open(rig.task(rig.run + 2), rig.last)
        await successor.close()
    successor = rig.sink()
    await successor.open(rig.task(rig.run + 2), rig.last)
    await successor.close()
