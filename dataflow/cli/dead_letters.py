"""``dlq``: records that a step could not handle and that were kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataflow.cli import printing
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run

if TYPE_CHECKING:
    from dataflow.client import DataFlow

LIMIT = 100
"""A few screens; a pipeline may keep millions."""


@click.group()
def dlq() -> None:
    """Look at records that could not be handled."""


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
@shared
@click.pass_obj
def list_(settings: Settings, *, pipeline_id: str, limit: int) -> None:
    """List the dead letters of the pipeline with ID: the record, the error, where it was."""

    async def ask(df: DataFlow) -> tuple[list[printing.Document], bool]:
        found: list[printing.Document] = []
        async for letter in df.dead_letters(pipeline_id, page_size=min(limit + 1, 1000)):
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
            )
            for letter in found
        ]
        printing.table(("STEP", "SPLIT", "RECORD", "ERROR", "TEXT"), rows)
    else:
        click.echo("no dead letters", err=True)
    if more:
        click.echo(f"there are more than {limit}; --limit shows more", err=True)
