"""One node of a cluster: its parts, its membership, its links to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from dataflow.app.answering import Answering
from dataflow.app.at_nodes import AtNodes, Here
from dataflow.app.clock import SystemClock
from dataflow.app.cluster_metrics import CountedShards, Measures, NodeStanding
from dataflow.app.composing import Belonging, Composed, composed, new_id, no_probe
from dataflow.app.far_work import Far, ForOthers
from dataflow.app.loads import loads_of
from dataflow.app.routed import Routed
from dataflow.app.settings import Settings
from dataflow.app.steering import Steering
from dataflow.app.stores import Stores
from dataflow.app.timed_journal import TimedJournal
from dataflow.cluster.coordination.contract import Coordination, Keeper
from dataflow.cluster.joining import Member, founded
from dataflow.cluster.joining import Surroundings as MemberSurroundings
from dataflow.cluster.links.answering import serving
from dataflow.cluster.links.asking import GrpcLinks
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Registration
from dataflow.cluster.routing import Router
from dataflow.core import messages as m
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, PipelineId, ShardId
from dataflow.core.spec import PipelineSpec
from dataflow.engine.records import Verdict
from dataflow.engine.workers import Workers
from dataflow.journal.contract import Fence, Journal
from dataflow.server.bind import address

log = structlog.get_logger()

HAND_OVER_MAX = timedelta(seconds=20)
"""Of one shard, last checkpoints included; past it the heir recovers what was not finished."""

CHECKED = PipelineId("-")
"""Nobody's: its register is asked for to see whether the journal answers."""


@dataclass(frozen=True, slots=True)
class Coordinating:
    """How this program reaches the coordination service."""

    coordination: Coordination
    keeper: Keeper


@dataclass(frozen=True, slots=True)
class Clustered:
    """A node that has joined."""

    routed: Routed
    steering: Steering
    metrics: CollectorRegistry
    composed: Composed
    member: Member
    membership: Membership


class NodeShards:
    """Implements ``cluster.ownership.Shards``: a host's shards with their runs."""

    def __init__(self, parts: Composed, rest: timedelta) -> None:
        self._parts = parts
        self._rest = rest

    @property
    def owned(self) -> Mapping[ShardId, Fence]:
        """See ``Shards.owned``."""
        return self._parts.host.owned

    async def take_up(self, shard: ShardId, cause: Cause) -> Fence:
        """See ``Shards.take_up``."""
        fence = await self._parts.host.acquire(shard)
        self._parts.take_up(shard, cause)
        return fence

    async def hand_over(self, shard: ShardId) -> None:
        """See ``Shards.hand_over``."""
        try:
            async with asyncio.timeout(HAND_OVER_MAX.total_seconds()):
                await self._parts.runs.rest(shard, self._rest)
                await self._parts.host.release(shard)
        except TimeoutError:
            log.warning("shard let go unfinished", shard=shard)
        finally:
            self.drop(shard)

    def drop(self, shard: ShardId) -> None:
        """See ``Shards.drop``."""
        self._parts.host.drop(shard)
        self._parts.runs.drop(shard)


