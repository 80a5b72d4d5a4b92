"""What ``make run`` runs: the whole platform, and two pipelines over real data.

A second run finds everything again: what has completed is shown, what was killed goes on.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from dataflow.app.program import started
from dataflow.app.settings import Settings
from dataflow.app.standalone import run
from dataflow.client import DataFlow
from dataflow.core.errors import Code, Rejected
from dataflow.v1 import event_pb2 as pb
from dataflow.wire.words import word

PIPELINES = Path("deploy/demo/flights.yaml")
STEP_S = 0.2
"""Between two lines of progress."""


async def show(settings: Settings) -> None:
    """Create what is missing, start what has not run, and say what came out."""
    async with DataFlow(settings.grpc_address) as df:
        specs = list(_specs())
        for spec in specs:
            await _ensure(df, spec)
        for spec in specs:
            await _follow(df, spec["pipelineId"])
        click.echo()
        for spec in specs:
            await _result(df, spec)
    click.echo(f"\nServing http://{settings.http_address} (docs at /docs) until Ctrl-C.")


def _specs() -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(PIPELINES.read_text())


async def _ensure(df: DataFlow, spec: dict[str, Any]) -> None:
    try:
        await df.create(spec)
        await df.start(spec["pipelineId"])
        click.echo(f"{spec['pipelineId']}: created and started")
    except Rejected as error:
        if error.code != Code.PIPELINE_EXISTS:
            raise
        click.echo(f"{spec['pipelineId']}: found again from an earlier run")


async def _follow(df: DataFlow, pipeline: str) -> None:
    """Show progress until the pipeline no longer runs."""
    while True:
        shown = await df.get(pipeline)
        metrics = shown.metrics
        line = (
            f"{pipeline}: {word(pb.Status.DESCRIPTOR, shown.status)} ({shown.phase}),"
            f" {metrics.total_records_processed:,} records"
            f" ({metrics.throughput_per_second:,.0f} a second)"
        )
        click.echo(f"\r{line:<78}" if sys.stdout.isatty() else line, nl=not sys.stdout.isatty())
        if shown.status != pb.STATUS_RUNNING:
            break
        await asyncio.sleep(STEP_S)
    if sys.stdout.isatty():
        click.echo()


async def _result(df: DataFlow, spec: dict[str, Any]) -> None:
    """Show what became of every record, and where the output is."""
    pipeline = spec["pipelineId"]
    shown = await df.get(pipeline)
    ledger = (await df.metrics(pipeline)).ledger
    click.echo(f"{shown.name} ({pipeline}, {shown.reason or shown.error.message})")
    click.echo(
        f"  read {ledger.records_read:,} = written {ledger.records_written:,}"
        f" + filtered {ledger.records_filtered:,} + skipped {ledger.records_skipped:,}"
        f" + dead letters {ledger.records_dead_lettered:,}"
    )
    click.echo(f"  output: {shown.sink.connection_string}")


async def serve_and_show(settings: Settings) -> None:
    """Serve until a signal, and show the pipelines as soon as it is served."""
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(run(settings, ready.set))
        waiting = tasks.create_task(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            waiting.cancel()
            return
        showing = tasks.create_task(show(settings))
        await serving
        showing.cancel()


def main() -> None:
    """Run the demonstration; exit as the program ``dataflow`` does."""
    started(None, serve_and_show)


if __name__ == "__main__":
    main()
