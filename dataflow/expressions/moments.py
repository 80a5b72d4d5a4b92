"""Dates, times and intervals as written in an expression, to the integers that Arrow keeps."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dataflow.expressions.types import (
    INTEGER_BOUNDS,
    TICKS,
    UNITS,
    Kind,
    TimestampType,
    TimeType,
)

EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()
DAY_S: Final = 86_400
_LEAST, _GREATEST = INTEGER_BOUNDS[Kind.INT64]

_DATE = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
_DATE_TEXT = re.compile(rf"{_DATE}\Z", re.ASCII)
_CLOCK_TEXT = re.compile(rf"{_CLOCK}\Z", re.ASCII)
_MOMENT_TEXT = re.compile(rf"{_DATE}(?:[ T]{_CLOCK}{_ZONE})?\Z", re.ASCII)
_INTERVAL_TEXT = re.compile(
    r"\s*+(?P<count>[+-]?\d{1,9}(?:\.\d{1,9})?)\s*+(?P<unit>[a-z]++)", re.ASCII
)

# unit -> (months, microseconds); a day is 24 hours, also where the clocks change
_UNITS: Final[Mapping[str, tuple[int, int]]] = {
    "microsecond": (0, 1),
    "millisecond": (0, 1_000),
    "second": (0, 1_000_000),
    "minute": (0, 60_000_000),
    "hour": (0, 3_600_000_000),
    "day": (0, DAY_S * 1_000_000),
    "week": (0, 7 * DAY_S * 1_000_000),
    "month": (1, 0),
    "quarter": (3, 0),
    "year": (12, 0),
}
_SHORT: Final = {
    "us": "microsecond", "ms": "millisecond", "s": "second", "sec": "second", "m": "minute",
    "min": "minute", "h": "hour", "hr": "hour", "d": "day", "w": "week", "mon": "month",
    "y": "year", "yr": "year",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interval:
    """A length of time of calendar months and microseconds; both may be negative."""

    months: int
    microseconds: int


def parse_date(text: str) -> int | None:
    """Return the days since 1970-01-01 of ``YYYY-MM-DD``, or None if it is no date."""
    match = _DATE_TEXT.match(text)
    return _days(match) if match else None


def parse_time(text: str) -> tuple[TimeType, int] | None:
    """Return the type and value of ``HH:MM[:SS[.fraction]]``, or None if it is no time."""
    match = _CLOCK_TEXT.match(text)
    seconds = _seconds(match) if match else None
    if match is None or seconds is None:
        return None
    unit = _unit(match, "us")
    return TimeType(unit), seconds * TICKS[unit] + _fraction(match, unit)


def parse_timestamp(text: str, unit: str = "us") -> tuple[TimestampType, int] | None:
    """Return the type and value of an ISO 8601 moment, or None if it is none.

    Args:
        text: ``YYYY-MM-DD[ HH:MM[:SS[.fraction]][Z|±HH[:MM]]]``; ``T`` may part date and time.
        unit: the unit to use, unless the fraction needs a finer one.
    """
    match = _MOMENT_TEXT.match(text)
    days = _days(match) if match else None
    if match is None or days is None:
        return None
    seconds = _seconds(match) if match["hour"] else 0
    offset = _offset(match["zone"] or "")
    if seconds is None or offset is None:
        return None
    unit = _unit(match, unit)
    ticks = (days * DAY_S + seconds - offset) * TICKS[unit] + _fraction(match, unit)
    if not _LEAST <= ticks <= _GREATEST:
        return None
    return TimestampType(unit, "UTC" if match["zone"] else ""), ticks


def parse_interval(text: str) -> Interval | None:
    """Return the interval of ``1 day -2 hours``, or None if it is none."""
    months = microseconds = at = 0
    text = text.strip().lower()
    while at < len(text) or at == 0:
        match = _INTERVAL_TEXT.match(text, at)
        unit = _SHORT.get(match["unit"], match["unit"].removesuffix("s")) if match else ""
        if match is None or unit not in _UNITS:
            return None
        whole, _, decimals = match["count"].lstrip("+-").partition(".")
        sign = -1 if match["count"].startswith("-") else 1
        unit_months, unit_us = _UNITS[unit]
        if unit_months and decimals:
            return None
        months += sign * int(whole) * unit_months
        part = int(decimals or 0) * unit_us // 10 ** len(decimals)
        microseconds += sign * (int(whole) * unit_us + part)
        at = match.end()
    fits = abs(microseconds) <= _GREATEST and abs(months) < 12 * 10_000
    return Interval(months, microseconds) if fits else None


def _days(match: re.Match[str]) -> int | None:
    try:
        day = dt.date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        return None
    return day.toordinal() - EPOCH_DAY


def _seconds(match: re.Match[str]) -> int | None:
    return _of_day(int(match["hour"]), int(match["minute"]), int(match["second"] or 0))


def _offset(zone: str) -> int | None:
    if zone in {"", "Z"}:
        return 0
    digits = zone[1:].replace(":", "")
    seconds = _of_day(int(digits[:2]), int(digits[2:] or 0), 0)
    return -seconds if seconds and zone[0] == "-" else seconds


def _of_day(hour: int, minute: int, second: int) -> int | None:
    try:
        clock = dt.time(hour, minute, second)
    except ValueError:
        return None
    return clock.hour * 3600 + clock.minute * 60 + clock.second


def _unit(match: re.Match[str], least: str) -> str:
    digits = len(match["fraction"] or "")
    needed = UNITS[(digits + 2) // 3]
    return max(needed, least, key=UNITS.index)


def _fraction(match: re.Match[str], unit: str) -> int:
    return int((match["fraction"] or "0").ljust(9, "0")) * TICKS[unit] // TICKS["ns"]
