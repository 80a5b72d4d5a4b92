"""Looking before leaping: validate and preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from dataflow.cli import printing
from dataflow.cli.failures import REFUSED, lines
from dataflow.cli.files import Spec, load
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run
from dataflow.core.errors import Invalid, Problem
from dataflow.core.spec import SOURCE

if TYPE_CHECKING:
    from dataflow.client import DataFlow


@click.command()
@click.option("-f", "--file", "path", required=True, metavar="FILE|-", help="YAML or JSON.")
@shared
@click.pass_obj
def validate(settings: Settings, *, path: str) -> None:
    """Report everything that is wrong with the pipelines of a file; nothing is stored."""
    specs = load(path)

    found = run(settings, lambda df: _validated(df, specs))
    if settings.for_people:
        for checked in found:
            _tell(checked)
    else:
        printing.show_one_or_list(settings.output, found)
    if not all(checked.get("valid") for checked in found):
        raise click.exceptions.Exit(REFUSED)


async def _validated(df: DataFlow, specs: Sequence[Spec]) -> list[printing.Document]:
    found = []
    for number, spec in enumerate(specs, 1):
        name = spec.get("pipelineId") or f"document {number}"
        checked = printing.document(await df.validate(spec))
        found.append({"pipeline": name, **checked})
    return found


def _tell(checked: printing.Document) -> None:
    if checked.get("valid"):
        click.echo(f"{checked['pipeline']}: valid, {checked.get('guarantee', '')}")
        return
    problems = [Problem(p.get("field", ""), p["message"]) for p in checked["problems"]]
    for line in lines(Invalid(problems), checked["pipeline"]):
        click.echo(line, err=True)


@click.command()
@click.argument("pipeline_id", metavar="[ID]", required=False)
@click.option("-f", "--file", "path", metavar="FILE|-", help="A file with one pipeline.")
@click.option(
    "-n",
    "records",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Records to read.",
)
@click.option(
    "--given",
    "given_files",
    metavar="[SOURCE=]FILE",
    multiple=True,
    help="JSON lines to take instead of what a source would read; it is not opened.",
)
@shared
@click.pass_obj
def preview(
    settings: Settings,
    *,
    pipeline_id: str | None,
    path: str | None,
    records: int,
    given_files: Sequence[str],
) -> None:
    """Run the first records of the pipeline with ID, or of a file, through every step.

    Nothing is written and no position moves.
    """
    given: dict[str, list[Mapping[str, Any]]] = {}
    for source, rows in map(_given, given_files):
        if source in given:
            raise click.UsageError(f"--given: {source!r} is given twice; put its records in a file")
        given[source] = rows
    if (pipeline_id is None) == (path is None):
        raise click.UsageError("give either an ID or -f FILE")
    specs = load(path) if path else []
    if len(specs) > 1:
        raise click.UsageError(f"{path} holds {len(specs)} pipelines; preview takes one")

    async def ask(df: DataFlow) -> printing.Document:
        spec = specs[0] if specs else None
        named = pipeline_id or ""
        return printing.document(
            await df.preview(spec, pipeline_id=named, records=records, given=given)
        )

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
        return
    for step in found.get("steps", []):
        _print(step)


def _given(option: str) -> tuple[str, list[Mapping[str, Any]]]:
    """Return a source and the records of a file; a source without a name is called source."""
    source, _, path = option.rpartition("=")
    try:
        lines = Path(path).read_bytes().splitlines()
        rows = [orjson.loads(line) for line in lines if line.strip()]
    except OSError as error:
        raise click.UsageError(f"--given {path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"--given {path}: {error}") from error
    if wrong := next((row for row in rows if not isinstance(row, dict)), None):
        raise click.UsageError(f"--given {path}: {wrong!r:.80} is no JSON object")
    return source or SOURCE, rows


def _print(step: printing.Document) -> None:
    records = step.get("records", [])
    about = [f"{len(records)} records"]
    if step.get("filtered"):
        about.append(f"{step['filtered']} filtered")
    if step.get("rejected"):
        about.append(f"{len(step['rejected'])} rejected")
    click.echo(f"── {step.get('step', '')}: {', '.join(about)}")
    columns = [column["name"] for column in step.get("columns", [])]
    titles = [f"{c['name']} {c.get('type', '')}".strip() for c in step.get("columns", [])]
    if columns:
        printing.table(titles, [[_value(record.get(c)) for c in columns] for record in records])
    for letter in step.get("rejected", []):
        click.echo(f"   rejected {letter.get('record', '')}: {letter.get('error', '')}")
    click.echo()


def _value(value: object) -> object:
    return "∅" if value is None else value
