"""``top``: the pipelines that do most, and those that fail, looked at again and again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from dataflow.cli import printing
from dataflow.cli.options import Duration, Settings, shared
from dataflow.cli.session import run

if TYPE_CHECKING:
    from dataflow.client import DataFlow

TITLES = ("ID", "STATUS", "PHASE", "ROWS/S", "ROWS", "FAILED")

ROWS_MAX = 1_000
"""Nobody reads more lines."""


@click.command()
@click.option("-n", "rows", type=click.IntRange(1, ROWS_MAX), default=20, show_default=True)
@click.option("--interval", type=Duration(), default="2s", show_default=True)
@click.option("--once", is_flag=True, help="Print one table and end, as without a terminal.")
@shared
@click.pass_obj
def top(settings: Settings, *, rows: int, interval: timedelta, once: bool) -> None:
    """Show the busiest pipelines until Ctrl-C; those that have failed come first."""
    from dataflow.cli.board import Board  # noqa: PLC0415 - asyncio, and not needed for --help

    board = Board()
    live = settings.for_people and sys.stdout.isatty() and not once

    async def look(df: DataFlow) -> Sequence[printing.Document]:
        await board.fill(df)
        return board.busiest(rows)

    async def follow(df: DataFlow) -> None:
        import asyncio  # noqa: PLC0415 - 60 ms, and not needed for --help

        from rich.live import Live  # noqa: PLC0415 - for terminals alone

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(board.follow(df))
            with Live(console=printing.console(), auto_refresh=False, screen=True) as screen:
                while True:
                    lines = map(_line, board.busiest(rows))
                    screen.update(printing.grid(TITLES, lines, status=1), refresh=True)
                    await asyncio.sleep(max(0.1, interval.total_seconds()))

    if live:
        run(settings, follow)
        return
    found = run(settings, look)
    if settings.for_people:
        printing.table(TITLES, map(_line, found), status=1)
    else:
        printing.show(settings.output, list(found))


def _line(p: printing.Document) -> tuple[object, ...]:
    return (
        p["pipelineId"],
        p.get("status", ""),
        " ".join(filter(None, (p.get("phase", ""), p.get("phaseDetail", "")))),
        printing.count(printing.at(p, "metrics.throughputPerSecond") or 0),
        printing.count(printing.at(p, "metrics.totalRecordsProcessed") or 0),
        printing.count(printing.at(p, "metrics.totalRecordsFailed") or 0),
    )
