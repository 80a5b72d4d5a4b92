"""What a server process is, before it runs."""

from __future__ import annotations

import hashlib
import os
import pwd
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.artifacts import tool

DATA = "data"
"""Below a server's folder: what it would be a loss to lose."""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that starting one process needs."""

    name: str
    command: Callable[[], Sequence[str]]
    """Called when it is needed, because it may have to fetch or build the program first."""

    folder: Path
    """What it writes is in here."""

    address: Address
    """Where its clients reach it."""

    is_ready: Callable[[], bool]
    """Asks it once, within a few seconds; an OSError means no."""

    also_listens: Sequence[Address] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Path below the folder -> text, written before each start."""

    folders: Sequence[str] = ()
    """Made below the folder before each start."""

    first: Callable[[], Sequence[Sequence[str]]] = tuple
    """Commands that are run before the first start, and not again.

    One that was cut off begins anew, without the folder ``data``.
    """

    never_root: bool = False
    """It refuses to run as root, and runs as nobody instead."""

    stop_signal: signal.Signals = signal.SIGTERM
    """Asks it to end."""

    @property
    def reached_at(self) -> str:
        """The address as clients write it."""
        host, port = self.address
        return f"{host}:{port}"

    @property
    def digest(self) -> str:
        """What tells this plan from one with other settings."""
        text = repr((self.command(), self.address, self.environment, self.files))
        return hashlib.sha256(text.encode()).hexdigest()


def as_nobody(plan: Plan) -> Sequence[str]:
    """Return what comes before the command of a server that refuses root; for others nothing.

    In a user namespace root's own files look like nobody's own. Another user could not even pass
    the folders above them: root's cache and state, and what pytest makes for tests.

    Raises:
        Missing: the program that makes the namespace is absent.
    """
    if not plan.never_root or os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    users = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
    return (tool(plan.name, "unshare"), "--user", *users, "--")
