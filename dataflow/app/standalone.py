"""The program ``dataflow``: one process with everything, and nothing installed beside it."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import click
import structlog

from dataflow.app.builtin import registry
from dataflow.app.cleaning import Cleaning
from dataflow.app.clock import SystemClock
from dataflow.app.contexts import Contexts, Paths, Secrets
from dataflow.app.history import Past
from dataflow.app.logs import configure
from dataflow.app.node import PUSH, Node, Parts
from dataflow.app.projection import Fanout
from dataflow.app.settings import Settings, load
from dataflow.app.watching import Watchers
from dataflow.cluster.host import Host
from dataflow.cluster.host import Surroundings as HostSurroundings
from dataflow.cluster.runs import Node as RunsNode
from dataflow.cluster.runs import Runs
from dataflow.core import messages as m
from dataflow.core.errors import Corrupted, DataFlowError
from dataflow.core.events import Cause
from dataflow.core.ids import SHARDS, PipelineId
from dataflow.engine.failure import first_of, unsaid
from dataflow.engine.ingest import IngestLogs
from dataflow.engine.objects import Objects
from dataflow.engine.worker import Surroundings
from dataflow.engine.workers import Inline
from dataflow.journal.sqlite import Sqlite
from dataflow.server.serve import Settings as ServerSettings
from dataflow.server.serve import serve
from dataflow.views.sqlite import Sqlite as SqliteViews

log = structlog.get_logger()

NODE = "embedded"
"""The name of the only node there is."""

HANGING_GRACE = timedelta(seconds=10)
"""Beyond the time for last checkpoints, for requests under way and for threads to end."""

GC_THRESHOLD = 10_000, 20, 50
"""Objects, and younger collections, between two. Commands make thousands of objects that live, and
hardly a cycle: at Python's own 700, 10, 10 looking for cycles took a tenth of a command's time."""

ARENA_MAX_PARAMETER = -8
"""M_ARENA_MAX of glibc's malloc.h."""


def new_id() -> str:
    """Return an id that nobody has had: the one place that draws them."""
    return secrets.token_hex(8)  # noqa: TID251 - the id factory that everything else is handed


def no_probe(_: str) -> None:
    """Do nothing: between two effects that must not swap, tests die instead."""


@asynccontextmanager
async def node(
    settings: Settings, probe: Callable[[str], None] = no_probe
) -> AsyncGenerator[Node, None]:
    """Return a node over a data directory; on leaving, every run has closed a last checkpoint.

    Raises:
        Unavailable: another process uses the data directory, or its disk is full.
        Corrupted: the journal is damaged; says where.
    """
    clock, watchers, steps = SystemClock(), Watchers(), registry()
    async with AsyncExitStack() as stack:
        # BEFORE anything else in the folder: it takes the lock, and names what is wrong with it.
        journal = await Sqlite.open(settings.data_dir)
        stack.push_async_callback(journal.close)
        objects = Objects.local(settings.data_dir / "objects")
        views = await SqliteViews.open(settings.data_dir)
        stack.push_async_callback(views.close)
        ingest = IngestLogs(settings.data_dir / "ingest")
        stack.push_async_callback(ingest.close)
        past = Past(journal, views, clock)
        fanout = Fanout(views, SHARDS)
        host = await stack.enter_async_context(
            Host.open(HostSurroundings(journal, fanout, past, clock, new_id, SHARDS))
        )
        await host.acquire_all()
        contexts = Contexts(clock, Paths(settings.file_roots), ingest.log, probe)
        link = _Link(contexts.secrets)
        hide = contexts.secrets.hide
        here = Surroundings(steps, contexts, objects, clock, link.to_owner, probe, hide)
        workers = await stack.enter_async_context(Inline.open(here))
        ingested = partial(_ingested, host, ingest)
        around = RunsNode(host, workers.receive, clock, random.Random().random, ingested, probe)
        runs = await stack.enter_async_context(Runs.open(around, settings.stop_grace))
        link.runs = runs
        runs.take_up(None, Cause.RESTART)
        cleaning = await stack.enter_async_context(Cleaning.open(host, ingest))
        fanout.listen(runs.committed)
        fanout.listen(watchers.committed)
        fanout.listen(cleaning.committed)
        yield Node(
            Parts(NODE, host, runs, views, past, watchers, steps, workers, objects, ingest, clock)
        )


