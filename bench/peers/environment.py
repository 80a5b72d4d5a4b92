"""A peer's own environment: made on first use from its lock file, and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = Path(__file__).parent
ENVIRONMENTS = ROOT / ".venv" / "peers"

NAMES = tuple(sorted(lock.stem for lock in LOCKS.glob("*.lock")))
"""Every peer with an environment of its own; others need nothing that the project does not."""

RUN_S_MAX = 1800
"""Of one run: 12 million rows at the slowest rate that was measured take a minute."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What some work took: of the process that did it."""

    seconds: float
    cpu_s: float
    peak_rss_mib: float


def run(peer: str, *arguments: str | Path) -> Taken:
    """Let a peer do what the arguments tell its program."""
    python = _python(peer) if peer in NAMES else sys.executable
    done = subprocess.run(
        [python, "-m", f"bench.peers.run_{peer}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=RUN_S_MAX,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Taken(**json.loads(done.stdout.splitlines()[-1]))


def _python(peer: str) -> Path:
    """Return the interpreter of a peer's own environment, which holds what its lock file says."""
    lock, home = LOCKS / f"{peer}.lock", ENVIRONMENTS / peer
    stamp = home / "lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = f"{home}/bin/pip"
        flags = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", f"{lock}"]
        subprocess.run(
            [pip, "install", "--disable-pip-version-check", "--quiet", *flags], check=True
        )
        shutil.copyfile(lock, stamp)  # AFTER the installation, so that a broken one is made again
    return home / "bin" / "python"
