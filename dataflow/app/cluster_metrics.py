"""What Prometheus is shown of a node's part in its cluster: shards, fences, the lease.

Acquisitions and handoffs are counted as they happen; how things stand is read when it asks.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dataflow.app.steering import Steering
from dataflow.app.timed_journal import JournalTimes
from dataflow.cluster.host import Host
from dataflow.cluster.joining import Member
from dataflow.cluster.membership import Membership
from dataflow.cluster.ownership import Shards
from dataflow.core.clock import Clock
from dataflow.core.events import Cause
from dataflow.core.ids import ShardId
from dataflow.core.placement import Cause as Moved
from dataflow.journal.contract import Fence
from dataflow.server.cluster_backend import Cluster, ShardState

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 5, 10, 20)
"""A planned move costs a shard half a second at most, at p99; a handover is given up after 20."""


class Measures:
    """What is counted as it happens."""

    def __init__(self) -> None:
        self.journal = JournalTimes()
        self.acquisitions = Histogram(
            "dataflow_shard_acquisition_seconds",
            "Time from taking a shard's key to serving it.",
            ("cause",),
            buckets=BUCKETS_S,
            registry=None,
        )
        self.handoffs = Histogram(
            "dataflow_shard_handoff_seconds",
            "Time from a planned move's beginning to giving the shard's key away.",
            ("cause",),
            buckets=BUCKETS_S,
            registry=None,
        )
        self.dropped = Counter(
            "dataflow_shards_dropped",
            "Shards given up at once, with nothing written any more.",
            registry=None,
        )
        self.fenced = Counter(
            "dataflow_fences_met",
            "Writes refused because another node had acquired the shard.",
            registry=None,
        )

    def shown_by(
        self, registry: CollectorRegistry, steering: Steering, standing: Standing
    ) -> CollectorRegistry:
        """Return a registry with all of it, and with how things stand."""
        for one in (self.acquisitions, self.handoffs, self.dropped, self.fenced):
            registry.register(one)
        registry.register(self.journal.seconds)
        registry.register(self.journal.records)
        registry.register(ClusterCollector(steering.seen, standing))
        return registry


class CountedShards:
    """Implements ``cluster.ownership.Shards`` over a node's own, and counts what it is told."""

    def __init__(
        self, shards: Shards, measures: Measures, membership: Membership, clock: Clock
    ) -> None:
        self._shards = shards
        self._measures = measures
        self._membership = membership
        self._clock = clock

    @property
    def owned(self) -> Mapping[ShardId, Fence]:
        """See ``Shards.owned``."""
        return self._shards.owned

    async def take_up(self, shard: ShardId, cause: Cause) -> Fence:
        """See ``Shards.take_up``; one that fails is not counted: it is tried again."""
        began_s = self._clock.steady()
        fence = await self._shards.take_up(shard, cause)
        self._measures.acquisitions.labels(cause).observe(self._clock.steady() - began_s)
        return fence

    async def hand_over(self, shard: ShardId) -> None:
        """See ``Shards.hand_over``."""
        began_s, cause = self._clock.steady(), self._cause(shard)
        await self._shards.hand_over(shard)
        self._measures.handoffs.labels(cause).observe(self._clock.steady() - began_s)

    def drop(self, shard: ShardId) -> None:
        """See ``Shards.drop``."""
        if shard in self._shards.owned:
            self._measures.dropped.inc()
        self._shards.drop(shard)

    def _cause(self, shard: ShardId) -> str:
        """Return why a shard of this node moves; the words of a drain's reason are no label."""
        seen = self._membership.map
        owner, move = seen.owners.get(shard), seen.moves.get(shard)
        if owner is not None and not seen.takes_shards(owner.node):
            return Moved.DRAINED
        return move.cause if move is not None else Moved.BALANCED


class Standing(Protocol):
    """How a node stands in its cluster."""

    @property
    def lease_left_s(self) -> float:
        """How long it may believe that it owns what it acquired; 0 without a lease."""
        ...

    @property
    def leads(self) -> bool:
        """Whether it paces the moves of shards."""
        ...

    @property
    def sent_away(self) -> int:
        """Questions so far that were answered with NOT_OWNER."""
        ...


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """Implements ``Standing`` for a member and its host."""

    member: Member
    host: Host

    @property
    def lease_left_s(self) -> float:
        """See ``Standing.lease_left_s``."""
        return self.member.lease_left_s

    @property
    def leads(self) -> bool:
        """See ``Standing.leads``."""
        return self.member.leads

    @property
    def sent_away(self) -> int:
        """See ``Standing.sent_away``."""
        return self.host.sent_away


class ClusterCollector(Collector):
    """How a program sees its cluster and, of a node, how it stands there.

    Args:
        seen: returns what the program knows, without asking anybody.
        standing: of a node; None of a gateway.
    """

    def __init__(self, seen: Callable[[], Cluster], standing: Standing | None) -> None:
        self._seen = seen
        self._standing = standing

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as of now; some 10 us a shard."""
        seen = self._seen()
        nodes = GaugeMetricFamily("dataflow_cluster_nodes", "Nodes that are there.")
        nodes.add_metric([], len(seen.nodes))
        yield nodes
        yield _by_state(
            "dataflow_cluster_shards",
            "All shards, as this program sees them.",
            [shard.state for shard in seen.shards],
        )
        revision = GaugeMetricFamily("dataflow_cluster_revision", "Of the membership, as seen.")
        revision.add_metric([], seen.revision)
        yield revision
        if self._standing is not None:
            yield from self._stands(self._standing, seen)

    def _stands(self, standing: Standing, seen: Cluster) -> Iterable[Metric]:
        mine = [shard.state for shard in seen.shards if shard.owner == seen.answered_by]
        yield _by_state("dataflow_shards", "Shards that this node owns.", mine)
        left = GaugeMetricFamily("dataflow_lease_left_seconds", "Until this node stops serving.")
        left.add_metric([], max(standing.lease_left_s, 0.0))
        yield left
        leads = GaugeMetricFamily("dataflow_leader", "1 on the node that paces moves.")
        leads.add_metric([], float(standing.leads))
        yield leads
        sent_away = CounterMetricFamily(
            "dataflow_not_owner_answers", "Questions sent on to whoever owns the shard."
        )
        sent_away.add_metric([], standing.sent_away)
        yield sent_away


def _by_state(name: str, help_: str, states: Iterable[ShardState]) -> Metric:
    counted = Count(states)
    family = GaugeMetricFamily(name, help_, labels=["state"])
    for state in ShardState:
        family.add_metric([state], counted[state])
    return family
