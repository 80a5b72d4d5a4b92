"""A node's parts put together over its stores: the same embedded and in a cluster."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dataflow.app.builtin import registry
from dataflow.app.checking import PUSH
from dataflow.app.cleaning import Cleaning
from dataflow.app.clock import SystemClock
from dataflow.app.contexts import Contexts, Paths, Secrets
from dataflow.app.history import Past
from dataflow.app.kafka import event_bus
from dataflow.app.node import Node, Parts
from dataflow.app.projection import Fanout
from dataflow.app.settings import Settings
from dataflow.app.stores import Stores
from dataflow.app.watching import Watchers
from dataflow.app.workers import COMMAND, open_workers
from dataflow.cluster.host import Host
from dataflow.cluster.host import Surroundings as HostSurroundings
from dataflow.cluster.runs import Node as RunsNode
from dataflow.cluster.runs import Runs
from dataflow.cluster.shard import Committed
from dataflow.connect import Registry
from dataflow.core import messages as m
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, PipelineId, ShardId
from dataflow.core.spec import with_defaults
from dataflow.core.state import State
from dataflow.engine.failure import unsaid
from dataflow.engine.ingest import IngestLogs
from dataflow.engine.plan import node_local
from dataflow.engine.worker import Surroundings
from dataflow.engine.workers import Workers

if TYPE_CHECKING:
    from dataflow.views.bus import EventBus


def new_id() -> str:
    """Return an id that nobody has had: the one place that draws them."""
    return secrets.token_hex(8)  # noqa: TID251 - the id factory that everything else is handed


def no_probe(_: str) -> None:
    """Do nothing: between two effects that must not swap, tests die instead."""


@dataclass(frozen=True, slots=True)
class Belonging:
    """Which node this is, and what it may do."""

    name: str
    shards: int
    """How many there are in all, whoever owns them."""
    may_serve: Callable[[], bool] = lambda: True
    fenced: Callable[[ShardId], None] | None = None
    """Told of a shard that another node has acquired; without it, that ends the program."""
    send_to: Callable[[NodeId, m.ToWorker], None] | None = None
    """Says something to the worker of another node; without it, this node is the only one."""
    tell: Callable[[m.ToOwner], bool] = lambda _: False
    """Hands what this node's worker says to an owner on another node; False if it has none."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A node, and its parts that a program gives shards to."""

    node: Node
    host: Host
    runs: Runs
    workers: Workers
    cleaning: Cleaning
    bus: EventBus | None

    def take_up(self, shard: ShardId | None, cause: Cause) -> None:
        """Begin what is to be done for the pipelines of a shard that came here, or of all."""
        self.runs.take_up(shard, cause)
        self.cleaning.take_up(self.host, shard)
        if self.bus is not None:
            for one in self.host.owned if shard is None else (shard,):
                self.bus.take_up(one)


@asynccontextmanager
async def composed(
    settings: Settings,
    stores: Stores,
    belonging: Belonging,
    probe: Callable[[str], None] = no_probe,
    *,
    command: Sequence[str] = COMMAND,
) -> AsyncGenerator[Composed, None]:
    """Return a node that owns no shard yet; on leaving, every run has closed a last checkpoint.

    ``command`` begins a worker process, where there shall be any.
    """
    clock, watchers, steps = SystemClock(), Watchers(), registry()
    settings = settings.with_python(alone=belonging.send_to is None)
    ingest, objects = stores.ingest, stores.objects
    past = Past(stores.journal, stores.views, clock)
    fanout = Fanout(stores.views, belonging.shards)
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            Host.open(_around_host(stores, belonging, fanout, past))
        )
        contexts = _contexts(settings, clock, ingest, probe)
        link = _Link(contexts.secrets, belonging.tell)
        hide = contexts.secrets.hide
        here = Surroundings(steps, contexts, objects, clock, link.to_owner, probe, hide)
        workers = await stack.enter_async_context(open_workers(settings, here, ingest, command))
        ingested = partial(_ingested, host, ingest)
        around = RunsNode(
            host,
            workers.receive,
            clock,
            random.Random().random,
            ingested,
            probe,
            bound_to=partial(_bound_to, steps, belonging),
            send_to=belonging.send_to or link.nobody,
        )
        runs = await stack.enter_async_context(Runs.open(around, settings.stop_grace))
        link.runs = runs
        cleaning = await stack.enter_async_context(Cleaning.open(ingest, workers))
        for listener in (runs.committed, watchers.committed, cleaning.committed):
            fanout.listen(listener)
        bus = await stack.enter_async_context(_bus(settings, stores, host, fanout))
        keeps_files = belonging.send_to is None and settings.ingest_log == "files"
        takes_push = keeps_files or bool(settings.kafka_brokers)
        made = belonging.name, host, runs, stores, past, watchers, steps, workers, clock
        parts = Parts(*made, takes_push, bus)
        yield Composed(Node(parts), host, runs, workers, cleaning, bus)


