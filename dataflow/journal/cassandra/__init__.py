"""The journal in Cassandra: for a cluster whose nodes all reach one ring of servers.

    acquire, append, seal      log.py        conditional writes on one bucket of a shard
    read, hash_at              reading.py    the header at SERIAL, then rows
    decide, decision           registers.py  conditional batches on a shard's registers
    save and load_snapshot     snapshots.py
    history                    audit.py      written behind the log, in the background
    what is larger than 40 KiB values.py     in chunks, BEFORE the conditional write that names it

Every answer of a conditional write is final, and every error of one leaves it unknown: whether it
was written is found out by the same write again, never by a read.
"""

from dataflow.journal.cassandra.journal import Cassandra
from dataflow.journal.cassandra.options import Options
from dataflow.journal.cassandra.session import WRITES_AT_ONCE

__all__ = ["WRITES_AT_ONCE", "Cassandra", "Options"]
