"""What a step is handed: secrets from files, within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.app.composing import _Link
from dataflow.app.contexts import HIDDEN_LENGTH_MIN, SECRET_BYTES_MAX, Secrets
from dataflow.core import messages as m
from dataflow.core.errors import Rejected
from dataflow.core.events import PipelineError
from dataflow.core.ids import PipelineId, Run
from dataflow.engine.failure import STACK_TRACE_MAX


def reference(path: Path, content: str) -> str:
    """Write a secret down; return what stands for it."""
    path.write_text(content)
    return f"${{file:{path}}}"


def test_a_secret_has_a_limit(tmp_path: Path) -> None:
    """Cut short it would be another secret, and its beginning no mistake that anybody sees."""
    secrets = Secrets()
    fits = secrets.resolve(reference(tmp_path / "key", "k" * SECRET_BYTES_MAX))
    assert len(fits) == SECRET_BYTES_MAX
    large = reference(tmp_path / "database", "k" * (SECRET_BYTES_MAX + 1))
    with pytest.raises(Rejected, match="database}: a secret may have 65536 bytes"):
        secrets.resolve(large)


def test_a_secret_without_end_is_not_read_to_its_end() -> None:
    """Whoever writes a spec chooses the path, and a device never ends."""
    with pytest.raises(Rejected, match="a secret may have"):
        Secrets().resolve("${file:/dev/zero}")


def test_the_line_that_an_editor_ends_is_no_part_of_a_secret(tmp_path: Path) -> None:
    """Whatever the editor."""
    secrets = Secrets()
    for ending in ("", "\n", "\r\n"):
        assert secrets.resolve(reference(tmp_path / "key", f"k{ending}")) == "k"


def test_a_secret_that_anybody_guesses_is_not_hidden(tmp_path: Path) -> None:
    """Taking ``on`` out of every message would make none of them readable."""
    secrets = Secrets()
    short = reference(tmp_path / "short", "o" * (HIDDEN_LENGTH_MIN - 1))
    long = reference(tmp_path / "long", "k" * HIDDEN_LENGTH_MIN)
    told = secrets.resolve(f"of {short}, as {long}")
    assert told == "of ooo, as kkkk"
    assert secrets.hide(told) == f"of ooo, as {long}"


class Owner:
    """Hears what a worker says."""

    def __init__(self) -> None:
        self.heard: list[m.ToOwner] = []

    def receive(self, message: m.ToOwner) -> None:
        """Take a message."""
        self.heard.append(message)


def test_a_trace_that_is_cut_shows_no_half_of_a_secret(tmp_path: Path) -> None:
    """Half a password is known by nobody as one, and tells most of it."""
    secrets, owner = Secrets(), Owner()
    secret = secrets.resolve(reference(tmp_path / "key", "correct-horse-battery"))
    link = _Link(secrets, lambda _: False)
    link.runs = owner  # type: ignore[assignment]  # all that is asked of it is to hear
    trace = secret + "x" * (STACK_TRACE_MAX - len(secret) // 2)
    link.to_owner(m.Failed(PipelineId("p"), Run(1), PipelineError(stack_trace=trace)))
    (told,) = owner.heard
    assert isinstance(told, m.Failed)
    assert "battery" not in told.error.stack_trace
