"""An empty keyspace of the machine's Cassandra for each test.

Creating tables takes a second, so a worker makes them once, and deletes what each test leaves.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import RoundRobinPolicy

from dataflow.journal.cassandra import Options

WRITTEN_AT_OFFSETS = frozenset({"applied", "audited", "registry"})
"""A delete in these would be later than whatever follows it."""


@pytest.fixture(scope="session")
def cassandra_session(cassandra: str) -> Iterator[Session]:
    """Return the driver's own session, to look behind the journal's back."""
    host, _, port = cassandra.partition(":")
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=60)
    cluster = Cluster(
        [host],
        port=int(port),
        connection_class=LibevConnection,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    yield cluster.connect()
    cluster.shutdown()


@pytest.fixture(scope="session")
def keyspace_name(cassandra_session: Session) -> Iterator[str]:
    """Return a name that no other run of tests has; whatever it holds goes in the end."""
    name = f"test_{os.getpid()}"
    yield name
    cassandra_session.execute(f"DROP KEYSPACE IF EXISTS {name}")


@pytest.fixture
def keyspace(cassandra: str, cassandra_session: Session, keyspace_name: str) -> Iterator[Options]:
    """Return where an empty keyspace is."""
    yield Options(contact_points=[cassandra], keyspace=keyspace_name)
    empty(cassandra_session, keyspace_name)


def empty(session: Session, keyspace: str) -> None:
    """Delete every partition of every table: truncating a table takes a tenth of a second and more.

    The program itself never writes these tables like that: a delete's clock may be ahead of the
    ballots of conditional writes that follow it. Here both are of one machine, and no test is so
    quick.
    """
    columns = session.execute(
        "SELECT table_name, column_name FROM system_schema.columns"
        " WHERE keyspace_name = %s AND kind = 'partition_key' ALLOW FILTERING",
        [keyspace],
    )
    keys: dict[str, list[str]] = defaultdict(list)
    for table, column in columns:
        keys[table].append(column)
    for table, names in keys.items():
        if table in WRITTEN_AT_OFFSETS:
            if session.execute(f"SELECT * FROM {keyspace}.{table} LIMIT 1").one():  # noqa: S608 - a name of the schema
                session.execute(f"TRUNCATE {keyspace}.{table}")
            continue
        if table == "versions":
            continue
        found = session.execute(f"SELECT DISTINCT {', '.join(names)} FROM {keyspace}.{table}")  # noqa: S608 - names of the schema
        where = " AND ".join(f"{name} = %s" for name in names)
        statement = f"DELETE FROM {keyspace}.{table} WHERE {where}"  # noqa: S608 - as above
        execute_concurrent_with_args(session, statement, [tuple(row) for row in found])
