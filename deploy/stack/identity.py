"""Which process a number means: a pid is given away again, a pid with its start time is not."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

_BOOT = Path("/proc/sys/kernel/random/boot_id")

STOPPED = frozenset("Tt")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for as long as the machine runs and after."""

    pid: int
    started: int
    """Clock ticks from the machine's start to its own."""

    boot: str

    def state(self) -> str | None:
        """Return the letter of its state (proc(5)); None: it has ended, or another has its pid.

        One whose first thread has ended (Z) still has its ports and files while other threads end.
        """
        found = _stat(self.pid)
        if found is None or found.started != self.started or self.boot != _boot():
            return None
        return None if found.state in "ZX" and found.threads <= 1 else found.state


def identify(pid: int) -> Identity:
    """Return who has a number now.

    Raises:
        ProcessLookupError: nobody has.
    """
    if (found := _stat(pid)) is None:
        raise ProcessLookupError(pid)
    return Identity(pid, found.started, _boot())


def tree(root: Identity) -> list[Identity]:
    """Return a running process and those that it and they have started, as of now."""
    children: dict[int, list[Identity]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (stat := _stat(int(folder.name))) is not None:
            child = Identity(int(folder.name), stat.started, root.boot)
            children.setdefault(stat.parent, []).append(child)
    found = [root] if root.state() is not None else []
    for process in found:  # which grows meanwhile
        found += children.get(process.pid, ())
    return found


def save(identity: Identity, path: Path) -> None:
    """Write who it is, at once or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(asdict(identity)), encoding="utf-8")
    beside.replace(path)


def load(path: Path) -> Identity | None:
    """Read who it was; None where nobody has been written."""
    try:
        return Identity(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


class _Stat(NamedTuple):
    state: str
    parent: int
    threads: int
    started: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # AFTER the name, which may hold anything
    return _Stat(fields[0], int(fields[1]), int(fields[17]), int(fields[19]))


def _boot() -> str:
    return _BOOT.read_text(encoding="utf-8").strip()
