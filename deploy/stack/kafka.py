"""Kafka: the event bus and the ingest log. Its jars come from Maven; each broker is one process."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from deploy.stack.artifacts import java, maven_jars
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

NAME, VERSION, PORT = "kafka", "4.0.2", 19092

JAVA_VERSION = 17

SETTINGS = {
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",  # a misspelt topic is an error
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "16777216",
}
"""Property -> value, here and in ``compose.yaml``."""

CLUSTER_ID = "ZGF0YWZsb3ctY2x1c3Rlcg"
"""16 bytes in base64, as Kafka wants them: "dataflow-cluster"."""

_LOG4J = Path(__file__).with_name("kafka_log4j2.properties").read_text(encoding="utf-8")
_REPLICAS_MAX = 3
_METADATA, _VERSION, _NO_TOPICS = 3, 1, 0
_TIMEOUT_S = 2.0


class Kafka(Cluster):
    """A cluster of brokers that are controllers, too."""

    def __init__(self, folder: Path, brokers: int = 1) -> None:
        ports = free_ports(2 * brokers)
        pairs = list(zip(ports[:brokers], ports[brokers:], strict=True))
        super().__init__([_plan(folder, node, pairs) for node in range(brokers)])


def shared_plan(folder: Path, port: int) -> Plan:
    """Return the one broker that the tests of this machine share."""
    return _plan(folder, 0, [(port, port + 1)])


def replication(brokers: int) -> dict[str, str]:
    """Return the settings that follow from the number of brokers."""
    replicas = min(_REPLICAS_MAX, brokers)
    in_sync = max(1, replicas - 1)
    return {
        "default.replication.factor": f"{replicas}",
        "offsets.topic.replication.factor": f"{replicas}",
        "transaction.state.log.replication.factor": f"{replicas}",
        "min.insync.replicas": f"{in_sync}",
        "transaction.state.log.min.isr": f"{in_sync}",
    }


def _plan(folder: Path, node: int, ports: Sequence[tuple[int, int]]) -> Plan:
    name, (client, controller) = f"kafka-{node}", ports[node]
    folder = folder / name
    own = {
        "process.roles": "broker,controller",
        "node.id": f"{node}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{client},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{client}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.quorum.voters": ",".join(
            f"{each}@{LOOPBACK}:{port}" for each, (_, port) in enumerate(ports)
        ),
        "log.dirs": f"{folder}/data",
    }
    settings = SETTINGS | replication(len(ports)) | own
    return Plan(
        name=name,
        command=lambda: _java(folder, "kafka.Kafka", "server.properties"),
        first=lambda: [
            _java(
                *(folder, "kafka.tools.StorageTool", "format"),
                *("--cluster-id", CLUSTER_ID, "--config", "server.properties"),
            )
        ],
        folder=folder,
        address=(LOOPBACK, client),
        also_listens=((LOOPBACK, controller),),
        is_ready=lambda: brokers_known(LOOPBACK, client) == len(ports),
        files={
            "server.properties": "".join(f"{key}={value}\n" for key, value in settings.items()),
            "log4j2.properties": _LOG4J,
        },
    )


def _java(folder: Path, *arguments: str) -> tuple[str, ...]:
    return (
        *(java(NAME, JAVA_VERSION), "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC"),
        f"-Dlog4j2.configurationFile={folder}/log4j2.properties",
        *("-cp", f"{maven_jars(NAME)}/*", *arguments),
    )


def brokers_known(host: str, port: int) -> int:
    """Ask a broker how many take part; one that starts answers before it counts itself.

    Raises:
        OSError: it does not answer yet.
    """
    with socket.create_connection((host, port), _TIMEOUT_S) as connection:
        client = b"ready"
        head = struct.pack(">hhih", _METADATA, _VERSION, 0, len(client)) + client
        request = head + struct.pack(">i", _NO_TOPICS)
        connection.sendall(struct.pack(">i", len(request)) + request)
        _size, _correlation, brokers = struct.unpack(">iii", _receive(connection, 12))
        return int(brokers)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        if not (more := connection.recv(size - len(received))):
            raise ConnectionError("closed")
        received += more
    return received
