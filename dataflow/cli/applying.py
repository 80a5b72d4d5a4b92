"""``apply``: make the pipelines of a file what the file says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click
import orjson

from dataflow.cli import printing
from dataflow.cli.failures import REFUSED, report
from dataflow.cli.files import Spec, load
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run
from dataflow.cli.waiting import wait_for
from dataflow.core.changes import source_changed
from dataflow.core.errors import Code, Invalid, Problem, Rejected
from dataflow.core.spec import PipelineSpec, Position, canonical
from dataflow.core.state import Status

if TYPE_CHECKING:
    from dataflow.client import DataFlow

POSITIONS = [p.value for p in Position if p is not Position.UNSPECIFIED]


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be done to a pipeline beyond its spec."""

    start: bool
    restart: bool
    wait: bool
    position: Position


@click.command()
@click.option("-f", "--file", "path", required=True, metavar="FILE|-", help="YAML or JSON.")
@click.option("--start", is_flag=True, help="Start what does not run.")
@click.option("--restart", is_flag=True, help="Stop, change and start what runs and differs.")
@click.option("--wait", is_flag=True, help="With --start: follow until all have completed.")
@click.option(
    "--position", type=click.Choice(POSITIONS), help="Where to read if the source is another one."
)
@shared
@click.pass_obj
def apply(
    settings: Settings, *, path: str, start: bool, restart: bool, wait: bool, position: str | None
) -> None:
    """Create or update the pipelines that a file describes; each needs a pipelineId.

    A pipeline that is as the file says is left alone. A running one is changed with --restart
    only, and one that is stopped is started with --start only.
    """
    if wait and not (start or restart):
        raise click.UsageError("--wait follows what --start or --restart lets run")
    specs = load(path)
    _check_ids(specs, path)
    choice = Choice(start, restart, wait, Position(position or Position.UNSPECIFIED))

    done, refused = run(settings, lambda df: _apply_all(df, settings, specs, choice))
    if not settings.for_people:
        printing.show(settings.output, done)
    if refused:
        raise click.exceptions.Exit(REFUSED)


async def _apply_all(
    df: DataFlow, settings: Settings, specs: Sequence[Spec], choice: Choice
) -> tuple[list[printing.Document], bool]:
    """Apply each document, then wait for those that run; tell whether anything was refused."""
    done: list[printing.Document] = []
    refused = False
    for spec in specs:
        try:
            done.append(await _apply(df, spec, choice))
        except Rejected as error:
            report(await _in_full(df, spec, error), spec["pipelineId"])
            refused = True
    if settings.for_people and done:
        _print(done)
    for one in done:
        before = one.pop("before")
        if choice.wait and (one["started"] or one["status"] == Status.RUNNING):
            ended = await wait_for(df, settings, one["pipelineId"], before)
            one |= {"status": ended.pipeline["status"], "completed": ended.completed}
            refused |= not ended.completed
    return done, refused


async def _in_full(df: DataFlow, spec: Spec, error: Rejected) -> Rejected:
    """Return a refusal with all that is wrong: a misspelt field is refused before it is sent."""
    from dataflow.wire.json import joined  # noqa: PLC0415 - protobuf is not needed for --help

    if not isinstance(error, Invalid):
        return error
    told = await df.validate({k: v for k, v in spec.items() if k in {*SPEC, "pipelineId"}})
    return Invalid(joined(error.problems, [Problem(p.field, p.message) for p in told.problems]))


def _check_ids(specs: Sequence[Spec], path: str) -> None:
    problems, seen = [], set()
    for number, spec in enumerate(specs, 1):
        name = spec.get("pipelineId")
        if name and not isinstance(name, str):
            message = "expected a text; write it in quotes"
            problems.append(Problem(f"{path} document {number}: pipelineId", message))
        elif not isinstance(name, str) or not name:
            message = "missing; apply finds a pipeline again by the id that its file gives it"
            problems.append(Problem(f"{path} document {number}: pipelineId", message))
        elif name in seen:
            message = f"{name!r} is described twice"
            problems.append(Problem(f"{path} document {number}: pipelineId", message))
        seen.add(name if isinstance(name, str) else None)
    if problems:
        raise Invalid(problems)


