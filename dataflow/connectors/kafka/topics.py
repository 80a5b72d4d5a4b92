"""Names of topics. Imports no driver."""

from __future__ import annotations

import re

KNOWN_EVERY_S, KNOWN_TRIES = 0.1, 15
"""Brokers may not know a topic yet that was made just now: one in four did not, for up to 450 ms on
a busy machine (4.0). After that it is not there."""

NAME_MAX = 249

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def topic_name(name: str) -> str:
    """Return a name that a topic can have.

    Raises:
        ValueError: it is none.
    """
    if len(name) > NAME_MAX or not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ValueError(f"use 1 to {NAME_MAX} letters, digits, '.', '_' and '-'")
    return name
