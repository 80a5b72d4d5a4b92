"""What every command takes: the global options, before it or behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from dataflow.core.durations import UNITS

OUTPUTS = ("table", "json", "yaml")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options."""

    server: str
    output: str
    timeout: timedelta
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    token: str = field(default="", repr=False)

    @property
    def for_people(self) -> bool:
        """Whether the output is a table, not JSON or YAML."""
        return self.output == "table"


class Duration(click.ParamType[timedelta]):
    """``500ms``, ``30s``, ``5m``, ``1h``; a bare number is seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the duration."""
        if isinstance(value, timedelta):
            return value
        number = str(value).rstrip("dhms")
        unit = str(value)[len(number) :]
        try:
            length = float(number) * UNITS[unit or "s"]
        except (KeyError, ValueError, OverflowError):
            self.fail(f"{value!r} is no duration; write 500ms, 30s, 5m or 1h", param, ctx)
        if length <= timedelta():
            self.fail("use a duration above zero", param, ctx)
        return length


def _override(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value is not None and not ctx.resilient_parsing:
        ctx.obj = replace(ctx.obj, **{str(param.name): value})


def shared(command: F) -> F:
    """Let a command take the commonest global options behind its name too."""
    given: dict[str, Any] = {"callback": _override, "expose_value": False}
    for option in (
        click.option("--timeout", type=Duration(), help="Longest time of a request.", **given),
        click.option("-o", "--output", type=click.Choice(OUTPUTS), help="How to print.", **given),
        click.option("--server", metavar="HOST:PORT", help="The server to ask.", **given),
    ):
        command = option(command)
    return command


def read(path: str | None) -> bytes | None:
    """Return what a file holds, None where none is given."""
    return None if path is None else Path(path).read_bytes()