def _contexts(
    settings: Settings, clock: SystemClock, ingest: IngestLogs, probe: Callable[[str], None]
) -> Contexts:
    allowed = settings.python == "allowed"
    return Contexts(clock, Paths(settings.file_roots), ingest.log, probe, python_allowed=allowed)


def _around_host(
    stores: Stores, belonging: Belonging, fanout: Fanout, past: Past
) -> HostSurroundings:
    return HostSurroundings(
        stores.journal,
        fanout,
        past,
        SystemClock(),
        new_id,
        belonging.shards,
        belonging.may_serve,
        belonging.fenced,
        stores.writes_at_once,
    )


def _bound_to(steps: Registry, belonging: Belonging, state: State) -> NodeId:
    """Return the only node that may work on a pipeline; none where any may.

    What one node alone has binds a pipeline to the node that found it there; embedded there is no
    other.
    """
    if chosen := NodeId(with_defaults(state.spec.options).node):
        return NodeId("") if chosen == belonging.name and belonging.send_to is None else chosen
    if belonging.send_to is None or not node_local(steps, state.spec):
        return NodeId("")
    return state.node or NodeId(belonging.name)


@asynccontextmanager
async def _bus(
    settings: Settings, stores: Stores, host: Host, fanout: Fanout
) -> AsyncGenerator[EventBus | None, None]:
    """Return the event bus, if there shall be one; it hears of what is committed."""
    async with event_bus(settings, stores.journal, host) as bus:
        if bus is not None:
            fanout.listen(partial(_noted, host, bus))
        yield bus


def _noted(host: Host, bus: EventBus, committed: Sequence[Committed]) -> None:
    for event, _ in committed:
        bus.note(host.shard_of(event.pipeline_id), event)


async def _ingested(host: Host, ingest: IngestLogs, pipeline: PipelineId) -> int:
    """Return where a pipeline's ingest log ends; 0 where nothing is pushed."""
    sources = host.state(pipeline).spec.sources.values()
    is_pushed = any(source.source_type == PUSH for source in sources)
    return await ingest.log(pipeline).end() if is_pushed else 0


class _Link:
    """Hands a worker's messages to the runs, which are made after it, and unsays its secrets."""

    def __init__(self, secrets: Secrets, tell: Callable[[m.ToOwner], bool]) -> None:
        self.runs: Runs | None = None
        self._secrets = secrets
        self._tell = tell

    def nobody(self, node: NodeId, message: m.ToWorker) -> None:
        """Let a run wait for a node that will never be there."""
        if isinstance(message, m.RunTask):
            waits = f"for node {node}; this program is the only node there is"
            self.to_owner(m.Progress(message.pipeline_id, message.run, m.Phase.WAITING, waits))

    def to_owner(self, message: m.ToOwner) -> None:
        """Take a message from the worker; what it says is journalled, logged and shown."""
        message = unsaid(message, self._secrets.hide)
        if not self._tell(message) and self.runs is not None:
            self.runs.receive(message)
