"""What happened to a pipeline, and the ways back: events, versions, rollback, replay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from dataflow.cli import printing
from dataflow.cli.lifecycle import answered
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run

if TYPE_CHECKING:
    from dataflow.client import DataFlow

HEADER = frozenset(
    {
        *("pipelineId", "offset", "sequence", "time", "actor"),
        *("commandId", "commandDigest", "schemaVersion", "tags"),
    }
)
"""What every event has; the other key is its body."""


class Moment(click.ParamType[datetime]):
    """An RFC 3339 time; without a zone it is UTC."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the moment."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-05-01T12:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command()
@click.argument("pipeline_id", metavar="ID")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only events after this one.")
@click.option("--type", "event_type", default="", metavar="TYPE", help="Such as PipelineStarted.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens.")
@shared
@click.pass_obj
def events(
    settings: Settings, *, pipeline_id: str, after: int, event_type: str, follow: bool
) -> None:
    """List what happened to the pipeline with ID, in order: who, what, when."""

    async def ask(df: DataFlow) -> list[printing.Document]:
        found = df.events(pipeline_id, after=after, event_type=event_type)
        return [printing.document(event) async for event in found]

    async def tail(df: DataFlow) -> None:
        async for change in df.watch(pipeline_id, after=after):
            if change.HasField("event") and event_type in ("", change.event.tags["type"]):
                _show_event(settings, printing.document(change.event))

    if follow:
        run(settings, tail)
        return
    found = run(settings, ask)
    if settings.for_people:
        columns = ("SEQ", "TIME", "TYPE", "ACTOR", "DETAILS")
        printing.table(columns, map(_event, found))
    else:
        printing.show(settings.output, found)


def _show_event(settings: Settings, event: printing.Document) -> None:
    if settings.for_people:
        sequence, *rest = map(str, _event(event))
        click.echo("  ".join([f"{sequence:>5}", *rest]).rstrip())
    else:
        printing.show_next(settings.output, event)


def _event(event: printing.Document) -> tuple[object, ...]:
    body: Any = next((v for k, v in event.items() if k not in HEADER), {})
    facts = {**body, **body.get("error", {})}
    facts.pop("stackTrace", None)
    details = " ".join(
        f"{name}={value}"
        for name, value in facts.items()
        if not isinstance(value, dict | list) and value not in ("", 0, False)
    )
    return (
        event.get("sequence"),
        printing.moment(event.get("time", "")),
        printing.at(event, "tags.type"),
        event.get("actor", ""),
        details,
    )


@click.command()
@click.argument("pipeline_id", metavar="ID")
@shared
@click.pass_obj
def versions(settings: Settings, *, pipeline_id: str) -> None:
    """List the versions of the spec of the pipeline with ID, the latest first."""

    async def ask(df: DataFlow) -> list[printing.Document]:
        return [printing.document(version) async for version in df.versions(pipeline_id)]

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
        return
    rows = [
        (
            v["version"],
            printing.moment(v.get("time", "")),
            v.get("actor", ""),
            v.get("sequence", ""),
            v.get("rollbackTo") or "",
            printing.at(v, "spec.name"),
        )
        for v in found
    ]
    printing.table(("VERSION", "TIME", "ACTOR", "SEQ", "ROLLBACK TO", "NAME"), rows)


@click.command()
@click.argument("pipeline_id", metavar="ID")
@click.option("--to", "version", type=click.IntRange(min=1), required=True, metavar="VERSION")
@click.option("--with-checkpoint", is_flag=True, help="Positions and state go back too.")
@shared
@click.pass_obj
def rollback(settings: Settings, *, pipeline_id: str, version: int, with_checkpoint: bool) -> None:
    """Take an old version of the spec of the pipeline with ID again, as a new version."""

    async def ask(df: DataFlow) -> printing.Document:
        answer = await df.rollback(pipeline_id, version, with_checkpoint=with_checkpoint)
        return printing.document(answer)

    answered(settings, [run(settings, ask)])


@click.command()
@click.argument("pipeline_id", metavar="ID")
@click.option("--from-time", "moment", type=Moment(), metavar="TIME", help="As of this moment.")
@click.option(
    "--from-sequence",
    "sequence",
    type=click.IntRange(min=1),
    metavar="N",
    help="As of this event.",
)
@click.option("--from-beginning", is_flag=True, help="Everything.")
@shared
@click.pass_obj
def replay(
    settings: Settings,
    *,
    pipeline_id: str,
    moment: datetime | None,
    sequence: int | None,
    from_beginning: bool,
) -> None:
    """Let the pipeline with ID read again, from a checkpoint of its audit or the beginning.

    The position moves and the status stays: start it afterwards.
    """
    if (moment is not None) + (sequence is not None) + from_beginning != 1:
        raise click.UsageError("give one of --from-time, --from-sequence and --from-beginning")

    async def ask(df: DataFlow) -> printing.Document:
        return printing.document(await df.replay(pipeline_id, sequence=sequence or 0, time=moment))

    answered(settings, [run(settings, ask)])
