"""Tables for people, documents for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click
import orjson

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console
    from rich.table import Table

Document: TypeAlias = Any
"""A JSON value."""

UNBOUNDED = 10_000
"""Columns of what is no terminal: a pipe gets every character, as with kubectl."""

COLOURS = {
    "running": "green",
    "paused": "yellow",
    "stopped": "blue",
    "failed": "red",
    "deleted": "bright_black",
}


def document(message: Message) -> Document:
    """Return a message as the JSON value that HTTP shows too."""
    from dataflow.wire.json import dump  # noqa: PLC0415 - protobuf is not needed for --help

    return orjson.loads(dump(message))


def show(output: str, value: Document) -> None:
    """Print one document as JSON or YAML."""
    click.echo(_text(output, value, indented=True), nl=False)


def show_one_or_list(output: str, values: Sequence[Document]) -> None:
    """Print what was asked of one thing as a document, what was asked of several as a list."""
    show(output, values[0] if len(values) == 1 else list(values))


def show_next(output: str, value: Document) -> None:
    """Print one document of a stream: a line of JSON, or a YAML document."""
    click.echo(_text(output, value, indented=False), nl=False)
    sys.stdout.flush()


def as_yaml(value: Document) -> str:
    """Return a value as YAML, in its own order."""
    import yaml  # noqa: PLC0415 - 20 ms, and not needed for --help, nor for most tables

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return text


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]], *, status: int = -1) -> Table:
    """Return a table whose cells are cut with an ellipsis and never wrapped.

    The first column is whole as long as the terminal allows, and so is ``status``, the column that
    gets a colour.
    """
    from rich.table import Table  # noqa: PLC0415 - not needed for --help, nor for programs
    from rich.text import Text  # noqa: PLC0415 - as above

    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        made.add_column(
            Text(column, no_wrap=True), no_wrap=index in {0, status}, overflow="ellipsis"
        )
    for row in rows:
        cells = [Text(_cell(value), no_wrap=True, overflow="ellipsis") for value in row]
        if status >= 0:
            cells[status].stylize(COLOURS.get(cells[status].plain, ""))
        made.add_row(*cells)
    return made


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, status: int = -1) -> None:
    """Print a table that fits the terminal."""
    terminal = console()
    with terminal.capture() as captured:
        terminal.print(grid(columns, rows, status=status))
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def console(*, stderr: bool = False) -> Console:
    """Return the terminal; without colours, and as wide as needed, where it is none."""
    from rich.console import Console  # noqa: PLC0415 - not needed for --help

    stream = sys.stderr if stderr else sys.stdout
    tty = stream.isatty()
    return Console(
        file=stream,
        width=None if tty else UNBOUNDED,
        no_color=None if tty else True,
        force_terminal=tty,
        highlight=False,
        markup=False,
        emoji=False,
    )


def at(value: Document, path: str) -> Document:
    """Return what a path of keys leads to in a document; empty where it leads nowhere."""
    for key in path.split("."):
        value = value.get(key, "") if isinstance(value, Mapping) else ""
    return value


def moment(text: str) -> str:
    """Return a moment of a document to the second, in UTC, as tables show it."""
    return f"{text[:10]} {text[11:19]}Z" if text else ""


def count(number: float) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,.0f}"


def _cell(value: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(value))


def _text(output: str, value: Document, *, indented: bool) -> str:
    if output == "yaml":
        return ("" if indented else "---\n") + as_yaml(value)
    option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indented else 0)
    return orjson.dumps(value, option=option).decode()
