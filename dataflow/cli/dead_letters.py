"""``dlq``: records that a step could not handle and that were kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataflow.cli import printing
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run
from dataflow.core.errors import Rejected

if TYPE_CHECKING:
    from dataflow.client import DataFlow

F = TypeVar("F", bound=Callable[..., Any])

LIMIT = 100
"""A few screens; a pipeline may keep millions."""


@click.group()
def dlq() -> None:
    """Look at records that could not be handled, mend them, replay them."""


@dlq.command("list")
@click.argument("pipeline_id", metavar="ID")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=LIMIT,
    show_default=True,
    help="At most so many.",
)
@click.option("--step", default="", help="Only those of this step.")
@click.option("--error", default="", help="Only those with this text in their error.")
@shared
@click.pass_obj
def list_(settings: Settings, *, pipeline_id: str, limit: int, step: str, error: str) -> None:
    """List the dead letters of the pipeline with ID: the record, the error, where it was."""

    async def ask(df: DataFlow) -> tuple[list[printing.Document], bool]:
        found: list[printing.Document] = []
        size = min(limit + 1, 1000)
        async for letter in df.dead_letters(pipeline_id, step=step, error=error, page_size=size):
            if len(found) == limit:
                return found, True
            found.append(printing.document(letter))
        return found, False

    found, more = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
    elif found:
        rows = [
            (
                letter.get("step", ""),
                letter.get("split", ""),
                letter.get("ordinal", 0),
                letter.get("error", ""),
                letter.get("record", ""),
                letter.get("id", ""),
            )
            for letter in found
        ]
        printing.table(("STEP", "SPLIT", "RECORD", "ERROR", "TEXT", "ID"), rows)
    else:
        click.echo("no dead letters", err=True)
    if more:
        click.echo(f"there are more than {limit}; --limit shows more", err=True)


def naming(command: F) -> F:
    """Give a command the options that name letters."""
    for option in (
        click.option("--all", "all_", is_flag=True, help="All that there are."),
        click.option("--error", default="", help="Those with this text in their error."),
        click.option("--step", default="", help="Those of this step."),
        click.argument("letters", metavar="[LETTER]...", nargs=-1),
        click.argument("pipeline_id", metavar="ID"),
    ):
        command = option(command)
    return command


@dlq.command()
@click.argument("pipeline_id", metavar="ID")
@shared
@click.pass_obj
def causes(settings: Settings, *, pipeline_id: str) -> None:
    """Say why records of the pipeline with ID were kept, the most frequent first."""

    async def ask(df: DataFlow) -> list[printing.Document]:
        return [printing.document(each) for each in await df.dead_letter_causes(pipeline_id)]

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
    elif found:
        names = ("letters", "step", "error", "example")
        printing.table(
            ("LETTERS", "STEP", "ERROR", "EXAMPLE"),
            [tuple(each.get(name, "") for name in names) for each in found],
        )
    else:
        click.echo("no dead letters", err=True)


@dlq.command()
@naming
@click.option(
    "--set",
    "settings_",
    metavar="COLUMN=EXPRESSION",
    multiple=True,
    help="Compute a column anew; expressions over a source's letters read its text as record.",
)
@click.option("--record", default="", help="A whole new record, as a JSON object, of one LETTER.")
@shared
@click.pass_obj
def replay(
    settings: Settings,
    *,
    pipeline_id: str,
    letters: tuple[str, ...],
    step: str,
    error: str,
    all_: bool,
    settings_: tuple[str, ...],
    record: str,
) -> None:
    """Bring kept records of the pipeline with ID back to where they fell out, each once.

    As they were, or patched: --set computes columns, --record replaces one.
    """
    patch = dict(map(_setting, settings_))

    async def ask(df: DataFlow) -> printing.Document:
        answer = await df.replay_dead_letters(
            pipeline_id, ids=letters, step=step, error=error, all=all_, set=patch, record=record
        )
        return printing.document(answer)

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
        return
    click.echo(f"{found.get('letters', 0)} to replay; {found.get('message', '')}")
    if left := int(found.get("left", 0)):
        click.echo(f"{left} more are too many for one replay; ask again for them", err=True)


dlq.add_command(replay, "patch")


@dlq.command()
@naming
@shared
@click.pass_obj
def purge(
    settings: Settings,
    *,
    pipeline_id: str,
    letters: tuple[str, ...],
    step: str,
    error: str,
    all_: bool,
) -> None:
    """Let kept records of the pipeline with ID be gone for good."""

    async def ask(df: DataFlow) -> printing.Document:
        answer = await df.purge_dead_letters(
            pipeline_id, ids=letters, step=step, error=error, all=all_
        )
        return printing.document(answer)

    found = run(settings, ask)
    if settings.for_people:
        click.echo(f"{found.get('letters', 0)} purged")
    else:
        printing.show(settings.output, found)


def _setting(text: str) -> tuple[str, str]:
    column, is_one, expression = text.partition("=")
    if not is_one or not column:
        raise Rejected(f"{text!r} is no COLUMN=EXPRESSION", field="set")
    return column, expression
