"""Lengths of time as people write them: a number and a unit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

UNITS: Mapping[str, timedelta] = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
"""Largest first."""


def written(length: timedelta) -> str:
    """Return a length of whole milliseconds in the largest unit of which it is a whole number."""
    return next(f"{length // unit}{name}" for name, unit in UNITS.items() if not length % unit)
