"""A node of the cluster: the shipped host and runs, in a process that can be crashed and held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from dataflow.app.clustered import CHECKED, NodeShards
from dataflow.app.history import Past
from dataflow.app.projection import Fanout
from dataflow.cluster.host import Host
from dataflow.cluster.host import Surroundings as HostSurroundings
from dataflow.cluster.joining import Member, founded
from dataflow.cluster.joining import Surroundings as MemberSurroundings
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Registration
from dataflow.cluster.runs import Node as RunsNode
from dataflow.cluster.runs import Runs
from dataflow.cluster.shard import Committed
from dataflow.core import messages as m
from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import DataFlowError, NotOwner
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, PipelineId, ShardId
from dataflow.core.state import State
from dataflow.journal.contract import Fence
from tests.simulation.coordination import RemoteCoordination
from tests.simulation.leases import AskedAt, RemoteKeeper
from tests.simulation.network import Pipe
from tests.simulation.processes import Process
from tests.simulation.stores import RemoteJournal
from tests.simulation.views import RemoteViews
from tests.simulation.workers import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""What every calendar begins with."""

GRACE = timedelta(seconds=5)
"""For last checkpoints of a node that shuts down."""

CLUSTER = "simulated"
TTL = timedelta(seconds=3)
"""Of a node's lease; what the tests of real processes use."""

JOURNAL_PATIENCE = timedelta(seconds=4)
"""How long a node keeps its shards while it cannot reach the journal."""

ORPHAN_S_MAX = 2.0
"""How long a worker lives on at most after its node has died."""


class ProcessClock:
    """The clocks of one process: off by something, and still while its machine stands still."""

    def __init__(self, process: Process, skew_s: float) -> None:
        self._process = process
        self._skew_s = skew_s

    def steady(self) -> float:
        """See ``Clock.steady``."""
        return self._process.loop.time() - self._process.stood_still_s

    def now(self) -> datetime:
        """See ``Clock.now``."""
        return EPOCH + timedelta(seconds=self.steady() + self._skew_s)


class Node:
    """A machine of the cluster, through all its lives."""

    def __init__(self, world: World, name: str, skew_s: float) -> None:
        self.name = name
        self._world = world
        self._skew_s = skew_s
        self.life: Life | None = None
        self.lives = 0

    @property
    def is_up(self) -> bool:
        """Tell whether it has a life, held or not."""
        return self.life is not None and self.life.process.alive

    def boot(self) -> None:
        """Begin another life: a new process that knows nothing."""
        self.lives += 1
        self.life = Life(self._world, self.name, f"{self.name}#{self.lives}", self._skew_s)
        self._world.note(self.name, "boots", self.life.boot)

    def boot_if_down(self) -> None:
        """Begin another life, unless somebody has done so."""
        if not self.is_up:
            self.boot()

    def crash(self) -> None:
        """End its life as kill -9 does; its worker is an orphan, and dies a little later."""
        if self.life is None or not self.is_up:
            return
        self._world.note(self.name, "crashes")
        self.life.process.end()
        self.life.thread.end()
        worker = self.life.worker_process
        lives_s = self._world.random.random() * ORPHAN_S_MAX
        self._world.loop.outside.call_at(self._world.loop.time() + lives_s, worker.end)


