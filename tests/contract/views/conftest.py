"""What the views' tests share: the implementations, and events as a shard's owner applies them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataflow.core import events as e
from dataflow.core.ids import CommandId, Offset, PipelineId, Sequence, ShardId
from dataflow.core.lifecycle import evolve
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.core.state import State
from dataflow.views.cassandra import Cassandra
from dataflow.views.contract import Projected, Views
from dataflow.views.memory import Memory
from dataflow.views.sqlite import Sqlite

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def spec(name: str = "Late flights", **fields: object) -> PipelineSpec:
    """Return the stored form of a small pipeline."""
    plain = PipelineSpec(name=name, source=Source("file"), sink=Sink("console"))
    return canonical(replace(plain, **fields))  # type: ignore[arg-type]  # fields of the spec


class Owner:
    """Numbers events as one shard's owner does: one a minute from noon on."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.offset = 0
        self.spec = spec

    def __call__(self, pipeline: str, *bodies: e.Body) -> list[Projected]:
        made = []
        for body in bodies:
            state = self.states.get(pipeline, State())
            event = e.Event(
                pipeline_id=PipelineId(pipeline),
                offset=Offset(self.offset + 1),
                sequence=Sequence(state.sequence + 1),
                time=NOON + timedelta(minutes=self.offset),
                actor="ada",
                command_id=CommandId(f"c-{self.offset}"),
                body=body,
            )
            self.offset += 1
            self.states[pipeline] = evolve(state, event)
            made.append(Projected(ShardId(3), event.offset, event, self.states[pipeline]))
        return made


@pytest.fixture
def owner() -> Owner:
    """Return an owner who has written nothing yet."""
    return Owner()


@pytest.fixture(params=["memory", "sqlite", "cassandra"])
async def views(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Views]:
    """Open views that show nothing."""
    opened: Views
    match request.param:
        case "memory":
            opened = Memory()
        case "sqlite":
            opened = await Sqlite.open(tmp_path)
        case _:
            opened = await Cassandra.open(request.getfixturevalue("keyspace"))
    yield opened
    await opened.close()


@pytest.fixture
async def open_sqlite(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Sqlite]]]:
    """Open the views in SQLite, each time over what the ones before have left."""
    async with AsyncExitStack() as stack:

        async def opened() -> Sqlite:
            await stack.aclose()
            views = await Sqlite.open(tmp_path)
            stack.push_async_callback(views.close)
            return views

        yield opened
