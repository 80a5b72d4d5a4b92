"""The cluster of compose.yaml, as processes: no test can start containers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cassandra.cluster import Session

from deploy.stack import S3, Etcd, NotReady
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

COMPOSE = Path(__file__).parents[3] / "deploy" / "compose.yaml"
PROGRAMS: dict[str, dict[str, Any]] = {
    name: service
    for name, service in yaml.safe_load(COMPOSE.read_text())["services"].items()
    if service["image"].startswith("dataflow:")
}


@pytest.fixture(scope="session")
def programs(
    tmp_path_factory: pytest.TempPathFactory, cassandra: str, cassandra_session: Session
) -> Iterator[dict[str, str]]:
    """Return where each program of the file serves HTTP: with its settings, ready, and together.

    Its tests are one group, so that one worker starts them.
    """
    folder = tmp_path_factory.mktemp("programs")
    keyspace = f"compose_{os.getpid()}"
    with Etcd(folder / "etcd") as etcd, S3(folder / "s3") as store:
        here = {
            "etcd:2379": etcd.address,
            "cassandra:9042": cassandra,
            "http://s3:7070": f"http://{store.address}",
        }
        plans = [_plan(folder / name, name, here, keyspace) for name in PROGRAMS]
        with closing(Cluster(plans)) as cluster:
            _start(cluster)
            yield dict(zip(PROGRAMS, cluster.addresses, strict=True))
    cassandra_session.execute(f"DROP KEYSPACE IF EXISTS {keyspace}")


def _start(cluster: Cluster) -> None:
    """Start the programs as Docker does, which restarts one that a busy store made end."""
    for _ in range(2):
        with suppress(NotReady):
            cluster.start()
    cluster.start()  # those that run stay as they are


def _plan(folder: Path, name: str, stores: dict[str, str], keyspace: str) -> Plan:
    """Return a service's program with its variables, at addresses of this machine."""
    http, grpc, node = free_ports(3)
    here = stores | {
        "0.0.0.0:8080": f"{LOOPBACK}:{http}",
        "0.0.0.0:50051": f"{LOOPBACK}:{grpc}",
        "0.0.0.0:50061": f"{LOOPBACK}:{node}",
        f"{name}:50061": f"{LOOPBACK}:{node}",
    }
    told = {each: str(text) for each, text in PROGRAMS[name]["environment"].items()}
    program = Path(sys.executable).with_name(PROGRAMS[name]["command"][0])
    return Plan(
        name=name,
        command=lambda: (f"{program}",),
        folder=folder,
        address=(LOOPBACK, http),
        is_ready=partial(_sees_all, http),
        environment={each: here.get(text, text) for each, text in told.items()}
        | {"DATAFLOW_CASSANDRA_KEYSPACE": keyspace},
    )


def _sees_all(port: int) -> bool:
    """Ask a program whether it is ready and knows every node; the gateway is none."""
    try:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=5) as client:
            ready = client.get("/ready").status_code == httpx.codes.OK
            nodes = client.get("/api/v1/cluster/nodes").json().get("nodes", [])
    except httpx.TransportError as error:
        raise ConnectionError(f"{error}") from error
    return ready and len(nodes) == len(PROGRAMS) - 1
