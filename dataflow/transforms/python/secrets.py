"""What a function is told in secret, and the way back: nothing that it says shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dataflow.connect import Rejected

REFERENCE = re.compile(r"\$\{(?:env|file):[^}]+\}")

HIDDEN_LENGTH_MIN = 4
"""Anybody guesses a shorter value, and taking it out would leave holes in ordinary words."""


class Secrets:
    """Fills in references, and takes out of a text what was filled in.

    Args:
        resolve: see ``Context.secret``.
    """

    def __init__(self, resolve: Callable[[str], str]) -> None:
        self._resolve = resolve
        self._references: dict[str, str] = {}

    def environment(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return variables of the node.

        Raises:
            Rejected: it has none of that name.
        """
        try:
            return {name: self._filled(f"${{env:{name}}}") for name in names}
        except Rejected as error:
            raise Rejected(error.message, field="options.environment") from error

    def args(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return arguments with every reference filled in.

        Raises:
            Rejected: it stands for nothing on this node.
        """
        try:
            return {name: self._args(value) for name, value in given.items()}
        except Rejected as error:
            raise Rejected(error.message, field="options.args") from error

    def hide(self, text: str) -> str:
        """Replace whatever was filled in by its reference, the longest first."""
        for value in sorted(self._references, key=len, reverse=True):
            text = text.replace(value, self._references[value])
        return text

    def _args(self, given: object) -> object:
        match given:
            case str():
                return REFERENCE.sub(lambda found: self._filled(found[0]), given)
            case list():
                return [self._args(item) for item in given]
            case dict():
                return {name: self._args(item) for name, item in given.items()}
            case _:
                return given

    def _filled(self, reference: str) -> str:
        value = self._resolve(reference)
        if len(value) >= HIDDEN_LENGTH_MIN and value != reference:
            self._references[value] = reference
        return value
