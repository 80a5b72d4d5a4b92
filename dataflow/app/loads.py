"""What the shards of this node hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.cluster.host import Host
from dataflow.core.ids import ShardId
from dataflow.core.state import Status
from dataflow.server.cluster_backend import Load

GONE = (Status.EMPTY, Status.DELETED)


def loads_of(host: Host, shards: Sequence[ShardId]) -> Mapping[ShardId, Load]:
    """Return what some shards hold, as far as they are served here; about 2 us a pipeline."""
    owned = host.owned
    return {shard: _load(host, shard) for shard in shards if shard in owned}


def _load(host: Host, shard: ShardId) -> Load:
    statuses = [known.status for known in host.known(shard) if known.status not in GONE]
    return Load(pipelines=len(statuses), running=statuses.count(Status.RUNNING))
