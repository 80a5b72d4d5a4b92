"""A gateway: the shipped routing, between clients and nodes that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Registration
from dataflow.cluster.routing import Router
from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import Code, DataFlowError, Unavailable
from dataflow.core.ids import PipelineId
from dataflow.core.state import State
from tests.simulation.coordination import RemoteCoordination
from tests.simulation.network import TimedOut
from tests.simulation.nodes import CLUSTER, Life, ProcessClock
from tests.simulation.processes import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

NODE_PATIENCE_S = 1.0
"""How long a gateway waits for a node before it takes the link for lost."""

OPEN_AGAIN_S = 0.3
"""Between two tries to see the cluster."""


class Gateway:
    """One gateway process."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.process = world.loop.process(name)
        self._router: Router | None = None
        self.process.spawn(self._live())

    async def _live(self) -> None:
        world = self._world
        coordination = RemoteCoordination(world.network, self.process, world.coordination)
        clock = ProcessClock(self.process, 0)
        while True:
            try:
                async with (
                    Membership.open(coordination, CLUSTER) as membership,
                    asyncio.TaskGroup() as tasks,
                ):
                    self._router = Router(membership, self, clock=clock, tasks=tasks)
                    await asyncio.get_running_loop().create_future()
            except Unavailable:
                await asyncio.sleep(OPEN_AGAIN_S)

    async def answer(self, client: Process, command: Command, patience_s: float) -> Answer:
        """Carry out a command, asked by a client over the network."""

        async def work(router: Router) -> Answer:
            return await router.submit(command)

        return await self._serve(client, work, patience_s)

    async def state(self, client: Process, pipeline: PipelineId, patience_s: float) -> State:
        """Return a pipeline's state, asked by a client over the network."""

        async def look(node: Registration) -> State:
            async def show(life: Life) -> State:
                return life.state(pipeline)

            return await self._ask(node, show, Code.BUSY)

        async def work(router: Router) -> State:
            return await router.ask(pipeline, look)

        return await self._serve(client, work, patience_s)

    async def _serve(
        self, client: Process, work: Callable[[Router], Awaitable[T]], patience_s: float
    ) -> T:
        answered: asyncio.Future[T] = self._world.loop.create_future()

        async def found() -> T:
            if self._router is None:
                raise Unavailable("the gateway is starting")
            return await work(self._router)

        def arrive() -> None:
            self.process.spawn(self._reply(self.process, client, answered, found()))

        return await self._world.network.wait(
            client, self.process, arrive, answered, patience_s=patience_s
        )

    async def execute(
        self, node: Registration, commands: Sequence[Command]
    ) -> Sequence[Answer | DataFlowError]:
        """See ``cluster.routing.Nodes``."""
        return await self._ask(node, lambda life: life.execute(commands), Code.OUTCOME_UNKNOWN)

    async def _ask(
        self, node: Registration, work: Callable[[Life], Coroutine[Any, Any, T]], code: Code
    ) -> T:
        life = self._world.life(node.node)
        answered: asyncio.Future[T] = self._world.loop.create_future()

        def arrive() -> None:
            life.process.spawn(self._reply(life.process, self.process, answered, work(life)))

        try:
            return await self._world.network.wait(
                self.process, life.process, arrive, answered, patience_s=NODE_PATIENCE_S
            )
        except TimedOut:
            raise Unavailable("the node was lost", code=code) from None

    async def _reply(
        self,
        server: Process,
        client: Process,
        answered: asyncio.Future[T],
        work: Coroutine[Any, Any, T],
    ) -> None:
        try:
            result: object = await work
        except Exception as error:  # noqa: BLE001 - it is the answer
            result = error
        self._world.network.reply(server, client, answered, result)
