"""From anywhere to the owner of a shard, and there again when it has moved."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from dataflow.cluster import routing
from dataflow.cluster.coordination.contract import Absent, Put
from dataflow.cluster.coordination.memory import Memory, Service
from dataflow.cluster.links.contract import LinkLost
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Meta, Ownership, Registration, value_bytes
from dataflow.cluster.routing import Router
from dataflow.core import commands as c
from dataflow.core.answers import Answer
from dataflow.core.errors import Code, DataFlowError, Fenced, NotOwner, Rejected, Unavailable
from dataflow.core.ids import CommandId, NodeId, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.state import Status
from tests.unit.cluster.clusters import KEYS, NOW, ownership, registration

P = PipelineId("p")


class Ticking:
    """The clock of the running loop."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def steady(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Nodes:
    """Nodes that answer as a test says, and remember what they were asked."""

    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    say: deque[DataFlowError | None] = field(default_factory=deque)
    """The next answers: errors for a whole message, or None for carried out."""
    busy: asyncio.Event | None = None

    async def execute(
        self, node: Registration, commands: Sequence[c.Command]
    ) -> Sequence[Answer | DataFlowError]:
        self.asked.append((node.node, [one.command_id for one in commands]))
        if self.busy is not None:
            await self.busy.wait()
        error = self.say.popleft() if self.say else None
        if isinstance(error, LinkLost):
            raise error
        return [error or answer(one) for one in commands]


def answer(command: c.Command) -> Answer:
    """Return what a carried out command is answered."""
    return Answer(
        command.pipeline_id,
        Status.CONFIGURED,
        command.command_id,
        NOW,
        changed=True,
        version=Version(1),
        sequence=SequenceNumber(1),
    )


def command(name: str) -> c.Command:
    """Return a command with an id."""
    return c.Command(P, CommandId(name), "me", c.StartPipeline(), b"d")


@dataclass
class Routing:
    """A router, the nodes it asks, and the keys it goes by."""

    router: Router
    nodes: Nodes
    service: Service

    def own(self, value: Ownership | None) -> None:
        """Give the only shard to a node; None takes the first owner's key for granted."""
        key = KEYS.owner(ShardId(0))
        if value is not None:
            self.service.transact([], [Put(key, value_bytes(value))])


@asynccontextmanager
async def routed(owner: str = "a") -> AsyncIterator[Routing]:
    """A router in a cluster of two nodes and one shard."""
    service, nodes = Service(Ticking()), Nodes()
    service.transact([Absent(KEYS.meta)], [Put(KEYS.meta, value_bytes(Meta(1)))])
    for name in "ab":
        put = Put(KEYS.node(NodeId(name)), value_bytes(registration(name)))
        service.transact([], [put])
    async with (
        Membership.open(Memory(service), "c") as membership,
        asyncio.TaskGroup() as tasks,
    ):
        router = Router(membership, nodes, clock=Ticking(), tasks=tasks)
        made = Routing(router, nodes, service)
        made.own(ownership(owner) if owner else None)
        await membership.refresh()
        yield made


async def test_a_command_goes_to_the_owner_of_its_shard() -> None:
    """And to nobody else: another one would have to refuse it."""
    async with routed("b") as made:
        assert (await made.router.submit(command("x"))).message == "x"
        assert made.nodes.asked == [("b", ["x"])]


@pytest.mark.parametrize(
    "error",
    [
        NotOwner("not here"),
        Fenced("larger fence"),
        Unavailable("who knows", code=Code.OUTCOME_UNKNOWN),
        LinkLost("gone"),
    ],
)
async def test_what_was_refused_for_its_place_is_asked_again_under_the_same_id(
    error: DataFlowError,
) -> None:
    """The owner tells by the id whether it had been done."""
    async with routed() as made:
        made.nodes.say.append(error)
        assert (await made.router.submit(command("x"))).message == "x"
        assert made.nodes.asked == [("a", ["x"]), ("a", ["x"])]


@pytest.mark.parametrize("error", [Rejected("no"), Unavailable("too many wait")])
async def test_what_was_refused_for_itself_is_not_asked_again(error: DataFlowError) -> None:
    """The caller must act, or wait; the next owner would say the same."""
    async with routed() as made:
        made.nodes.say.append(error)
        with pytest.raises(type(error)):
            await made.router.submit(command("x"))
        assert len(made.nodes.asked) == 1


async def test_a_command_for_a_shard_without_owner_waits_for_the_next_one() -> None:
    """A takeover is seconds, and nobody who asks should see it."""
    async with routed("") as made:
        pending = made.router.submit(command("x"))
        await asyncio.sleep(0.05)
        assert made.nodes.asked == []
        made.own(ownership("b"))
        assert (await pending).message == "x"
        assert made.nodes.asked == [("b", ["x"])]


async def test_commands_of_a_shard_keep_their_order_through_a_move() -> None:
    """Stop after start is another pipeline than start after stop."""
    async with routed() as made:
        made.nodes.busy = asyncio.Event()
        made.nodes.say.append(NotOwner("it moves"))
        pending = [made.router.submit(command(str(n))) for n in range(5)]
        await asyncio.sleep(0.01)
        pending += [made.router.submit(command(str(n))) for n in range(5, 9)]
        made.nodes.busy.set()
        made.own(ownership("b"))
        assert [(await one).message for one in pending] == [str(n) for n in range(9)]
        carried_out = [name for _, names in made.nodes.asked[1:] for name in names]
        assert carried_out == [str(n) for n in range(9)]


async def test_commands_that_come_while_a_message_is_under_way_make_the_next_one() -> None:
    """A message costs the same for one command and for a hundred."""
    async with routed() as made:
        made.nodes.busy = asyncio.Event()
        pending = [made.router.submit(command("first"))]
        await asyncio.sleep(0.01)
        pending += [made.router.submit(command(str(n))) for n in range(100)]
        made.nodes.busy.set()
        for one in pending:
            await one
        assert [len(names) for _, names in made.nodes.asked] == [1, 100]


async def test_who_asks_hears_in_the_end_that_nobody_owns_a_shard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No wait is endless."""
    monkeypatch.setattr(routing, "PATIENCE", timedelta(seconds=0.05))
    async with routed("") as made:
        with pytest.raises(NotOwner, match="nobody owns shard 0"):
            await made.router.submit(command("x"))

        async def never(_: Registration) -> None:
            raise AssertionError("nobody was to be asked")

        with pytest.raises(NotOwner):
            await made.router.ask(P, never)


async def test_a_question_is_asked_of_the_next_owner() -> None:
    """Reading follows a shard as commands do."""
    heard: list[str] = []

    async def question(node: Registration) -> str:
        heard.append(node.node)
        if node.node == "a":
            made.own(ownership("b"))
            raise NotOwner("it has moved")
        return "read"

    async with routed() as made:
        assert await made.router.ask(P, question) == "read"
        assert heard[-1] == "b"


async def test_before_any_node_has_joined_nothing_can_be_routed() -> None:
    """How many shards there are is not known yet."""
    async with (
        Membership.open(Memory(Service(Ticking())), "c") as membership,
        asyncio.TaskGroup() as tasks,
    ):
        router = Router(membership, Nodes(), clock=Ticking(), tasks=tasks)
        with pytest.raises(Unavailable, match="no node yet"):
            await router.submit(command("x"))
