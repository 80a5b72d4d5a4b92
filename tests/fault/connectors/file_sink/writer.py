"""A process that runs one pipeline's file sink, and is killed by the system at a point.

    python -m tests.fault.connectors.file_sink.writer MODE FOLDER KILL_AT

Its register is a file that is replaced whole, as a database would do it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.fault.connectors.file_sink.test_crash import MODES
from tests.unit.connectors.file_sink.rig import Rig


def load(mode: str, folder: Path) -> Rig:
    """Return the pipeline as its register has it."""
    register = folder / "register.json"
    known = MODES[mode]
    rig = replace(known, target=folder / known.target, points=[])
    if register.exists():
        for name, value in json.loads(register.read_text()).items():
            setattr(rig, name, value)
    return rig


def keep(rig: Rig, folder: Path) -> None:
    """Put run and decision down, in one step."""
    kept = {"run": rig.run, "decided": rig.decided, "decided_rows": rig.decided_rows}
    (folder / "register.new").write_text(json.dumps(kept))
    (folder / "register.new").replace(folder / "register.json")


def main(mode: str, folder: Path, kill_at: int) -> None:
    """Run to the end, or be killed."""
    rig = load(mode, folder)

    def at_point(name: str) -> None:
        if name in {"engine.start", "engine.decided"}:
            keep(rig, folder)
        if len(rig.points) - 1 == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    rig.at_point = at_point
    asyncio.run(rig.live())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
