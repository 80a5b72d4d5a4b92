"""A session that does to conditional writes what a network and a slow coordinator may do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from cassandra.query import Statement

from dataflow.core.errors import Code, Unavailable
from dataflow.journal.cassandra import Cassandra, Options, schema
from dataflow.journal.cassandra.journal import SERIAL, STATEMENTS
from dataflow.journal.cassandra.log import BUCKET_EVENTS
from dataflow.journal.cassandra.session import CONDITIONAL, Row, Session, Values

HASTE_S = 0.004
"""About what an append takes."""

LATE_S_MAX = 0.05
"""Several writes long."""


class Adversary(Session):
    """Decides each conditional write's fate by ``fate``; every one but ``fine`` is unknown to all.

    ``lost`` never arrives. ``unheard`` is carried out and its answer lost. ``late`` is carried out
    some time later, whatever has been written by then; ``held`` only when ``release`` is called.
    """

    fate: Callable[[], str] = staticmethod(lambda: "fine")
    is_readable = True
    """Whether anything but conditional writes succeeds."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - as they come
        super().__init__(*args)
        self.held: list[Statement] = []
        self.late: set[asyncio.Task[object]] = set()
        self.unknown = 0

    async def _run(self, statement: Statement) -> Sequence[Values]:
        if not self.is_readable:
            raise Unavailable(f"{self}: out of reach", code=Code.STORAGE)
        return await super()._run(statement)

    async def _conditionally(self, statement: Statement) -> Row:
        fate = self.fate()
        if fate == "fine":
            return await super()._conditionally(statement)
        self.unknown += 1
        if fate == "unheard":
            await super()._conditionally(statement)
        elif fate == "late":
            task = asyncio.get_running_loop().create_task(self._later(statement))
            self.late.add(task)
        elif fate == "held":
            self.held.append(statement)
        raise Unavailable(f"{self}: {fate}", code=Code.OUTCOME_UNKNOWN)

    async def _later(self, statement: Statement) -> Row:
        await asyncio.sleep(random.Random(self.unknown).uniform(0, LATE_S_MAX))
        return await super()._conditionally(statement)

    async def release(self) -> list[Row]:
        """Carry out what was held, and return what the store said."""
        held, self.held = self.held, []
        return [await super(Adversary, self)._conditionally(statement) for statement in held]


class Hasty(Session):
    """Gives one conditional write in ten up after 4 ms; the server does not."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - as they come
        super().__init__(*args)
        self._patience_s = self._timeout_s
        self._sent = 0

    def _send(self, statement: Statement, profile: object) -> asyncio.Future[Any]:
        self._sent += profile == CONDITIONAL
        is_hasty = profile == CONDITIONAL and self._sent % 10 == 0
        self._timeout_s = HASTE_S if is_hasty else self._patience_s
        return super()._send(statement, profile)


S = TypeVar("S", bound=Session)


async def opened(
    kind: type[S], options: Options, bucket_events: int = BUCKET_EVENTS
) -> tuple[Cassandra, S]:
    """Open a journal over such a session."""
    prepare = partial(schema.prepare, options)
    session = await kind.connect(options, STATEMENTS, prepare, SERIAL)
    return Cassandra(session, bucket_events), session


def sometimes(seed: int, share: float, *fates: str) -> Callable[[], str]:
    """Return fates of which so many are bad, at random but always the same."""
    chance = random.Random(seed)
    return lambda: chance.choice(fates) if chance.random() < share else "fine"
