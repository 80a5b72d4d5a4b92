"""A replication slot's changes to nowhere, undecoded: what ``pg_recvlogical -f /dev/null`` does.

``python -m bench.peers.run_drain DATABASE SLOT PUBLICATION CHANGES``.
"""

from __future__ import annotations

import select
import sys

import psycopg2
from psycopg2.extras import LogicalReplicationConnection

from bench.peers.timing import measured

INSERT = b"I"
FEEDBACK_EVERY = 10_000


def drain(database: str, slot: str, publication: str, changes: int) -> None:
    """Receive so many insertions."""
    connection = psycopg2.connect(database, connection_factory=LogicalReplicationConnection)
    cursor = connection.cursor()
    options = {"proto_version": "1", "publication_names": publication}
    cursor.start_replication(slot_name=slot, options=options)
    seen = 0
    while seen < changes:
        message = cursor.read_message()
        if message is None:
            select.select([connection], [], [], 1.0)
            continue
        seen += message.payload[:1] == INSERT
        if seen % FEEDBACK_EVERY == 0:
            cursor.send_feedback(flush_lsn=message.data_start)  # type: ignore[no-untyped-call]  # stubs
    connection.close()


if __name__ == "__main__":
    asked = sys.argv[1:]
    measured(lambda: drain(asked[0], asked[1], asked[2], int(asked[3])))