async def _ingested(host: Host, ingest: IngestLogs, pipeline: PipelineId) -> int:
    """Return where a pipeline's ingest log ends; 0 where nothing is pushed."""
    sources = host.state(pipeline).spec.sources.values()
    is_pushed = any(source.source_type == PUSH for source in sources)
    return await ingest.log(pipeline).end() if is_pushed else 0


class _Link:
    """Hands a worker's messages to the runs, which are made after it, and unsays its secrets."""

    def __init__(self, secrets: Secrets) -> None:
        self.runs: Runs | None = None
        self._secrets = secrets

    def to_owner(self, message: m.ToOwner) -> None:
        """Take a message from the worker; what it says is journalled, logged and shown."""
        if self.runs is not None:
            self.runs.receive(unsaid(message, self._secrets.hide))


async def run(settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGINT or SIGTERM; statuses stay as they are."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with node(settings) as backend:
        serving = serve(
            backend,
            ServerSettings(
                http_address=settings.http_address,
                grpc_address=settings.grpc_address,
                insecure_bind=settings.insecure_bind,
                grace=min(settings.stop_grace, timedelta(seconds=5)),
                options_schemas=_schemas,
            ),
            clock=SystemClock(),
            new_id=new_id,
            registry=backend.metrics,
        )
        async with serving as served:
            log.info("ready", http=served.http, grpc=served.grpc, data=str(settings.data_dir))
            ready()
            await stop.wait()
            log.info("stopping")
            _end_by(settings.stop_grace + HANGING_GRACE)


def _end_by(patience: timedelta) -> None:
    """End the process in any case, should a connector's thread never return: Python waits for it.

    Nothing is lost by that: everything decided is durable, and the next start cuts back the rest.
    """

    def end() -> None:
        log.error("ended by force: a thread of a connector has not returned")
        os._exit(0)

    watchdog = Timer(patience.total_seconds(), end)
    watchdog.daemon = True
    watchdog.start()


def _schemas() -> dict[str, Any]:
    """Return the JSON schema of every step's options, by names such as ``file source``."""
    return {
        f"{spec.name} {type(spec).__name__.removesuffix('Spec').lower()}": (
            spec.options.model_json_schema(by_alias=True)
        )
        for spec in registry().specs
    }


@click.command(name="dataflow")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file of settings; DATAFLOW_… variables win over it.",
)
def main(config: Path | None) -> None:
    """Run the whole platform in this process."""
    started(config, run)


def started(config: Path | None, serving: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    """Run a program over its settings; an expected error is one line and an exit code."""
    import uvloop

    try:
        settings = load(config)
        configure(settings.log_format)
        gc.set_threshold(*GC_THRESHOLD)
        share_free_memory()
        uvloop.run(serving(settings))
    except BaseExceptionGroup as group:
        expected, others = group.split(DataFlowError)
        if expected is None or others is not None:
            raise
        _fail(expected)
    except DataFlowError as error:
        _fail(error)


def share_free_memory() -> None:
    """Let all threads allocate from one heap, BEFORE there is a second thread.

    By default each keeps what it freed to itself, and a chunk passes through five of them: over
    12 M rows of CSV that held 40 MiB more and took 2 % more processor. Another C library has no
    such setting, and needs none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(ARENA_MAX_PARAMETER, 1)


def _fail(error: BaseException) -> None:
    error = first_of(error)
    click.echo(f"dataflow: {error}", err=True)
    sys.exit(70 if isinstance(error, Corrupted) else 1)
