"""The command line: ``python -m deploy.stack up etcd cassandra s3``, ``down``, ``status``."""

from __future__ import annotations

import sys

import click

from deploy.stack import machine
from deploy.stack.errors import Missing, NotReady, PortTaken

_NAMES = click.argument(
    "names", metavar="SERVER…", nargs=-1, type=click.Choice(list(machine.RECIPES))
)


@click.group()
def main() -> None:
    """Start and stop the real servers that a cluster needs, without Docker."""


@main.command()
@_NAMES
def up(names: tuple[str, ...]) -> None:
    """Start servers and wait until they are ready; those that run stay as they are."""
    if not names:
        raise click.UsageError(f"name servers: {', '.join(machine.RECIPES)}")
    results = [_up(name) for name in names]
    sys.exit(min(filter(None, results), default=0))  # a failure weighs more than what is missing


def _up(name: str) -> int:
    """Return the exit code: whether one server is up tells nothing of the next."""
    try:
        click.echo(f"{name} is ready at {machine.up(name)}")
    except Missing as missing:
        click.echo(missing, err=True)
        return machine.EXIT_MISSING
    except (PortTaken, NotReady) as failed:
        click.echo(failed, err=True)
        return machine.EXIT_FAILED
    return 0


@main.command()
@_NAMES
def down(names: tuple[str, ...]) -> None:
    """Stop servers: all, where none is named. Their data stays."""
    for name in names or machine.RECIPES:
        click.echo(f"{name} {'stopped' if machine.down(name) else 'did not run'}")


@main.command()
def status() -> None:
    """Tell of each server whether it runs, and where."""
    for name in machine.RECIPES:
        click.echo(f"{name:<12}{machine.status(name)}")


if __name__ == "__main__":
    try:
        main(prog_name="python -m deploy.stack")
    except ValueError as wrong:  # a variable that is set to nonsense
        click.echo(wrong, err=True)
        sys.exit(machine.EXIT_USAGE)
