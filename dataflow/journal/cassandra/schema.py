"""The tables, made by whichever node comes first, and the settings that they need.

Several nodes may start at once, through different servers. Each table has an id that follows from
its name: two servers that create it at the same moment create the same one, where ids of their own
would leave a table whose columns nobody agrees on.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from cassandra import InvalidRequest, OperationTimedOut, RequestExecutionException
from cassandra.cluster import Cluster, NoHostAvailable
from cassandra.cluster import Session as DriverSession
from cassandra.policies import HostDistance
from cassandra.protocol import ServerError

from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.journal.cassandra.options import Options
from dataflow.journal.statements import load

log = structlog.get_logger()

VERSION = 1
"""Of ``schema.cql``."""

COMPONENT = "journal"

REPLICAS_MAX = 3
"""A quorum then outlives one server, and a write waits for two."""

CREATE_ATTEMPTS, CREATE_WAIT_S = 10, 1.0
"""Servers hear of each other's tables within a second or two."""

CREATE_S_MAX = 60
"""Of one table: every server takes part, and waits for its disk some times."""

TABLES = load("dataflow.journal.cassandra", "schema.cql")

OLDEST = (4, 1)
"""The first server with Paxos v2; before 4.0 refused conditions were not linearizable at all
(CASSANDRA-12126)."""

SETTINGS: Mapping[str, tuple[str, str]] = {
    "commitlog_sync": ("batch", "it may lose writes that it has acknowledged"),
    "paxos_variant": ("v2", "it may order conditional writes wrongly while servers join or leave"),
}
"""What a server must be set to, and why."""


def prepare(options: Options, cluster: Cluster, session: DriverSession) -> None:
    """Check the servers, then create what is missing; raises what these two raise."""
    check_servers(cluster, session)
    create(options, cluster, session)


def check_servers(cluster: Cluster, session: DriverSession) -> None:
    """Ask every server that is up what it is set to, where it shows it.

    Raises:
        Rejected: one would lose or disorder what it acknowledges; names server and remedy.
    """
    for host in cluster.metadata.all_hosts():
        if not host.is_up or cluster.profile_manager.distance(host) == HostDistance.IGNORED:
            continue
        try:
            (version,) = session.execute(
                "SELECT release_version FROM system.local", host=host
            ).one()
            shown = {name: session.execute(_SETTING, (name,), host=host).one() for name in SETTINGS}
        except NoHostAvailable as error:
            # It is down, and no reason not to start: the others make a quorum or nothing works.
            log.warning("server not checked", server=str(host.endpoint), why=str(error))
            continue
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise Rejected(f"Cassandra {version} at {host.endpoint}: use 4.1 or newer")
        for name, (wanted, why) in SETTINGS.items():
            row = shown[name]
            if row is not None and row[0] != wanted:
                raise Rejected(
                    f"Cassandra at {host.endpoint} has {name}: {row[0]}, with which {why};"
                    f" set {name}: {wanted} in its cassandra.yaml and restart it"
                )


_SETTING = "SELECT value FROM system_views.settings WHERE name = %s"
_FOUND = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
_VERSION = "SELECT version FROM versions WHERE component = %s"
_SAVE_VERSION = "INSERT INTO versions (component, version) VALUES (%s, %s) IF NOT EXISTS"


def create(
    options: Options,
    cluster: Cluster,
    session: DriverSession,
    *,
    tables: Mapping[str, str] = TABLES,
    component: str = COMPONENT,
    version: int = VERSION,
) -> None:
    """Create what is missing, and return when every server that is up knows it.

    Raises:
        Rejected: the tables are of a newer program.
        Unavailable: the servers do not agree on the tables.
    """
    for attempt in range(CREATE_ATTEMPTS):
        try:
            _create(options, cluster, session, tables)
            if session.execute(_VERSION, (component,)).one() is None:
                session.execute(_SAVE_VERSION, (component, version), timeout=CREATE_S_MAX)
            (stored,) = session.execute(_VERSION, (component,)).one()
            break
        except (InvalidRequest, ServerError, RequestExecutionException, OperationTimedOut):
            # Another node made it a moment ago, and the server that was asked has not heard of it,
            # or many nodes start at once. All of this may be done twice.
            if attempt == CREATE_ATTEMPTS - 1:
                raise
            time.sleep(CREATE_WAIT_S)
    else:
        raise AssertionError
    if stored > version:
        raise Rejected(
            f"keyspace {options.keyspace} is of version {stored}, this program knows up to"
            f" {version}: use the newer program"
        )


def _create(
    options: Options, cluster: Cluster, session: DriverSession, tables: Mapping[str, str]
) -> None:
    keyspace = options.keyspace
    hosts: Sequence[Any] = cluster.metadata.all_hosts()
    replicas = options.replication_factor or min(REPLICAS_MAX, len(hosts))
    found = {row[0] for row in session.execute(_FOUND, (keyspace,))}
    if not found:
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication ="
            f" {{'class': 'NetworkTopologyStrategy', 'replication_factor': {replicas}}}",
            timeout=CREATE_S_MAX,
        )
    _agreed(options, cluster)
    session.set_keyspace(keyspace)
    for name, statement in {**tables, "versions": TABLES["versions"]}.items():
        if name not in found:
            made = statement.replace("{id}", str(table_id(keyspace, name)))
            session.execute(made, timeout=CREATE_S_MAX)
    _agreed(options, cluster)


def _agreed(options: Options, cluster: Cluster) -> None:
    """Wait until every server that is up knows the same tables."""
    if not cluster.control_connection.wait_for_schema_agreement():
        raise Unavailable(
            f"the Cassandra servers do not agree on keyspace {options.keyspace}; see `nodetool"
            " describecluster`",
            code=Code.STORAGE,
        )


def table_id(keyspace: str, table: str) -> uuid.UUID:
    """Return the id of a table, wherever it is created."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"dataflow:{keyspace}/{table}")
