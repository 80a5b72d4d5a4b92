"""Cassandra: the journal, of one node. Its jars come from Maven."""

from __future__ import annotations

from pathlib import Path

import yaml

from deploy.stack import cql
from deploy.stack.artifacts import java, maven_jars
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

NAME, VERSION, PORT = "cassandra", "5.0.9", 19042

JAVA_VERSION = 17

SETTINGS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
"""What ``cassandra.yaml`` of every node has, here and in ``compose.yaml``."""

_LOGBACK = Path(__file__).with_name("cassandra_logback.xml").read_text(encoding="utf-8")

_HEAP = "1g"
_NODE = "cassandra-0"

_TEMPORARY = "temporary"
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
    """A Cassandra of its own."""

    def __init__(self, folder: Path) -> None:
        native, storage = free_ports(2)
        super().__init__([_plan(folder, native, storage)])


def shared_plan(folder: Path, port: int) -> Plan:
    """Return the one node that the tests of this machine share."""
    return _plan(folder, port, port + 1)


def _plan(folder: Path, native: int, storage: int) -> Plan:
    folder /= _NODE
    return Plan(
        name=_NODE,
        command=lambda: _command(folder),
        folder=folder,
        address=(LOOPBACK, native),
        also_listens=((LOOPBACK, storage),),
        is_ready=lambda: cql.answers(LOOPBACK, native),
        files={
            "cassandra.yaml": yaml.safe_dump(SETTINGS | _own(folder, native, storage)),
            "logback.xml": _LOGBACK,
        },
        folders=(_TEMPORARY,),
    )


def _own(folder: Path, native: int, storage: int) -> dict[str, object]:
    """Return the settings that differ from folder to folder."""
    provider = "org.apache.cassandra.locator.SimpleSeedProvider"
    seeds = [{"seeds": f"{LOOPBACK}:{storage}"}]
    return {
        "num_tokens": 1,
        "auto_bootstrap": False,
        "seed_provider": [{"class_name": provider, "parameters": seeds}],
        "listen_address": LOOPBACK,
        "rpc_address": LOOPBACK,
        "native_transport_port": native,
        "storage_port": storage,
        "data_file_directories": [f"{folder}/data"],
        "commitlog_directory": f"{folder}/commitlog",
        "saved_caches_directory": f"{folder}/saved_caches",
        "hints_directory": f"{folder}/hints",
        "cdc_raw_directory": f"{folder}/cdc_raw",
    }


def _command(folder: Path) -> tuple[str, ...]:
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
        *(program, "-da", f"-Xms{_HEAP}", f"-Xmx{_HEAP}", "-Xss512k", "-XX:+UseSerialGC"),
        *("-XX:MaxDirectMemorySize=256m", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"),
        f"-javaagent:{agent}",
        *(part for each in _EXPORTS for part in ("--add-exports", f"{each}=ALL-UNNAMED")),
        *(part for each in _OPENS for part in ("--add-opens", f"{each}=ALL-UNNAMED")),
        *(f"-D{key}={value}" for key, value in properties.items()),
        *("-cp", f"{jars}/*", "org.apache.cassandra.service.CassandraDaemon"),
    )
