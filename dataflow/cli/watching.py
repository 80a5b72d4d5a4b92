"""``watch``: pipelines as they change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dataflow.cli import printing
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run

if TYPE_CHECKING:
    from rich.table import Table

    from dataflow.client import DataFlow

TITLES = ("ID", "STATUS", "PHASE", "ROWS", "ROWS/S", "LAST EVENT")


@click.command()
@click.argument("pipeline_id", metavar="[ID]", required=False)
@shared
@click.pass_obj
def watch(settings: Settings, *, pipeline_id: str | None) -> None:
    """Follow the pipeline with ID, or all of them, until Ctrl-C.

    On a terminal a table changes in place; elsewhere each change is a line.
    """
    live = settings.for_people and sys.stdout.isatty()

    async def follow(df: DataFlow) -> None:
        async for change in df.watch(pipeline_id or ""):
            seen = printing.document(change)
            if settings.for_people:
                click.echo("  ".join(filter(None, map(str, _told(seen)))))
            else:
                printing.show_next(settings.output, seen)

    run(settings, (lambda df: _live(df, pipeline_id)) if live else follow)


async def _live(df: DataFlow, pipeline_id: str | None) -> None:
    from rich.live import Live  # noqa: PLC0415 - for terminals alone

    rows: dict[str, printing.Document] = {}
    if pipeline_id:
        rows[pipeline_id] = printing.document(await df.get(pipeline_id))
    else:
        async for p in df.list():
            rows[p.pipeline_id] = printing.document(p)
    with Live(_grid(rows), console=printing.console(), auto_refresh=False) as screen:
        async for change in df.watch(pipeline_id or ""):
            seen = printing.document(change)
            rows[change.pipeline_id] = {**rows.get(change.pipeline_id, {}), **seen}
            screen.update(_grid(rows), refresh=True)


def _grid(rows: dict[str, printing.Document]) -> Table:
    lines = [_row(name, row) for name, row in sorted(rows.items())]
    return printing.grid(TITLES, lines, status=1)


def _row(name: str, row: printing.Document) -> tuple[object, ...]:
    phase = " ".join(filter(None, (row.get("phase", ""), row.get("phaseDetail", ""))))
    return (
        name,
        row.get("status", ""),
        phase,
        printing.count(printing.at(row, "metrics.totalRecordsProcessed") or 0),
        printing.count(printing.at(row, "metrics.throughputPerSecond") or 0),
        printing.at(row, "event.tags.type"),
    )


def _told(seen: printing.Document) -> tuple[str, ...]:
    """Return one change as the words of a line."""
    rates = ""
    if "metrics" in seen:
        records = printing.count(printing.at(seen, "metrics.totalRecordsProcessed") or 0)
        rate = printing.count(printing.at(seen, "metrics.throughputPerSecond") or 0)
        rates = f"{records} rows, {rate} rows/s"
    phase = " ".join(filter(None, (seen.get("phase", ""), seen.get("phaseDetail", ""))))
    return (
        printing.moment(seen.get("timestamp", "")),
        seen.get("pipelineId", ""),
        seen.get("status", ""),
        phase,
        printing.at(seen, "event.tags.type"),
        rates,
    )
