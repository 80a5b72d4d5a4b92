"""Everything that is simulated, made from one seed."""

from __future__ import annotations

from collections import Counter
from random import Random

from dataflow.core.errors import DataFlowError
from dataflow.core.ids import CommandId, NodeId, PipelineId, ShardId, shard_of
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.lifecycle import COMPLETED
from tests.simulation.clients import Client
from tests.simulation.coordination import Server
from tests.simulation.gateways import Gateway
from tests.simulation.invariants import WatchedJournal
from tests.simulation.loop import Loop
from tests.simulation.network import Network
from tests.simulation.nodes import Life, Node, ProcessClock
from tests.simulation.sinks import Parts, Table
from tests.simulation.trace import Trace
from tests.simulation.views import SharedViews
from tests.simulation.workers import Numbers, Outlet, Sinks

NODES, GATEWAYS, CLIENTS, PIPELINES = 3, 2, 3, 5
"""Small, so that a seed takes a tenth of a second; every fault needs only two of anything."""

SUPERVISOR_S = 0.5
"""How long a supervisor waits before it starts a node again."""

SKEW_S_MAX = 3600.0
"""How wrong a node's calendar may be."""


class World:
    """The processes, the network between them, and what was seen to go wrong."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(f"{seed}-world")
        self.trace = Trace()
        self.violations: list[str] = []
        self.over = False
        """Whether what follows is the taking apart of it all."""
        self.reads_are_promised = True
        self.failed_lives = 0
        self.delivered: Counter[CommandId] = Counter()
        """How often each command has reached a node: a late one may come after its retry."""
        self.shards = 4
        self.loop = Loop(Random(f"{seed}-loop"))
        self.network = Network(self.loop, Random(f"{seed}-network"))
        self.journal = WatchedJournal(self.broken)
        self.journal_process = self.loop.process("journal")
        process = self.loop.process("coordination")
        self.coordination = Server(ProcessClock(process, 0), process, self.network, self.note)
        self.views = SharedViews(self.broken)
        self.views_process = self.loop.process("views")
        self.sinks = Sinks(self.network, self.loop.process("sinks"))
        self.pipelines = [PipelineId(f"p{number}") for number in range(PIPELINES)]
        for number, pipeline in enumerate(self.pipelines):
            self.sinks.outlets[pipeline] = self._outlet(number)
        self.nodes = [
            Node(self, f"n{number}", (self.random.random() - 0.5) * SKEW_S_MAX)
            for number in range(NODES)
        ]
        self.gateways = [Gateway(self, f"g{number}") for number in range(GATEWAYS)]
        self.clients = [
            Client(self, f"c{number}", Random(f"{seed}-{number}")) for number in range(CLIENTS)
        ]
        self._known: dict[PipelineId, SequenceNumber] = {}

    def _outlet(self, number: int) -> Outlet:
        splits = {f"s{split}": 20 + self.random.randrange(60) for split in range(1 + number % 2)}
        source = Numbers(splits, 4 + 6 * self.random.random(), self.random.random() * 4)
        return Outlet(source, Table(self.broken) if number % 3 == 2 else Parts(self.broken))

    def note(self, process: str, what: str, *about: object) -> None:
        """Put a step into the trace."""
        if not self.over:
            self.trace.add(self.loop.time(), process, what, *about)

    def broken(self, what: str) -> None:
        """Note that something has happened which must never happen, and stop."""
        if not self.over:
            self.note("invariant", "BROKEN", what)
            self.violations.append(what)
            self.loop.halt()

    def stale(self, what: str) -> None:
        """Note a read of the past, which is broken unless nothing was promised."""
        if self.reads_are_promised:
            self.broken(f"a stale read: {what}")

    def known(self, pipeline: PipelineId) -> SequenceNumber:
        """Return the latest event of a pipeline that anybody was told of."""
        return self._known.get(pipeline, SequenceNumber(0))

    def learn(self, pipeline: PipelineId, sequence: SequenceNumber) -> None:
        """Note that somebody was told of an event."""
        self._known[pipeline] = max(self.known(pipeline), sequence)

    def gateway(self, random: Random) -> Gateway:
        """Return some gateway."""
        return random.choice(self.gateways)

    def life(self, node: NodeId) -> Life:
        """Return the present life of a node."""
        life = next(one.life for one in self.nodes if one.name == node)
        assert life is not None
        return life

    def unsettled(self) -> str:
        """Return what is not as it must be in peace: shards served, views up to date, runs over."""
        lives = [node.life for node in self.nodes if node.life is not None and node.is_up]
        serving: dict[ShardId, list[Life]] = {}
        for number in range(self.shards):
            shard = ShardId(number)
            serving[shard] = [life for life in lives if life.serves(shard)]
            if len(serving[shard]) != 1:
                return f"shard {shard} is served by {[life.boot for life in serving[shard]]}"
            if self.views.applied[shard] != self.journal.store.ends[shard].offset:
                return f"the views are behind shard {shard}"
        for pipeline in self.pipelines:
            try:
                state = serving[shard_of(pipeline, self.shards)][0].state(pipeline)
            except DataFlowError as error:
                return str(error)
            if state.reason != COMPLETED:
                return f"{pipeline} is {state.status}"
        return ""

    def restart(self, name: str) -> None:
        """End a node, and start it again as its supervisor does."""
        node = next(one for one in self.nodes if one.name == name)
        node.crash()
        again_s = self.loop.time() + SUPERVISOR_S
        self.loop.outside.call_at(again_s, node.boot_if_down)

    def died(self, life: Life, error: Exception) -> None:
        """Note that a node has ended by itself, with an error."""
        self.note(life.boot, "dies of", repr(error))
        self.failed_lives += 1
        self.restart(life.name)
