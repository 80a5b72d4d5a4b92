"""Following one run of a bounded pipeline to its end."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dataflow.cli import printing
from dataflow.cli.options import Settings
from dataflow.core.lifecycle import COMPLETED

if TYPE_CHECKING:
    from dataflow.client import DataFlow

ENDS = ("PipelineStopped", "PipelineFailed", "PipelineDeleted")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and the pipeline afterwards."""

    completed: bool
    pipeline: printing.Document


async def wait_for(df: DataFlow, settings: Settings, pipeline_id: str, after: int) -> Ended:
    """Show progress until the run that begins after an event ends."""
    end: printing.Document = {}
    with _progress() as progress:
        told: dict[str, printing.Document] = {}
        async for change in df.watch(pipeline_id, after=after):
            seen = printing.document(change)
            if progress is None and seen.get("phase", "") not in ("", told.get("phase")):
                click.echo(f"{pipeline_id}: {_doing(seen)}", err=True)
            told |= {
                name: seen[name] for name in ("phase", "phaseDetail", "metrics") if name in seen
            }
            if progress is not None:
                progress.update(_line(pipeline_id, told))
            if printing.at(seen, "event.tags.type") in ENDS:
                end = seen["event"]
                break
    found = printing.document(await df.get(pipeline_id))
    completed = printing.at(end, "pipelineStopped.reason") == COMPLETED
    if settings.for_people:
        records = printing.count(printing.at(found, "metrics.totalRecordsProcessed") or 0)
        state = "completed" if completed else _how(end)
        click.echo(f"{pipeline_id}: {state}, {records} records", err=not completed)
    return Ended(completed, found)


def _how(end: printing.Document) -> str:
    """Say how a run ended that was not completed."""
    error = printing.at(end, "pipelineFailed.error")
    if error:
        return f"failed in {error.get('step', 'the engine')}: {error.get('message', '')}"
    if "pipelineDeleted" in end:
        return "deleted"
    return f"stopped ({printing.at(end, 'pipelineStopped.reason') or 'no reason given'})"


def _doing(seen: printing.Document) -> str:
    return " ".join(filter(None, (seen.get("phase", ""), seen.get("phaseDetail", ""))))


def _line(pipeline_id: str, told: printing.Document) -> str:
    records = printing.count(printing.at(told, "metrics.totalRecordsProcessed") or 0)
    rate = printing.count(printing.at(told, "metrics.throughputPerSecond") or 0)
    return f"{pipeline_id}: {records} rows, {rate} rows/s, {_doing(told)}"


def _progress() -> AbstractContextManager[Any]:
    """Return a line that changes in place; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return nullcontext()
    return printing.console(stderr=True).status("starting")
