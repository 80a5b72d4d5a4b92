"""The witness's own environment: made on first use from its lock files, and kept."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.stack import Missing

ROOT = Path(__file__).parents[4]
HERE = Path(__file__).parent
HOME = ROOT / ".venv" / "witness"
WHEELS, SOURCE = HERE / "wheels.lock", HERE / "source.lock"


def python() -> Path:
    """Return the interpreter of an environment that holds what the lock files say.

    Raises:
        Missing: it cannot be made.
    """
    wanted = WHEELS.read_bytes() + SOURCE.read_bytes()
    stamp = HOME / "lock"
    HOME.parent.mkdir(exist_ok=True)
    with (HOME.parent / "witness.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # several processes of one run of tests may begin here
        if not stamp.exists() or stamp.read_bytes() != wanted:
            shutil.rmtree(HOME, ignore_errors=True)
            try:
                _make()
            except subprocess.CalledProcessError as error:
                raise Missing(f"the package etcd3 cannot be installed: {error.stderr}") from error
            stamp.write_bytes(wanted)  # AFTER the rest, so that a broken one is made again
    return HOME / "bin" / "python"


def _make() -> None:
    _run(sys.executable, "-m", "venv", HOME)
    _install("--only-binary", ":all:", "-r", WHEELS)
    _install("--no-build-isolation", "-r", SOURCE)


def _install(*what: str | Path) -> None:
    flags = ["--disable-pip-version-check", "--quiet", "--require-hashes", "--no-deps"]
    _run(HOME / "bin" / "pip", "install", *flags, *what)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
