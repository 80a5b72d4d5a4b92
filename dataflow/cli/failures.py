"""What an error looks like on a terminal, and the exit code that it becomes.

error: the pipeline was refused (INVALID)
  source.options.format: unknown 'cvs', one of csv, json
  sink: missing; a pipeline needs one
"""

from __future__ import annotations

import click

from dataflow.core.errors import Code, DataFlowError, Rejected, Unavailable, Waiting

REFUSED, UNREACHABLE = 1, 3
"""As scripts know them; 0 is done and 2 (click's own) a wrong usage."""

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def exit_code(error: DataFlowError) -> int:
    """Return the exit code of an error."""
    away = isinstance(error, Unavailable) and not isinstance(error, Waiting)
    return UNREACHABLE if away else REFUSED


def report(error: DataFlowError, subject: str = "") -> None:
    """Say on standard error what is wrong, with which field, and what to do."""
    for line in lines(error, subject):
        click.echo(line, err=True)


def lines(error: DataFlowError, subject: str = "") -> list[str]:
    """Return an error as it is printed; ``subject`` says of which pipeline or file it is.

    The code is for those who look it up; ``BUSY`` says nothing that the words do not.
    """
    about = f"{subject}: " if subject else ""
    code = "" if error.code is Code.BUSY else f" ({error.code})"
    problems = error.problems if isinstance(error, Rejected) else ()
    if len(problems) > 1:
        found = [f"error: {about}{len(problems)} problems{code}"]
        found += [f"  {problem}" for problem in problems]
    else:
        found = [f"error: {about}{error}{code}"]
    return found + [f"  {note}" for note in getattr(error, "__notes__", ())]
