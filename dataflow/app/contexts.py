"""What each step of each pipeline is handed: its log, its paths, its secrets, the clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dataflow.app.settings import environment
from dataflow.connect import Context, Log
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Rejected
from dataflow.core.ids import PipelineId

REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")

SECRET_BYTES_MAX = 64 << 10
"""A secret is a key or a token; a larger file is somebody's mistake."""

_UNREADABLE: Mapping[type[Exception], str] = {
    FileNotFoundError: "does not exist on this node",
    PermissionError: "may not be read by this user",
    IsADirectoryError: "is a folder",
    UnicodeDecodeError: "holds bytes that are no text",
}

HIDDEN_LENGTH_MIN = 4
"""Anybody guesses a shorter value, and taking it out would leave holes in ordinary words."""


class Secrets:
    """What references stand for, and the way back: no message shows what was filled in."""

    def __init__(self) -> None:
        self._references: dict[str, str] = {}

    def resolve(self, text: str) -> str:
        """Replace every ``${env:NAME}`` and ``${file:/path}`` by what it stands for.

        Raises:
            Rejected: it stands for nothing on this node; the message names the reference alone.
        """
        return REFERENCE.sub(self._resolved, text)

    def _resolved(self, match: re.Match[str]) -> str:
        value = _value(match)
        if len(value) >= HIDDEN_LENGTH_MIN:
            self._references[value] = match[0]
        return value

    def hide(self, text: str) -> str:
        """Replace whatever was filled in so far by its reference, the longest first."""
        for value in sorted(self._references, key=len, reverse=True):
            text = text.replace(value, self._references[value])
        return text


def _value(match: re.Match[str]) -> str:
    kind, name = match.groups()
    if kind == "env":
        value = environment(name)
        if value is None:
            raise _unresolved(match, "this node has no such variable")
        return value
    try:
        with Path(name).open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        text = content.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = _UNREADABLE.get(type(error), f"cannot be read: {type(error).__name__}")
        raise _unresolved(match, f"the file {why}") from error
    if len(content) > SECRET_BYTES_MAX:
        raise _unresolved(match, f"a secret may have {SECRET_BYTES_MAX} bytes")
    return text


def _unresolved(match: re.Match[str], why: str) -> Rejected:
    return Rejected(f"{match[0]}: {why}", field="connectionString")


@dataclass(frozen=True, slots=True)
class Paths:
    """Local paths, kept below the roots that the operator allows."""

    roots: tuple[Path, ...]

    def __call__(self, text: str) -> Path:
        """Return an absolute path with every link followed.

        Raises:
            Rejected: it lies outside the allowed roots, or is no path at all.
        """
        try:
            path = Path(text).expanduser().resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, no such home, NUL
            raise Rejected(f"{text!r} is no path: {error}", field="connectionString") from error
        allowed = not self.roots or any(path.is_relative_to(r.resolve()) for r in self.roots)
        if not allowed:
            raise Rejected(
                f"{text!r} is outside the folders that this node allows (file_roots)",
                code=Code.PERMISSION,
                field="connectionString",
            )
        return path


@dataclass(frozen=True, slots=True)
class Contexts:
    """Makes the context of a step."""

    clock: Clock
    paths: Paths
    log: Callable[[PipelineId], Log]
    probe: Callable[[str], None]
    secrets: Secrets = field(default_factory=Secrets)
    python_allowed: bool = False

    def __call__(self, pipeline: PipelineId, step: str) -> Context:
        """Return the context of one step of one pipeline."""
        return Context(
            pipeline=pipeline,
            step=step,
            clock=self.clock,
            secret=self.secrets.resolve,
            path=self.paths,
            log=self.log(pipeline),
            probe=self.probe,
            python_allowed=self.python_allowed,
        )
