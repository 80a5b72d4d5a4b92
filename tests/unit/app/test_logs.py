"""Everything that a program says is in one format, whoever says it."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from dataflow.app.logs import configure


def test_a_library_logs_in_the_format_of_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector of logs takes one JSON object a line; a trace of many lines would be lost."""
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    configure("json")
    structlog.reset_defaults()
    failure = OSError("no route")
    logging.getLogger("some.driver").warning("host %s is down", "a", exc_info=failure)
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert said["event"] == "host a is down"
    assert (said["logger"], said["level"]) == ("some.driver", "warning")
    assert "OSError: no route" in said["exception"]
    assert "timestamp" in said
