"""The memory of the platform: one log a shard, snapshots of it, and decision registers.

``dataflow.journal.contract`` is what every implementation promises; ``memory``, ``sqlite`` and
``cassandra`` keep it, and one suite in ``tests/contract`` holds them to it.
"""
