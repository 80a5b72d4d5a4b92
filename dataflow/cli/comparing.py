"""``diff``: what one version of a spec changed against another."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from dataflow.cli import printing
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run
from dataflow.cli.showing import said
from dataflow.core.errors import Code, Rejected

if TYPE_CHECKING:
    from dataflow.client import DataFlow

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("pipeline_id", metavar="ID")
@click.option("--from", "before", type=click.IntRange(min=1), metavar="VERSION")
@click.option("--to", "after", type=click.IntRange(min=1), metavar="VERSION")
@shared
@click.pass_obj
def diff(settings: Settings, *, pipeline_id: str, before: int | None, after: int | None) -> None:
    """Show what a version of the spec of the pipeline with ID changed.

    Without --to it is the latest version, without --from the one before that.
    """

    async def ask(df: DataFlow) -> list[printing.Document]:
        return [printing.document(version) async for version in df.versions(pipeline_id)]

    specs = {v["version"]: said(v["spec"]) for v in run(settings, ask)}
    new = after or max(specs)
    old = before or max((version for version in specs if version < new), default=0)
    for version in (old, new):
        if version not in specs:
            raise Rejected(_missing(version, specs), code=Code.UNKNOWN_VERSION, field="version")
    if settings.for_people:
        names = f"{pipeline_id} version {old}", f"{pipeline_id} version {new}"
        click.echo("\n".join(_lines(specs[old], specs[new], names)))
    else:
        found = [
            {"path": path, "from": one, "to": other}
            for path, one, other in changes(specs[old], specs[new])
        ]
        told = {"pipelineId": pipeline_id, "from": old, "to": new, "changes": found}
        printing.show(settings.output, told)


def _missing(version: int, specs: dict[int, Any]) -> str:
    if not version:
        return f"there is none before version {min(specs)}"
    return f"there is no version {version}; versions {min(specs)} to {max(specs)} are known"


def _lines(old: printing.Document, new: printing.Document, names: tuple[str, str]) -> Iterator[str]:
    one, other = (printing.as_yaml(spec).splitlines() for spec in (old, new))
    found = list(difflib.unified_diff(one, other, *names, lineterm=""))
    for line in found or [f"{names[0]} and {names[1]} are the same"]:
        yield click.style(line, fg=COLOURS.get(line[0])) if found else line


def changes(
    old: printing.Document, new: printing.Document, path: str = ""
) -> Iterator[tuple[str, printing.Document, printing.Document]]:
    """Yield every place where two documents differ, with what is there; None is nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            below = f"{path}.{name}" if path else name
            yield from changes(old.get(name), new.get(name), below)
    elif isinstance(old, list) and isinstance(new, list):
        for at in range(max(len(old), len(new))):
            yield from changes(_item(old, at), _item(new, at), f"{path}[{at}]")
    elif old != new:
        yield path, old, new


def _item(items: Sequence[printing.Document], at: int) -> printing.Document:
    return items[at] if at < len(items) else None
