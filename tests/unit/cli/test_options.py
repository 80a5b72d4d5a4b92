"""What is typed on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from dataflow.cli.history import Moment
from dataflow.cli.main import COMMANDS, cli
from dataflow.cli.options import Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), ("1.5", 1.5)]
)
def test_a_duration_is_written_as_people_do(text: str, seconds: float) -> None:
    """The same units as in a pipeline's options."""
    assert Duration().convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["soon", "5 parsecs", "-1s", "0", "", "1e400s", "nan"])
def test_what_is_no_duration_is_a_wrong_usage(text: str) -> None:
    """A timeout guessed from nonsense would end or hang a script."""
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_a_moment_without_a_zone_is_utc() -> None:
    """A script's result must not hang on the machine's zone."""
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert Moment().convert("2026-05-01T12:00:00", None, None) == moment
    assert Moment().convert("2026-05-01T14:00:00+02:00", None, None) == moment


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_what_the_help_says_it_is(name: str) -> None:
    """The list is shown without loading the commands, so it could drift from them."""
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help