class Life:
    """One process of a node, its lease thread, and its worker."""

    def __init__(self, world: World, name: str, boot: str, skew_s: float) -> None:
        self.world = world
        self.name = name
        self.boot = boot
        self.process = world.loop.process(name)
        self.thread = world.loop.process(name)
        self.worker_process = world.loop.process(name)
        self.clock = ProcessClock(self.process, skew_s)
        self.host: Host | None = None
        self.runs: Runs | None = None
        self.member: Member | None = None
        self._told_to_stop: asyncio.Future[None] = world.loop.create_future()
        self._random = Random(f"{world.seed}-{boot}")
        self._numbers = count(1)
        down = Pipe(world.loop, world.random, self.worker_process)
        up = Pipe(world.loop, world.random, self.process)
        self.worker = Worker(
            world.loop, self.worker_process, world.sinks, lambda said: up.send(self._hear, said)
        )
        self._down = down
        self.process.spawn(self._live())

    @property
    def processes(self) -> Sequence[Process]:
        """The processes of its machine."""
        return self.process, self.thread, self.worker_process

    async def _live(self) -> None:
        try:
            await self._serve()
            self.world.note(self.boot, "has stopped")
            self.world.restart(self.name)
        except Exception as error:  # noqa: BLE001 - whatever ends a node ends this life alone
            self.world.died(self, error)

    async def _serve(self) -> None:
        world, process, clock = self.world, self.process, AskedAt(self.clock)
        journal = RemoteJournal(world.network, process, world.journal_process, world.journal)
        views = RemoteViews(world.network, process, world.views_process, world.views)
        coordination = RemoteCoordination(world.network, process, world.coordination)
        fanout = Fanout(views, world.shards)
        around = HostSurroundings(
            journal=journal,
            projection=fanout,
            history=Past(journal, views, clock),
            clock=clock,
            new_nonce=lambda: f"{self.boot}-{next(self._numbers)}",
            shards=world.shards,
            may_serve=lambda: self.member is not None and self.member.may_serve,
            fenced=lambda shard: self.member.fenced(shard) if self.member else None,
        )
        async with Host.open(around) as host, Membership.open(coordination, CLUSTER) as membership:
            await founded(membership, coordination, world.shards)
            node = RunsNode(host, self._tell, clock, self._random.random, self._ingested, _probe)
            async with Runs.open(node, GRACE) as runs:
                fanout.listen(runs.committed)
                fanout.listen(self._committed)
                self.host, self.runs = host, runs
                self.member = Member(
                    Registration(NodeId(self.name), "", self.name, clock.now()),
                    MemberSurroundings(
                        membership=membership,
                        coordination=coordination,
                        keeper=self._keeper(clock),
                        shards=_Shards(self, host, runs),
                        clock=clock,
                        new_boot=lambda: f"{self.boot}.{next(self._numbers)}",
                        check_journal=lambda: journal.decision(ShardId(0), CHECKED),
                        leased=self._leased,
                        ttl=TTL,
                        journal_patience=JOURNAL_PATIENCE,
                    ),
                )
                async with self.member.joined(GRACE):
                    await self._told_to_stop

    def _keeper(self, clock: AskedAt) -> RemoteKeeper:
        return RemoteKeeper(
            self.process,
            self.thread,
            self.world.network,
            self.world.coordination,
            clock=clock,
            end=self._end,
        )

    def stop(self) -> None:
        """Let it leave the cluster in good order, and end."""
        if not self._told_to_stop.done():
            self._told_to_stop.set_result(None)

    def _end(self) -> None:
        """End a node that does not stop serving, as the watchdog does."""
        self.world.note(self.boot, "is ended by its watchdog")
        self.world.restart(self.name)

    def _leased(self, until_s: float) -> None:
        """A worker process would be told until when it may work."""

    def serves(self, shard: ShardId) -> bool:
        """Tell whether it has taken a shard up, and may answer for it."""
        may = self.member is not None and self.member.may_serve
        return may and self.host is not None and shard in self.host.owned

    # --- what is asked of it ---------------------------------------------------------------------

    async def execute(self, commands: Sequence[Command]) -> Sequence[Answer | DataFlowError]:
        """Carry out commands."""
        for command in commands:
            self.world.delivered[command.command_id] += 1
        return await self._reached().execute_all(commands)

    def state(self, pipeline: PipelineId) -> State:
        """Return a pipeline's state."""
        state = self._reached().state(pipeline)
        if state.sequence > len(self.world.journal.store.histories[pipeline]):
            self.world.broken(f"{pipeline} is shown at {state.sequence}, which is not durable")
        return state

    def _reached(self) -> Host:
        if self.host is None:
            raise NotOwner("the node is starting")
        return self.host

    def _committed(self, committed: Sequence[Committed]) -> None:
        for event, _ in committed:
            self.world.note(
                self.boot, event.type, event.pipeline_id, event.sequence, f"@{event.offset}"
            )

    # --- its worker ------------------------------------------------------------------------------

    def _tell(self, message: m.ToWorker) -> None:
        self._down.send(self._deliver, message)

    def _deliver(self, message: m.ToWorker) -> None:
        self.world.note(f"{self.boot}.w", type(message).__name__, message.pipeline_id, message.run)
        self.worker.receive(message)

    def _hear(self, message: m.ToOwner) -> None:
        if not isinstance(message, m.Progress):
            what = type(message).__name__
            self.world.note(self.boot, what, message.pipeline_id, message.run)
        if self.runs is not None:
            self.runs.receive(message)

    async def _ingested(self, _: PipelineId) -> int:
        return 0


class _Shards(NodeShards):
    """The shipped ones, which tell the trace."""

    def __init__(self, life: Life, host: Host, runs: Runs) -> None:
        super().__init__(_Parts(host, runs), GRACE)  # type: ignore[arg-type]  # what it needs of it
        self._life = life

    async def take_up(self, shard: ShardId, cause: Cause) -> Fence:
        fence = await super().take_up(shard, cause)
        self._life.world.note(self._life.boot, "serves", shard, "fence", fence)
        return fence

    async def hand_over(self, shard: ShardId) -> None:
        await super().hand_over(shard)
        self._life.world.note(self._life.boot, "releases", shard)

    def drop(self, shard: ShardId) -> None:
        self._life.world.note(self._life.boot, "drops", shard)
        super().drop(shard)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What ``NodeShards`` needs of a composed node."""

    host: Host
    runs: Runs

    def take_up(self, shard: ShardId, cause: Cause) -> None:
        self.runs.take_up(shard, cause)


def _probe(_: str) -> None:
    return
