"""What is about the program itself."""

from __future__ import annotations

from importlib.metadata import version as installed

import click
from click.shell_completion import get_completion_class

from dataflow.cli.options import Settings, shared

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: eval "$(dataflowctl completion bash)".
    """
    cls = get_completion_class(shell)
    if cls is None:  # click knows the three shells, unless a later release drops one
        raise click.UsageError(f"no completion for {shell}")
    script = cls(ctx.find_root().command, {}, "dataflowctl", "_DATAFLOWCTL_COMPLETE").source()
    click.echo(script)


@click.command()
@shared
@click.pass_obj
def version(settings: Settings) -> None:
    """Print the version of this program."""
    number = installed("dataflow-platform")
    if settings.for_people:
        click.echo(f"dataflowctl {number}")
    else:
        from dataflow.cli.printing import show  # noqa: PLC0415 - only JSON and YAML need it

        show(settings.output, {"version": number})
