"""The command line: ``python -m bench list``, ``python -m bench run csv_etl --rows 1000000``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from bench.report import Row, head, line, machine, write_json, write_readme
from bench.workloads import WORKLOADS
from bench.workloads.workload import Ask, Workload


@click.group()
def main() -> None:
    """Measure the platform, beside others where they do the same work."""


@main.command(name="list")
def list_() -> None:
    """Name the workloads."""
    for workload in WORKLOADS.values():
        peers = f" (peers: {', '.join(workload.peers)})" if workload.peers else ""
        click.echo(f"{workload.name:<12}{workload.rows:>12,}  {workload.summary}{peers}")


@main.command()
@click.argument("names", metavar="WORKLOAD…", nargs=-1, type=click.Choice(list(WORKLOADS)))
@click.option("--rows", type=click.IntRange(min=10), help="Instead of each workload's default.")
@click.option("--peers", "chosen", help="Only these, by commas; an empty text is none.")
@click.option("--runs", type=click.IntRange(min=1), help="Instead of each workload's default.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the rows there, too.",
)
@click.option("--readme", is_flag=True, help="Replace the tables of bench/README.md.")
def run(  # noqa: PLR0917 - click hands its options over by name
    names: tuple[str, ...],
    rows: int | None,
    chosen: str | None,
    runs: int | None,
    json_file: Path | None,
    readme: bool,  # noqa: FBT001 - as above
) -> None:
    """Run workloads: all of them where none is named."""
    everything: list[Row] = []
    for name in names or tuple(WORKLOADS):
        workload = WORKLOADS[name]
        ask = Ask(rows or workload.rows, runs or workload.runs, _peers(workload, chosen), _tell)
        click.echo(f"{name}: {workload.summary}; {machine()}, load {os.getloadavg()[0]:.1f}")
        measured = workload.run(ask)
        click.echo("\n".join(["", head(), *map(line, measured), ""]))
        everything += measured
        if readme:
            write_readme(name, measured, ask.runs)
        if json_file:
            write_json(everything, json_file)


def _peers(workload: Workload, chosen: str | None) -> tuple[str, ...]:
    """Return the peers of a workload that were asked for.

    Raises:
        click.BadParameter: one is no peer of any workload.
    """
    if chosen is None:
        return workload.peers
    asked = {name.strip() for name in chosen.split(",") if name.strip()}
    there_are = {peer for each in WORKLOADS.values() for peer in each.peers}
    if unknown := asked - there_are:
        known = ", ".join(sorted(there_are))
        raise click.BadParameter(
            f"unknown {', '.join(sorted(unknown))}; one of {known}", param_hint="--peers"
        )
    return tuple(peer for peer in workload.peers if peer in asked)


def _tell(text: str) -> None:
    click.echo(f"  {text}", file=sys.stderr)


if __name__ == "__main__":
    main(prog_name="python -m bench")
