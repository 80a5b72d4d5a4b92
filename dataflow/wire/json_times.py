"""Durations and moments as people write them in JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

NANOSECONDS = {
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
SECONDS_MAX = 315_576_000_000
"""Ten thousand years: the most that google.protobuf.Duration allows."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000_000

_DURATION = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?(us|ms|s|m|h|d)")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def read_duration(text: str) -> tuple[int, int] | None:
    """Return seconds and nanoseconds of ``1s``, ``500ms``, ``1.5h``; None if it is no duration."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    whole, fraction, unit = match.groups()
    nanoseconds = int(whole) * NANOSECONDS[unit]
    nanoseconds += int((fraction or "").ljust(9, "0")) * NANOSECONDS[unit] // SECOND
    seconds, rest = divmod(nanoseconds, SECOND)
    return (seconds, rest) if seconds <= SECONDS_MAX else None


def show_duration(seconds: int, nanos: int) -> str:
    """Return a duration in seconds: ``1s``, ``0.5s``."""
    total = seconds * SECOND + nanos
    sign = "-" if total < 0 else ""
    whole, rest = divmod(abs(total), SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{sign}{whole}{fraction}s"


def read_moment(text: str) -> tuple[int, int] | None:
    """Return seconds and nanoseconds since 1970 of an RFC 3339 time; None if it is none."""
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        since = datetime.fromisoformat(text.upper()) - EPOCH
    except ValueError:
        return None
    return since.days * 86_400 + since.seconds, since.microseconds * 1_000


def show_moment(seconds: int, nanos: int) -> str:
    """Return a moment by RFC 3339, in UTC, with microseconds where it has any."""
    moment = EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1_000)
    return moment.isoformat().replace("+00:00", "Z")
