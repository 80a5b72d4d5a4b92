"""The views in Cassandra: written by the shards' owners, read by every node alike.

apply --> writer.py  rounds: events and lines first, then up to where they are complete
pipelines            registry.py  parts merged in order of ids; totals from a row a shard
events, latest ...   index.py
"""

from dataflow.views.cassandra.views import Cassandra

__all__ = ["Cassandra"]
