"""What worker processes write becomes the log of their node."""

from __future__ import annotations

import json

import pytest
import structlog

from dataflow.app.workers import say


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
