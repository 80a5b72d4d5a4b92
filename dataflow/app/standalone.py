"""The program ``dataflow``: one process with everything, and nothing installed beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from dataflow.app.alone import Alone
from dataflow.app.clock import SystemClock
from dataflow.app.composing import Belonging, Composed, composed, no_probe
from dataflow.app.kafka import logs_of
from dataflow.app.node import Node
from dataflow.app.object_store import objects_of
from dataflow.app.program import serve_until_told, started
from dataflow.app.settings import Settings
from dataflow.app.stores import Stores
from dataflow.app.workers import COMMAND
from dataflow.core.events import Cause
from dataflow.core.ids import SHARDS, NodeId
from dataflow.journal.sqlite import Sqlite
from dataflow.views.sqlite import Sqlite as SqliteViews

NODE = NodeId("embedded")
"""The name of the only node there is."""


@asynccontextmanager
async def node(
    settings: Settings,
    probe: Callable[[str], None] = no_probe,
    command: Sequence[str] = COMMAND,
) -> AsyncGenerator[Node, None]:
    """Return a node as ``whole`` does."""
    async with whole(settings, probe, command) as parts:
        yield parts.node


@asynccontextmanager
async def whole(
    settings: Settings,
    probe: Callable[[str], None] = no_probe,
    command: Sequence[str] = COMMAND,
) -> AsyncGenerator[Composed, None]:
    """Return a node over a data directory; on leaving, every run has closed a last checkpoint.

    Raises:
        Unavailable: another process uses the data directory, or its disk is full.
        Corrupted: the journal is damaged; says where.
    """
    async with AsyncExitStack() as stack:
        # BEFORE anything else in the folder: it takes the lock, and names what is wrong with it.
        journal = await Sqlite.open(settings.data_dir)
        stack.push_async_callback(journal.close)
        objects = objects_of(settings)
        await objects.check()
        views = await SqliteViews.open(settings.data_dir)
        stack.push_async_callback(views.close)
        ingest = logs_of(settings)
        stack.push_async_callback(ingest.close)
        stores = Stores(journal, views, objects, ingest)
        parts = await stack.enter_async_context(
            composed(settings, stores, Belonging(NODE, SHARDS), probe, command=command)
        )
        await parts.host.acquire_all()
        parts.take_up(None, Cause.RESTART)
        yield parts


async def run(settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGINT or SIGTERM; statuses stay as they are."""
    async with whole(settings) as parts:
        alone = Alone(settings.cluster, NODE, parts.host, shards=SHARDS, since=SystemClock().now())
        await serve_until_told(parts.node, alone, settings, parts.node.metrics, ready=ready)


@click.command(name="dataflow")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file of settings; DATAFLOW_… variables win over it.",
)
def main(config: Path | None) -> None:
    """Run the whole platform in this process."""
    started(config, run)
