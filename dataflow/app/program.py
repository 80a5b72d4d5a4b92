"""What every program of the platform does around its work: settings, signals, the end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import click
import structlog
from prometheus_client import CollectorRegistry

from dataflow.app.builtin import registry
from dataflow.app.clock import SystemClock
from dataflow.app.composing import new_id
from dataflow.app.logs import configure
from dataflow.app.memory import share_free_memory
from dataflow.app.settings import Settings, load
from dataflow.core.errors import Corrupted, DataFlowError
from dataflow.engine.failure import first_of
from dataflow.server.backend import Backend
from dataflow.server.cluster_backend import ClusterBackend
from dataflow.server.serve import Settings as ServerSettings
from dataflow.server.serve import serve

log = structlog.get_logger()

HANGING_GRACE = timedelta(seconds=10)
"""Beyond the time for last checkpoints, for requests under way and for threads to end."""

GC_THRESHOLD = 100_000, 5, 10
"""Objects, and younger collections, between two. Commands and runs that begin make thousands of
objects that live, and hardly a cycle: at Python's own 700, 10, 10 looking for cycles took a tenth
of a command's time, and at 10,000 an eighth of what a run takes to begin."""


async def serve_until_told(
    backend: Backend,
    cluster: ClusterBackend,
    settings: Settings,
    metrics: CollectorRegistry,
    *,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve a backend until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = serve(
        backend,
        cluster,
        ServerSettings(
            http_address=settings.http_address,
            grpc_address=settings.grpc_address,
            insecure_bind=settings.insecure_bind,
            grace=min(settings.stop_grace, timedelta(seconds=5)),
            options_schemas=_schemas,
        ),
        clock=SystemClock(),
        new_id=new_id,
        registry=metrics,
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


def _fail(error: BaseException) -> None:
    error = first_of(error)
    click.echo(f"dataflow: {error}", err=True)
    sys.exit(70 if isinstance(error, Corrupted) else 1)
