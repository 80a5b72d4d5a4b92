"""PostgreSQL as a source: changes by logical replication, tables as they are, rows by a cursor.

    snapshot/0 … snapshot/n   key ranges of the table, each by its keys, in one snapshot
    changes                   AFTER them: what the log holds, less what those snapshots showed

A slot is made BEFORE the first snapshot, so nothing is between them. What a snapshot showed is told
by the transaction's number: pg_current_snapshot() says which it could see.
"""
