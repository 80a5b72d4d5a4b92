"""What worker processes write becomes the log of their node."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
import structlog

from dataflow.app.contexts import Secrets
from dataflow.app.worker import Unsaying
from dataflow.app.workers import COMMAND, say


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            json.dumps({"event": "slow", "level": "info", "timestamp": "then", "s": 3}),
            {"event": "slow", "log_level": "info", "s": 3, "worker": 2},
        ),
        (
            json.dumps({"event": "slow", "level": "error", "worker": 7}),
            {"event": "slow", "log_level": "error", "worker": 2},
        ),
        ("Segmentation fault", {"event": "Segmentation fault", "log_level": "warning"}),
        ('{"event": "cut of', {"event": '{"event": "cut of', "log_level": "warning"}),
        ('"a text"', {"event": '"a text"', "log_level": "warning"}),
        ('{"level": "loud", "event": "x"}', {"log_level": "warning"}),
        ("{}", {"event": "{}", "log_level": "warning"}),
    ],
)
def test_a_line_is_said_again_with_the_number_of_its_worker(
    line: str, told: dict[str, object]
) -> None:
    """Its own log in the format of the node's, and whatever else as it stands."""
    with structlog.testing.capture_logs() as said:
        say(2, line)
    (entry,) = said
    assert {**entry, **told, "worker": 2} == entry


def test_what_a_worker_process_says_last_shows_no_secret(tmp_path: Path) -> None:
    """Its last lines are shown with the error of every run that it had."""
    (tmp_path / "key").write_text("correct-horse")
    secrets, stream = Secrets(), io.StringIO()
    secret = secrets.resolve(f"${{file:{tmp_path / 'key'}}}")
    said = Unsaying(stream, secrets)
    said.write(f"Error: {secret} was refused")
    assert stream.getvalue() == f"Error: ${{file:{tmp_path / 'key'}}} was refused"


def test_a_worker_process_is_not_begun_by_hand() -> None:
    """Whoever tries is told so, and not by a stack trace."""
    ended = subprocess.run(
        COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (
        1,
        "a worker process is begun by a node, never by hand\n",
    )
