"""The verbs that move pipelines from one status to another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from dataflow.cli import printing
from dataflow.cli.failures import REFUSED, report
from dataflow.cli.options import Duration, Settings, shared
from dataflow.cli.session import run
from dataflow.cli.waiting import Ended, wait_for
from dataflow.core.errors import Rejected

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from dataflow.client import DataFlow

IDS = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@click.command()
@IDS
@click.option("--wait", is_flag=True, help="Follow a bounded pipeline until it has completed.")
@shared
@click.pass_obj
def start(settings: Settings, *, ids: Sequence[str], wait: bool) -> None:
    """Let the pipelines with ID... run, from where they got to."""
    if not wait:
        _each(settings, ids, lambda df, one: df.start(one))
        return

    async def follow(df: DataFlow) -> list[Ended]:
        before = [(await df.get(one)).sequence for one in ids]
        for one in ids:
            await df.start(one)
        return [await wait_for(df, settings, *each) for each in zip(ids, before, strict=True)]

    ended = run(settings, follow)
    if not settings.for_people:
        printing.show_one_or_list(settings.output, [one.pipeline for one in ended])
    if not all(one.completed for one in ended):
        raise click.exceptions.Exit(REFUSED)


@click.command()
@IDS
@click.option("--reason", default="", help="Why, for the audit trail.")
@click.option("--deadline", type=Duration(), help="The longest to wait for the last checkpoint.")
@shared
@click.pass_obj
def stop(settings: Settings, *, ids: Sequence[str], reason: str, deadline: timedelta) -> None:
    """Let the pipelines with ID... finish their last checkpoint, then stop."""
    _each(settings, ids, lambda df, one: df.stop(one, reason=reason, deadline=deadline))


@click.command()
@IDS
@click.option("--reason", default="", help="Why, for the audit trail.")
@shared
@click.pass_obj
def pause(settings: Settings, *, ids: Sequence[str], reason: str) -> None:
    """Let the pipelines with ID... finish their checkpoint, then wait."""
    _each(settings, ids, lambda df, one: df.pause(one, reason=reason))


@click.command()
@IDS
@shared
@click.pass_obj
def resume(settings: Settings, *, ids: Sequence[str]) -> None:
    """Let the paused pipelines with ID... go on."""
    _each(settings, ids, lambda df, one: df.resume(one))


@click.command()
@IDS
@shared
@click.pass_obj
def reset(settings: Settings, *, ids: Sequence[str]) -> None:
    """Make the failed pipelines with ID... startable again; their position is kept."""
    _each(settings, ids, lambda df, one: df.reset(one))


@click.command()
@IDS
@shared
@click.pass_obj
def delete(settings: Settings, *, ids: Sequence[str]) -> None:
    """End the pipelines with ID... for good; their history stays."""
    _each(settings, ids, lambda df, one: df.delete(one))


def answered(settings: Settings, answers: Sequence[printing.Document]) -> None:
    """Print what commands were answered: one document, or a list of several."""
    if not settings.for_people:
        printing.show_one_or_list(settings.output, answers)
        return
    rows = [
        (
            a["pipelineId"],
            a.get("status", ""),
            a.get("message", "") if a.get("changed") else "unchanged: that is how it was",
        )
        for a in answers
    ]
    printing.table(("ID", "STATUS", "MESSAGE"), rows, status=1)


def _each(
    settings: Settings,
    ids: Sequence[str],
    command: Callable[[DataFlow, str], Awaitable[Message]],
) -> None:
    """Give one command to each pipeline; a refusal of one does not spare the others."""

    async def ask(df: DataFlow) -> tuple[list[printing.Document], bool]:
        answers, refused = [], False
        for one in ids:
            try:
                answers.append(printing.document(await command(df, one)))
            except Rejected as error:
                report(error, one)
                refused = True
        return answers, refused

    answers, refused = run(settings, ask)
    if answers:
        answered(settings, answers)
    if refused:
        raise click.exceptions.Exit(REFUSED)
