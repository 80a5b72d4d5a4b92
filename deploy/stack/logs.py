"""Which servers this process has to do with, so that a failing test can show their logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.stack.server import Server

_shown: dict[str, Server] = {}


def show(server: Server) -> None:
    """Show the server's log when something fails."""
    _shown[f"{server.plan.folder}"] = server


def forget_ended() -> None:
    """Leave out servers that do not run: nothing that fails from now on is about them."""
    for folder, server in list(_shown.items()):
        if not server.running:
            del _shown[folder]


def tails() -> list[tuple[str, str]]:
    """Return each server's name and log file, and the end of that log."""
    return [(f"{server.plan.name}, {server.log}", server.tail()) for server in _shown.values()]