@asynccontextmanager
async def clustered(
    settings: Settings,
    stores: Stores,
    coordinating: Coordinating,
    probe: Callable[[str], None] = no_probe,
) -> AsyncGenerator[Clustered, None]:
    """Return a node that is joining; on leaving, its shards have been handed over.

    Raises:
        Rejected: the cluster was made for other settings, or an address cannot be bound.
        Unavailable: the coordination service does not answer.
    """
    name, clock = NodeId(settings.node_id), SystemClock()
    coordination, measures = coordinating.coordination, Measures()
    stores = replace(stores, journal=TimedJournal(stores.journal, measures.journal, clock))
    async with AsyncExitStack() as stack:
        following = Membership.open(coordination, settings.cluster)
        membership = await stack.enter_async_context(following)
        meta = await founded(membership, coordination, settings.shards)
        links = await stack.enter_async_context(GrpcLinks.open())
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        later = _Later(name, measures)
        belonging = later.belonging(meta.shards)
        parts = await stack.enter_async_context(composed(settings, stores, belonging, probe))
        later.far = Far(new_id(), membership, links, receive=parts.runs.receive, tasks=tasks)
        stack.callback(later.far.close)
        later.here, later.for_others = parts.workers, ForOthers(parts.workers.receive)
        shards = NodeShards(parts, settings.stop_grace)
        reached_at = await stack.enter_async_context(_answering(settings, parts, later.for_others))
        registration = Registration(name, "", reached_at, clock.now(), weight=settings.node_weight)
        around = MemberSurroundings(
            membership=membership,
            coordination=coordination,
            keeper=coordinating.keeper,
            shards=CountedShards(shards, measures, membership, clock),
            clock=clock,
            new_boot=new_id,
            check_journal=partial(_check, stores.journal),
            leased=parts.workers.serve,
            ttl=timedelta(seconds=settings.lease_ttl_s),
            journal_patience=settings.journal_patience,
        )
        member = later.member = Member(registration, around)
        nodes = AtNodes(links, Here(name, parts.node, partial(loads_of, parts.host)))
        route = routing(membership, nodes, parts.node.validate, later.may_serve)
        routed = await stack.enter_async_context(route)
        await stack.enter_async_context(member.joined(settings.stop_grace))
        steering = Steering(settings.cluster, membership, coordination, nodes)
        metrics = measures.shown_by(parts.node.metrics, steering, NodeStanding(member, parts.host))
        yield Clustered(routed, steering, metrics, parts, member, membership)


@asynccontextmanager
async def routing(
    membership: Membership,
    nodes: AtNodes,
    validate: Callable[[PipelineSpec], Verdict],
    is_ready: Callable[[], bool],
) -> AsyncGenerator[Routed, None]:
    """Return the whole cluster as a backend, from a node or from a gateway alone."""
    async with asyncio.TaskGroup() as tasks:
        router = Router(membership, nodes, clock=SystemClock(), tasks=tasks)
        yield Routed(membership, router, nodes, validate=validate, is_ready=is_ready)


@asynccontextmanager
async def _answering(
    settings: Settings, parts: Composed, for_others: ForOthers
) -> AsyncGenerator[str, None]:
    """Answer the other programs of the cluster; return where they reach this one."""
    listen = settings.node_listen or settings.node_address
    address(listen, "node_listen", insecure_bind=settings.insecure_bind)
    host, _, port = settings.node_address.rpartition(":")
    async with serving(Answering(parts.node, parts.host, for_others), listen) as bound:
        yield settings.node_address if port != "0" else f"{host}:{bound}"


class _Later:
    """What is made after the parts that ask it."""

    def __init__(self, name: NodeId, measures: Measures) -> None:
        self._name = name
        self._measures = measures
        self.member: Member | None = None
        self.far: Far | None = None
        self.here: Workers | None = None
        self.for_others: ForOthers | None = None

    def may_serve(self) -> bool:
        return self.member is not None and self.member.may_serve

    def belonging(self, shards: int) -> Belonging:
        """Return what the parts are told of the node that they are parts of."""
        return Belonging(self._name, shards, self.may_serve, self.fenced, self.send_to, self.tell)

    def send_to(self, node: NodeId, message: m.ToWorker) -> None:
        if node == self._name:
            if self.here is not None:
                self.here.receive(message)
        elif self.far is not None:
            self.far.send(node, message)

    def tell(self, message: m.ToOwner) -> bool:
        return self.for_others is not None and self.for_others.tell(message)

    def fenced(self, shard: ShardId) -> None:
        self._measures.fenced.inc()
        if self.member is not None:
            self.member.fenced(shard)


async def _check(journal: Journal) -> None:
    """Ask for anything; raises ``Unavailable`` where nothing answers."""
    await journal.decision(ShardId(0), CHECKED)
