"""The writer is frozen by the system: its lock stays with it, and ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.connect import Unavailable
from tests.fault.connectors.file_sink.test_sigkill import ROOT
from tests.fault.connectors.file_sink.writer import load

HOLDER = "tests.fault.connectors.file_sink.frozen"


@pytest.mark.parametrize("mode", ["csv", "parquet parts"])
async def test_a_frozen_writer_keeps_everybody_out_until_it_is_gone(
    mode: str, tmp_path: Path
) -> None:
    """It may wake up in the middle of a write, so nobody takes its lock; and none outlives it."""
    arguments = [sys.executable, "-m", HOLDER, mode, str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.send_signal(signal.SIGSTOP)
            rig = load(mode, tmp_path)
            successor = rig.sink()
            with pytest.raises(Unavailable, match="another writer holds"):
                await successor.open(rig.task(rig.run + 2), rig.last)
            await successor.close()
        finally:
            holder.kill()
    successor = rig.sink()
    await successor.open(rig.task(rig.run + 2), rig.last)
    await successor.close()
