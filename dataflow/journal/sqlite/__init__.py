"""The journal in one SQLite file: for one process that owns every shard.

    event loop                     writer thread                        file
    append, decide, ... --jobs-->  gathers what waits --one transaction-->  journal.db (WAL)
               <------- answers, one wake-up a group ------ one fsync --
    read, history, ... ----------  two reading threads  <-------------

One transaction carries the jobs of all shards that came while the one before was being written.
Every job is judged against what that transaction reads, before anything of it is written: a
refused one leaves its neighbours alone.
"""

from dataflow.journal.sqlite.journal import Sqlite

__all__ = ["Sqlite"]
