"""etcd: membership, leases, elections and assignment. Built with Go, as one file that calls it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from deploy.stack.artifacts import go_program
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

NAME, VERSION, PORT = "etcd", "3.6.16", 12379

SETTINGS = {
    "auto-compaction-mode": "periodic",
    "auto-compaction-retention": "1h",  # a watch resumes within it; the history stays small
    "quota-backend-bytes": "2147483648",
}
"""Flag -> value, here and in ``compose.yaml``."""

QUICK = {"heartbeat-interval": "50", "election-timeout": "500"}
"""For tests (milliseconds): a new leader within a second, a lease's TTL of 1 s is possible."""


class Etcd(Cluster):
    """A cluster of etcd with quick elections."""

    def __init__(self, folder: Path, members: int = 1) -> None:
        ports = free_ports(2 * members)
        super().__init__(_plans(folder, ports[:members], ports[members:], QUICK))


def shared_plan(folder: Path, port: int) -> Plan:
    """Return the one member that the tests of this machine share."""
    return _plans(folder, [port], [port + 1], {})[0]


def _plans(
    folder: Path, clients: Sequence[int], peers: Sequence[int], more: dict[str, str]
) -> list[Plan]:
    cluster = ",".join(f"etcd-{n}=http://{LOOPBACK}:{peer}" for n, peer in enumerate(peers))
    flags = {"initial-cluster": cluster, "log-level": "warn", **SETTINGS, **more}
    return [
        _plan(folder / f"etcd-{n}", (client, peer), flags)
        for n, (client, peer) in enumerate(zip(clients, peers, strict=True))
    ]


def _plan(folder: Path, ports: tuple[int, int], flags: dict[str, str]) -> Plan:
    client, peer = ports
    own = {
        "name": folder.name,
        "data-dir": str(folder / "data"),
        "listen-client-urls": f"http://{LOOPBACK}:{client}",
        "advertise-client-urls": f"http://{LOOPBACK}:{client}",
        "listen-peer-urls": f"http://{LOOPBACK}:{peer}",
        "initial-advertise-peer-urls": f"http://{LOOPBACK}:{peer}",
    }
    return Plan(
        name=folder.name,
        command=lambda: (
            str(go_program(NAME, ".")),
            *(f"--{flag}={value}" for flag, value in (own | flags).items()),
        ),
        folder=folder,
        address=(LOOPBACK, client),
        also_listens=((LOOPBACK, peer),),
        is_ready=lambda: _healthy(client),
    )


def _healthy(port: int) -> bool:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/health", timeout=2) as answer:
        return bool(json.load(answer)["health"] == "true")
