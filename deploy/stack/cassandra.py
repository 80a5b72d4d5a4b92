"""Cassandra: the journal. Its jars come from Maven; each node is one Java process.

Several nodes have the loopback addresses 127.0.0.1, .2, … and one port, as drivers expect.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from deploy.stack import cql
from deploy.stack.artifacts import java, maven_jars
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import free_ports

NAME, VERSION, PORT = "cassandra", "5.0.9", 19042

JAVA_VERSION = 17

SETTINGS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
"""What ``cassandra.yaml`` of every node has, here and in ``compose.yaml``."""

_LOGBACK = Path(__file__).with_name("cassandra_logback.xml").read_text(encoding="utf-8")

_HEAP_ONE, _HEAP_MANY = "1g", "640m"
"""Three nodes and the tests share a machine of 8 GB."""

_TEMPORARY = "temporary"
_TOKENS = 2**64
_EXPORTS = (
    *("java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch"),
    *("java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry"),
    *("java.rmi/sun.rmi.server", "java.sql/java.sql", "java.base/java.lang.ref"),
    *("jdk.unsupported/sun.misc", "jdk.attach/sun.tools.attach"),
)
_OPENS = (
    *("java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect"),
    *("java.base/java.io", "java.base/java.net", "java.base/java.nio", "java.base/java.util"),
    *("java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic"),
    *("java.base/jdk.internal.loader", "java.base/jdk.internal.ref"),
    *("java.base/jdk.internal.reflect", "java.base/jdk.internal.math"),
    *("java.base/jdk.internal.module", "java.base/jdk.internal.util.jar"),
    *("java.base/sun.nio.ch", "java.rmi/sun.rmi.transport.tcp"),
    *("jdk.management/com.sun.management.internal", "jdk.compiler/com.sun.tools.javac.file"),
)
"""As in ``conf/jvm17-server.options`` of Cassandra's own distribution."""


class Cassandra(Cluster):
    """A cluster of Cassandra."""

    def __init__(self, folder: Path, nodes: int = 1) -> None:
        hosts = [_host(node) for node in range(nodes)]
        native, storage = free_ports(2, hosts)
        super().__init__([_plan(folder, node, nodes, (native, storage)) for node in range(nodes)])


def shared_plan(folder: Path, port: int) -> Plan:
    """Return the one node that the tests of this machine share."""
    return _plan(folder, 0, 1, (port, port + 1))


def _plan(folder: Path, node: int, nodes: int, ports: tuple[int, int]) -> Plan:
    name, host, (native, storage) = f"cassandra-{node}", _host(node), ports
    folder = folder / name
    return Plan(
        name=name,
        command=lambda: _command(folder, _HEAP_ONE if nodes == 1 else _HEAP_MANY),
        folder=folder,
        address=(host, native),
        also_listens=((host, storage),),
        is_ready=lambda: cql.peers(host, native) >= nodes - 1,
        files={
            "cassandra.yaml": yaml.safe_dump(SETTINGS | _own(folder, node, nodes, ports)),
            "logback.xml": _LOGBACK,
        },
        folders=(_TEMPORARY,),
    )


def _own(folder: Path, node: int, nodes: int, ports: tuple[int, int]) -> dict[str, object]:
    """Return the settings that differ from node to node."""
    native, storage = ports
    seeds = ",".join(f"{_host(each)}:{storage}" for each in range(nodes))
    provider = "org.apache.cassandra.locator.SimpleSeedProvider"
    return {
        "num_tokens": 1,
        "initial_token": str(_TOKENS // nodes * node - _TOKENS // 2 + 1),
        "auto_bootstrap": False,
        "seed_provider": [{"class_name": provider, "parameters": [{"seeds": seeds}]}],
        "listen_address": _host(node),
        "rpc_address": _host(node),
        "native_transport_port": native,
        "storage_port": storage,
        "data_file_directories": [f"{folder}/data"],
        "commitlog_directory": f"{folder}/commitlog",
        "saved_caches_directory": f"{folder}/saved_caches",
        "hints_directory": f"{folder}/hints",
        "cdc_raw_directory": f"{folder}/cdc_raw",
    }


def _command(folder: Path, heap: str) -> tuple[str, ...]:
    program = java(NAME, JAVA_VERSION)
    jars = maven_jars(NAME)
    agent = next(jars.glob("jamm-*.jar"))
    properties = {
        "jdk.attach.allowAttachSelf": "true",
        "java.net.preferIPv4Stack": "true",
        "java.security.manager": "allow",
        "io.netty.tryReflectionSetAccessible": "true",
        "java.io.tmpdir": f"{folder / _TEMPORARY}",
        "jna.tmpdir": f"{folder / _TEMPORARY}",
        "logback.configurationFile": f"file://{folder}/logback.xml",
        "cassandra.config": f"file://{folder}/cassandra.yaml",
        "cassandra.storagedir": f"{folder}",
        "cassandra.logdir": f"{folder}",
        "cassandra-foreground": "yes",
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        "cassandra.ring_delay_ms": "1000",
        "cassandra.superuser_setup_delay_ms": "0",
        "cassandra.consistent.rangemovement": "false",
        "cassandra.disable_auth_caches_remote_configuration": "true",
    }
    return (
        *(program, "-da", f"-Xms{heap}", f"-Xmx{heap}", "-Xss512k", "-XX:+UseSerialGC"),
        *("-XX:MaxDirectMemorySize=256m", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"),
        f"-javaagent:{agent}",
        *(part for each in _EXPORTS for part in ("--add-exports", f"{each}=ALL-UNNAMED")),
        *(part for each in _OPENS for part in ("--add-opens", f"{each}=ALL-UNNAMED")),
        *(f"-D{key}={value}" for key, value in properties.items()),
        *("-cp", f"{jars}/*", "org.apache.cassandra.service.CassandraDaemon"),
    )


def _host(node: int) -> str:
    return f"127.0.0.{node + 1}"