def _print(done: Sequence[printing.Document]) -> None:
    rows = [
        (
            one["pipelineId"],
            one["status"],
            f"{one['result']}, started" if one["started"] else one["result"],
            one["version"],
        )
        for one in done
    ]
    printing.table(("ID", "STATUS", "RESULT", "VERSION"), rows, status=1)


async def _apply(df: DataFlow, spec: Spec, choice: Choice) -> printing.Document:
    """Make one pipeline what its document says; returns what became of it."""
    name: str = spec["pipelineId"]
    there = await _there(df, name)
    if not there or there["status"] == Status.DELETED:
        result = "created"  # of a deleted one the server says that its id is never used again
        await df.create(spec)
    else:
        result = await _update(df, spec, there, choice)
    now = printing.document(await df.get(name))
    before = now["sequence"]
    restart = result == "updated" and there.get("status") == Status.RUNNING
    started = False
    if now["status"] != Status.RUNNING and (choice.start or restart):
        started = (await df.start(name)).changed
        now = printing.document(await df.get(name))
    return {
        "pipelineId": name,
        "result": result,
        "started": started,
        "status": now["status"],
        "version": now["version"],
        "before": before,
    }


async def _there(df: DataFlow, name: str) -> printing.Document:
    try:
        return printing.document(await df.get(name))
    except Rejected as error:
        if error.code is Code.UNKNOWN_PIPELINE:
            return {}
        raise


async def _update(df: DataFlow, spec: Spec, there: printing.Document, choice: Choice) -> str:
    """Update one pipeline; one that runs is stopped, if all will go, and left for a start."""
    name: str = spec["pipelineId"]
    if there["status"] != Status.RUNNING:
        changed = (await df.update(name, spec, position=choice.position)).changed
        return "updated" if changed else "unchanged"
    wanted, present = _parsed(spec), _parsed({k: v for k, v in there.items() if k in SPEC})
    if _comparable(wanted) == _comparable(present):
        return "unchanged"
    if not choice.restart:
        raise Rejected(
            "it runs and differs from the file; --restart stops, changes and starts it",
            code=Code.FORBIDDEN_TRANSITION,
        )
    if source_changed(present, wanted) and choice.position is Position.UNSPECIFIED:
        raise Rejected(
            "the source became another one; say where to read it, with --position keep, beginning"
            " or latest",
            code=Code.POSITION_REQUIRED,
            field="position",
        )
    checked = await df.validate(spec)
    if not checked.valid:
        raise Invalid([Problem(p.field, p.message) for p in checked.problems])
    await df.stop(name, reason="changed by apply --restart")
    await df.update(name, spec, position=choice.position)
    return "updated"


SPEC = (
    *("name", "description", "labels", "options"),
    *("source", "sources", "transforms", "sink", "sinks"),
)


def _parsed(spec: dict[str, Any]) -> PipelineSpec:
    """Return a document in the form that is stored; raises ``Invalid`` with every problem."""
    from dataflow.client.documents import request  # noqa: PLC0415 - not needed for --help
    from dataflow.client.messages import CreatePipelineRequest  # noqa: PLC0415 - as above
    from dataflow.wire.core import to_core  # noqa: PLC0415 - as above

    return canonical(to_core(request(spec, CreatePipelineRequest), PipelineSpec))


def _comparable(spec: PipelineSpec) -> PipelineSpec:
    """Return a spec whose options are equal where they say the same in the same order."""
    return replace(
        spec,
        sources={k: replace(v, options=_text(v.options)) for k, v in spec.sources.items()},
        transforms=tuple(replace(t, options=_text(t.options)) for t in spec.transforms),
        sinks={k: replace(v, options=_text(v.options)) for k, v in spec.sinks.items()},
    )


def _text(options: str) -> str:
    return orjson.dumps(orjson.loads(options)).decode() if options else ""
