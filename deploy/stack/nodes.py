"""The platform's own programs as servers: nodes and gateways over etcd and Cassandra."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

ANSWER_S_MAX = 5


@dataclass(frozen=True, slots=True)
class Stores:
    """Where nodes coordinate, and where they remember."""

    etcd: Sequence[str]
    cassandra: Sequence[str]
    cluster: str = "dataflow"
    """Its name: the keys in etcd and the keyspace in Cassandra."""


class Programs(Cluster):
    """Processes of one program, each with its own ports for HTTP, gRPC and other nodes.

    Their log is the standard error: what console sinks show on the standard output is dropped.
    """

    PROGRAM = ""

    def __init__(
        self, folder: Path, names: Sequence[str], stores: Stores, **settings: object
    ) -> None:
        self.names = tuple(names)
        self._ports = [free_ports(3) for _ in names]
        common = _common(stores) | {"DATAFLOW_OBJECT_STORE": f"file://{folder.resolve()}/objects"}
        super().__init__(
            [
                self._plan(folder / name, name, ports, common | _texts(settings))
                for name, ports in zip(names, self._ports, strict=True)
            ]
        )

    def http(self, member: int = 0) -> str:
        """Return ``host:port`` of a member's HTTP."""
        return f"{LOOPBACK}:{self._ports[member][0]}"

    def grpc(self, member: int = 0) -> str:
        """Return ``host:port`` of a member's gRPC, for its clients."""
        return f"{LOOPBACK}:{self._ports[member][1]}"

    def _plan(
        self, folder: Path, name: str, ports: Sequence[int], settings: dict[str, str]
    ) -> Plan:
        web, rpc, link = ports
        own = {
            "DATAFLOW_NODE_ID": name,
            "DATAFLOW_HTTP_ADDRESS": f"{LOOPBACK}:{web}",
            "DATAFLOW_GRPC_ADDRESS": f"{LOOPBACK}:{rpc}",
            "DATAFLOW_NODE_ADDRESS": f"{LOOPBACK}:{link}",
            "DATAFLOW_DATA_DIR": f"{folder}/data",
        }
        program = Path(sys.executable).with_name(self.PROGRAM)
        return Plan(
            name=f"{self.PROGRAM} {name}",
            command=lambda: ("sh", "-c", f'exec "{program}" >/dev/null'),
            folder=folder,
            address=(LOOPBACK, web),
            also_listens=((LOOPBACK, rpc), (LOOPBACK, link)),
            is_ready=partial(_is_ready, web),
            environment=own | settings,
        )


class Nodes(Programs):
    """Nodes of one cluster; a second object over the same stores is more nodes of it."""

    PROGRAM = "dataflow-node"


class Gateways(Programs):
    """Gateways alone, which own nothing."""

    PROGRAM = "dataflow-gateway"


def _common(stores: Stores) -> dict[str, str]:
    return {
        "DATAFLOW_CLUSTER": stores.cluster,
        "DATAFLOW_ETCD_ENDPOINTS": ",".join(stores.etcd),
        "DATAFLOW_CASSANDRA_CONTACT_POINTS": ",".join(stores.cassandra),
        "DATAFLOW_CASSANDRA_KEYSPACE": stores.cluster,
        "DATAFLOW_LOG_FORMAT": "json",
    }


def _texts(settings: dict[str, object]) -> dict[str, str]:
    """Return settings by the names of their variables; a name with its prefix stays as it is."""
    return {
        name if name.isupper() else f"DATAFLOW_{name.upper()}": f"{value}"
        for name, value in settings.items()
    }


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
