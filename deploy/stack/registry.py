"""Apicurio Registry, which speaks the API of Confluent's Schema Registry. It comes from Maven.

3.x runs on Java 21 at least, and takes minutes to be ready; 2.6 runs on Kafka's Java 17.
"""

from __future__ import annotations

import http.client
import tarfile
from pathlib import Path

from deploy.stack.artifacts import java, maven_jars
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

NAME, VERSION, PORT = "registry", "2.6.13.Final", 18081

API = "/apis/ccompat/v7"
"""Below it are the paths of Confluent's API."""

JAVA_VERSION = 17

SETTINGS = {
    "QUARKUS_HTTP_HOST": LOOPBACK,
    "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
}
"""Variable -> value."""

_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_TIMEOUT_S = 5.0


class Registry(Cluster):
    """One server."""

    def __init__(self, folder: Path) -> None:
        super().__init__([shared_plan(folder, free_ports(1)[0])])


def shared_plan(folder: Path, port: int) -> Plan:
    """Return the server on a port. It keeps its schemas in a file."""
    return Plan(
        name=NAME,
        command=lambda: (java(NAME, JAVA_VERSION), *_JVM, "-jar", f"{_program()}"),
        environment={
            **SETTINGS,
            "QUARKUS_HTTP_PORT": f"{port}",
            "REGISTRY_DATASOURCE_URL": f"jdbc:h2:file:{folder}/data/registry;WRITE_DELAY=0",
        },
        folder=folder,
        folders=("data",),
        address=(LOOPBACK, port),
        is_ready=lambda: _answers(port),
    )


def _program() -> Path:
    (program,) = maven_jars(NAME, then=_unpack).glob("*-runner.jar")
    return program


def _unpack(folder: Path) -> None:
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{API}/subjects")
        return connection.getresponse().status == http.HTTPStatus.OK
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
