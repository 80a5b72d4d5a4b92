"""The entry point: which commands there are, and what an error becomes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from typing import NamedTuple

import click

from dataflow.cli.failures import exit_code, report
from dataflow.cli.options import OUTPUTS, Duration, Settings
from dataflow.core.errors import DataFlowError


class Entry(NamedTuple):
    """Where a command lives, and its line in the help, which is shown without loading it."""

    module: str
    name: str
    help: str


COMMANDS = {
    "apply": Entry("applying", "apply", "Create or update pipelines from a file."),
    "cluster": Entry("cluster", "cluster", "See nodes and shards; empty a node, move a shard."),
    "completion": Entry("shell", "completion", "Print the completion script of a shell."),
    "delete": Entry("lifecycle", "delete", "End pipelines for good; their history stays."),
    "describe": Entry("showing", "describe", "Show everything about a pipeline."),
    "diff": Entry("comparing", "diff", "Show what a version of a spec changed."),
    "dlq": Entry("dead_letters", "dlq", "Look at records that could not be handled, replay them."),
    "events": Entry("history", "events", "List what happened to a pipeline."),
    "get": Entry("showing", "get", "List pipelines, or show one in a line."),
    "metrics": Entry("showing", "metrics", "Show what a pipeline has done."),
    "pause": Entry("lifecycle", "pause", "Let pipelines finish a checkpoint, then wait."),
    "preview": Entry("checking", "preview", "Run the first records through every step."),
    "push": Entry("pushing", "push", "Push records to a pipeline."),
    "replay": Entry("history", "replay", "Read again, from a checkpoint or the beginning."),
    "reset": Entry("lifecycle", "reset", "Make failed pipelines startable again."),
    "resume": Entry("lifecycle", "resume", "Let paused pipelines go on."),
    "rollback": Entry("history", "rollback", "Take an old version of a spec again."),
    "start": Entry("lifecycle", "start", "Let pipelines run."),
    "stop": Entry("lifecycle", "stop", "Let pipelines finish a checkpoint, then stop."),
    "top": Entry("ranking", "top", "Show the busiest pipelines, live."),
    "validate": Entry("checking", "validate", "Report everything that is wrong with a file."),
    "version": Entry("shell", "version", "Print the version of this program."),
    "versions": Entry("history", "versions", "List the versions of a pipeline's spec."),
    "watch": Entry("watching", "watch", "Follow pipelines live."),
}


class Lazy(click.Group):
    """A group that loads the one command that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click passes it
        """Return the names, in order."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click passes it
        cmd_name: str,
    ) -> click.Command | None:
        """Load a command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"dataflow.cli.{entry.module}"), entry.name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click passes it
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands' lines without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


FILE = click.Path(exists=True, dir_okay=False)


@click.command(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage, 3 server unreachable.",
)
@click.option(
    "--server",
    metavar="HOST:PORT",
    envvar="DATAFLOW_SERVER",
    default="127.0.0.1:50051",
    show_default=True,
    show_envvar=True,
    help="The server to ask.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(OUTPUTS),
    default="table",
    show_default=True,
    help="How to print; json and yaml are for programs.",
)
@click.option(
    "--timeout",
    type=Duration(),
    default="30s",
    show_default=True,
    help="The longest that a request and its retries may take.",
)
@click.option("--ca", type=FILE, help="Use TLS, and trust these root certificates (PEM).")
@click.option("--cert", type=FILE, help="With --key: the certificate that names this client.")
@click.option("--key", type=FILE, help="With --cert: its private key.")
@click.option("--token", envvar="DATAFLOW_TOKEN", show_envvar=True, help="A bearer token.")
@click.pass_context
def cli(
    ctx: click.Context,
    *,
    server: str,
    output: str,
    timeout: timedelta,
    ca: str | None,
    cert: str | None,
    key: str | None,
    token: str | None,
) -> None:
    """Make, run, change and watch data pipelines."""
    if (cert is None) != (key is None):
        raise click.UsageError("give both --cert and --key, or neither")
    ctx.obj = Settings(
        server=server,
        output=output,
        timeout=timeout,
        ca=ca,
        cert=cert,
        key=key,
        token=token or "",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 refused, 2 wrong usage, 3 unreachable."""
    try:
        cli.main(args=arguments, prog_name="dataflowctl")
    except DataFlowError as error:
        report(error)
        sys.exit(exit_code(error))
