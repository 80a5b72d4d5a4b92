"""The servers that this machine has once, for every checkout and every test process on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack import cassandra, etcd, kafka, logs, postgres, registry, s3
from deploy.stack.errors import Missing, NotReady
from deploy.stack.places import locked, state
from deploy.stack.plan import Plan
from deploy.stack.server import Server, start


@dataclass(frozen=True, slots=True)
class Recipe:
    """A kind of server, and where the shared one of it listens."""

    name: str
    version: str
    port: int
    plan: Callable[[Path, int], Plan]


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(etcd.NAME, etcd.VERSION, etcd.PORT, etcd.shared_plan),
        Recipe(cassandra.NAME, cassandra.VERSION, cassandra.PORT, cassandra.shared_plan),
        Recipe(s3.NAME, s3.VERSION, s3.PORT, s3.shared_plan),
        Recipe(kafka.NAME, kafka.VERSION, kafka.PORT, kafka.shared_plan),
        Recipe(postgres.NAME, postgres.VERSION, postgres.PORT, postgres.shared_plan),
        Recipe(registry.NAME, registry.VERSION, registry.PORT, registry.shared_plan),
    )
}

PORT_MAX = 65_535

EXIT_FAILED, EXIT_USAGE, EXIT_MISSING = 1, 2, 3
"""Of ``python -m deploy.stack up``: it should work here but does not; it cannot work here."""

UP_S_MAX = 3_600
"""Longer than building, fetching and starting may take together."""


def shared(name: str) -> str:
    """Return ``host:port`` of the machine's server of a kind, started where it does not run.

    The server outlives this process. What it holds is everybody's: use a key prefix, keyspace or
    bucket folder of your own. Tests that break a server start a private one.

    Raises:
        Missing: this machine cannot have it.
        PortTaken: another program has its port.
        NotReady: it did not start; the message ends with its log.
    """
    server = _server(name)
    if not (server.as_planned and server.answers()):
        _start_apart(name)
    logs.show(server)
    return server.plan.reached_at


def up(name: str) -> str:
    """Start the machine's server of a kind as a child of this process; return its address.

    One that runs with other settings is started again with these.

    Raises:
        Missing, PortTaken, NotReady: as ``shared``.
    """
    server = _server(name)
    with _lock(name):
        if server.running and not server.as_planned:
            server.stop()
        start([server])
    return server.plan.reached_at


def down(name: str) -> bool:
    """Stop the machine's server of a kind; return whether it ran. Its data stays."""
    server = _server(name)
    with _lock(name):
        ran = server.running
        server.stop()
    return ran


def status(name: str) -> str:
    """Say in a line how the machine's server of a kind is."""
    server = _server(name)
    if not server.running:
        return "down"
    how = "ready" if server.answers() else "not ready"
    return f"{how}, {RECIPES[name].version}, {server.plan.reached_at}, pid {server.pid}"


def port(name: str) -> int:
    """Return where the shared server listens; ``STACK_<NAME>_PORT`` chooses another port.

    Raises:
        ValueError: that is no port.
    """
    variable = f"STACK_{name.upper()}_PORT"
    chosen = os.environ.get(variable)
    if chosen is None:
        return RECIPES[name].port
    if not (chosen.isascii() and chosen.isdigit() and 0 < int(chosen) <= PORT_MAX):
        raise ValueError(f"{variable}: {chosen!r} is no port")
    return int(chosen)


def _server(name: str) -> Server:
    recipe = RECIPES[name]
    plan = recipe.plan(_folder(recipe), port(name))
    return Server(plan, kept=True)


def _folder(recipe: Recipe) -> Path:
    """Of the version and the port: another version must not find what this one wrote."""
    return state() / f"{recipe.name}-{recipe.version}-{port(recipe.name)}"


def _lock(name: str) -> AbstractContextManager[None]:
    return locked(state() / f"{name}.lock")


def _start_apart(name: str) -> None:
    """Start it from a process of its own, so that it is no child of a test."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.stack", "up", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=UP_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise NotReady(f"{name} was not up in {UP_S_MAX} s") from late
    if done.returncode == EXIT_MISSING:
        raise Missing(done.stderr.strip())
    if done.returncode:
        raise NotReady(f"{done.stdout}{done.stderr}".strip())
