"""Pipelines as they are: get, describe, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataflow.cli import printing
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run
from dataflow.core.state import Status

if TYPE_CHECKING:
    from dataflow.client import DataFlow

COLUMNS = ("ID", "STATUS", "SOURCE", "SINK", "VERSION", "UPDATED", "NAME")

SPEC = ("source", "sources", "transforms", "sink", "sinks", "options")
LEDGER = {
    "recordsRead": "read",
    "recordsProduced": "produced",
    "recordsWritten": "written",
    "recordsFiltered": "filtered",
    "recordsSkipped": "skipped",
    "recordsAbsorbed": "absorbed",
    "recordsDeadLettered": "dead-lettered",
}


@click.command()
@click.argument("pipeline_id", metavar="[ID]", required=False)
@click.option("--status", type=click.Choice([s.value for s in Status if s is not Status.EMPTY]))
@click.option("-l", "--label", default="", metavar="NAME[=VALUE]", help="With this label.")
@click.option("-q", "text", default="", metavar="TEXT", help="With this in id, name, description.")
@shared
@click.pass_obj
def get(
    settings: Settings, *, pipeline_id: str | None, status: str | None, label: str, text: str
) -> None:
    """List pipelines, or show the one with ID in a line."""
    if pipeline_id and (status or label or text):
        raise click.UsageError("--status, --label and -q are for lists; give them or an ID")

    async def ask(df: DataFlow) -> list[printing.Document]:
        if pipeline_id:
            return [printing.document(await df.get(pipeline_id))]
        chosen = Status(status) if status else None
        return [printing.document(p) async for p in df.list(status=chosen, label=label, q=text)]

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found[0] if pipeline_id else found)
    elif found:
        printing.table(COLUMNS, map(_line, found), status=1)
    else:
        click.echo("no pipelines", err=True)


def _line(p: printing.Document) -> tuple[object, ...]:
    return (
        p["pipelineId"],
        printing.at(p, "status"),
        p.get("sourceType") or printing.at(p, "source.sourceType") or "graph",
        p.get("sinkType") or printing.at(p, "sink.sinkType") or "graph",
        printing.at(p, "version"),
        printing.moment(printing.at(p, "updatedAt")),
        printing.at(p, "name"),
    )


@click.command()
@click.argument("pipeline_id", metavar="ID")
@click.option("--at", "at", default="", metavar="N|TIME", help="As it was after event N, or then.")
@shared
@click.pass_obj
def describe(settings: Settings, *, pipeline_id: str, at: str) -> None:
    """Show everything about the pipeline with ID."""

    async def ask(df: DataFlow) -> printing.Document:
        return printing.document(await df.get(pipeline_id, at=at))

    found = run(settings, ask)
    if settings.for_people:
        click.echo("\n".join(_described(found)))
    else:
        printing.show(settings.output, found)


def _described(p: printing.Document) -> Iterator[str]:
    phase = " ".join(filter(None, (printing.at(p, "phase"), printing.at(p, "phaseDetail"))))
    facts = {
        "name": p.get("name"),
        "description": p.get("description"),
        "status": p.get("status"),
        "phase": phase,
        "reason": p.get("reason"),
        "guarantee": p.get("guarantee"),
        "labels": ", ".join(f"{k}={v}" for k, v in (p.get("labels") or {}).items()),
        "version": p.get("version"),
        "sequence": p.get("sequence"),
        "owner": p.get("owner"),
        "created": printing.moment(printing.at(p, "createdAt")),
        "updated": printing.moment(printing.at(p, "updatedAt")),
        "records": printing.at(p, "metrics.totalRecordsProcessed"),
        "failed": printing.at(p, "metrics.totalRecordsFailed"),
        "checkpoint": printing.moment(printing.at(p, "checkpoint.decidedAt")),
    }
    yield p["pipelineId"]
    for name, value in facts.items():
        if value not in (None, ""):
            yield f"  {name + ':':<14}{value}"
    if p.get("error"):
        yield f"  {'error:':<14}{printing.at(p, 'error.step')}: {printing.at(p, 'error.message')}"
    for output in p.get("outputs") or ():
        columns = ", ".join(f"{c['name']} {c['type']}" for c in output["columns"])
        yield f"  {output['step'] + ' gives:':<14}{columns}"
    spec = {name: said(p[name]) for name in SPEC if p.get(name)}
    yield ""
    yield printing.as_yaml(spec).rstrip()


def said(part: printing.Document) -> printing.Document:
    """Return a part of a spec without what was left to its default; options stay whole."""
    if isinstance(part, list):
        return [said(step) for step in part]
    if not isinstance(part, dict):
        return part
    told = {name: value for name, value in part.items() if value not in (0, "", [], None)}
    return {name: v if name == "options" else said(v) for name, v in told.items()}


@click.command()
@click.argument("pipeline_id", metavar="ID")
@shared
@click.pass_obj
def metrics(settings: Settings, *, pipeline_id: str) -> None:
    """Show what the pipeline with ID has done, as decided, and how fast it goes."""

    async def ask(df: DataFlow) -> printing.Document:
        return printing.document(await df.metrics(pipeline_id))

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
        return
    facts = {
        "records": printing.count(found.get("totalRecordsProcessed", 0)),
        "failed": printing.count(found.get("totalRecordsFailed", 0)),
        "dead letters": printing.count(found.get("deadLetters", 0)),
        "batches": printing.count(found.get("totalBatchesProcessed", 0)),
        "records/s": printing.count(found.get("throughputPerSecond", 0)),
        "ms a batch": f"{found.get('averageProcessingTimeMs', 0):,.2f}",
        "lag, records": _lag(found.get("lagRecords", 0)),
        "lag, bytes": _lag(found.get("lagBytes", 0)),
        "bytes read": printing.count(found.get("bytesRead", 0)),
        "bytes written": printing.count(found.get("bytesWritten", 0)),
        "last": printing.moment(printing.at(found, "lastProcessedAt")),
    }
    for name, value in facts.items():
        click.echo(f"{name + ':':<16}{value}")
    sinks = found.get("sinks") or {}
    if sinks:
        click.echo()
        rows = [
            (name, *(printing.count(printing.at(sink, f"ledger.{key}") or 0) for key in LEDGER))
            for name, sink in sinks.items()
        ]
        printing.table(("SINK", *(title.upper() for title in LEDGER.values())), rows)


def _lag(number: int) -> str:
    return "unknown" if number < 0 else printing.count(number)
