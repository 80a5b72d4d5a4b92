"""PostgreSQL: read models, sources, sinks. Its programs come from Maven, built for embedding.

It refuses to run as root, so root runs it in a user namespace, as ``nobody``.
"""

from __future__ import annotations

import platform
import signal
import socket
import struct
import tarfile
import zipfile
from pathlib import Path

from deploy.stack.artifacts import maven_jars
from deploy.stack.cluster import Cluster
from deploy.stack.errors import Missing
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

NAME, VERSION, PORT = "postgres", "15.19", 15432
USER = "postgres"
"""Has every right, and needs no password."""

SETTINGS = {"wal_level": "logical", "max_wal_senders": "10", "max_replication_slots": "10"}
"""Parameter -> value, here and in ``compose.yaml``: changes can be read from the log."""

INITDB = ("--encoding=UTF8", "--locale=C.UTF-8")
"""Here and in ``compose.yaml``."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64v8"}
_PROTOCOL = 3 << 16
_READY = b"R"
_TIMEOUT_S = 2.0


class Postgres(Cluster):
    """One server."""

    def __init__(self, folder: Path) -> None:
        super().__init__([shared_plan(folder, free_ports(1)[0])])


def shared_plan(folder: Path, port: int) -> Plan:
    """Return the server on a port."""
    own = {"listen_addresses": LOOPBACK, "port": f"{port}", "unix_socket_directories": ""}
    settings = [f"-c{name}={value}" for name, value in (SETTINGS | own).items()]
    data = f"{folder}/data"
    return Plan(
        name=NAME,
        command=lambda: (f"{_programs()}/bin/postgres", "-D", data, *settings),
        first=lambda: [
            (f"{_programs()}/bin/initdb", "-D", data, "-U", USER, "--auth=trust", *INITDB)
        ],
        folder=folder,
        address=(LOOPBACK, port),
        is_ready=lambda: _accepts(port),
        never_root=True,
        stop_signal=signal.SIGINT,  # SIGTERM would wait until every client has left
    )


def _programs() -> Path:
    """Return the folder with ``bin``, ``lib`` and ``share``.

    Raises:
        Missing: there are none for this machine.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise Missing(f"{NAME}: there are no programs for {machine}; use a server of your own")
    return maven_jars(NAME, [f"-Darchitecture={_ARCHITECTURES[machine]}"], _unpack)


def _unpack(folder: Path) -> None:
    (jar,) = folder.glob("*.jar")
    with zipfile.ZipFile(jar) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".txz"))
        with outer.open(name) as inner, tarfile.open(fileobj=inner, mode="r|xz") as archive:
            archive.extractall(folder, filter="data")


def _accepts(port: int) -> bool:
    """Log on: while it recovers it refuses that."""
    with socket.create_connection((LOOPBACK, port), _TIMEOUT_S) as connection:
        body = struct.pack(">i", _PROTOCOL) + f"user\0{USER}\0database\0{USER}\0\0".encode()
        connection.sendall(struct.pack(">i", len(body) + 4) + body)
        accepted = connection.recv(1) == _READY
        connection.sendall(b"X\0\0\0\x04")  # Terminate
        return accepted
