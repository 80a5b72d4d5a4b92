"""When a source that ends is read again: at the moments of a cron expression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from dataflow.core.errors import Problem
from dataflow.core.light import light


class Missed(StrEnum):
    """What becomes of a moment that strikes while nobody can begin: a round lasts, a node is down.

    ``SKIP`` waits for the next moment; ``ONCE`` begins at once, one round for all that were missed.
    """

    UNSPECIFIED = "unspecified"
    SKIP = "skip"
    ONCE = "once"


@light
@dataclass(frozen=True, slots=True)
class Schedule:
    """Moments in a time zone (an IANA name; UTC where empty)."""

    cron: str = ""
    time_zone: str = ""
    missed: Missed = Missed.UNSPECIFIED


def schedule_problems(path: str, schedule: Schedule) -> Iterator[Problem]:
    """Yield what is wrong with a schedule, by its path."""
    try:
        zone = ZoneInfo(schedule.time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"unknown {schedule.time_zone!r}; write a name such as Europe/Berlin"
        yield Problem(f"{path}.timeZone", message)
        zone = ZoneInfo("UTC")
    try:
        next(CronSim(schedule.cron, datetime(2026, 1, 1, tzinfo=zone)))
    except CronSimError as error:
        message = (
            f"{error}; write minute, hour, day of month, month and day of week, as 0 6 * * 1-5"
        )
        yield Problem(f"{path}.cron", message)
    except StopIteration:
        yield Problem(f"{path}.cron", "names no moment that will ever come")


def next_moment(schedule: Schedule, after: datetime) -> datetime:
    """Return the first moment of a checked schedule behind another moment (with a zone), in UTC.

    Where clocks are put forward or back, it keeps to the rules of Debian's cron.
    """
    local = after.astimezone(ZoneInfo(schedule.time_zone or "UTC"))
    return next(CronSim(schedule.cron, local)).astimezone(UTC)


def round_due(schedule: Schedule, begun: datetime | None, now: datetime) -> datetime:
    """Return when the next round begins; it is due if that is not behind ``now``.

    Args:
        schedule: a checked one.
        begun: the moment of the round before; None if there was none.
        now: by the clock.
    """
    if begun is None:
        return next_moment(schedule, now)
    following = next_moment(schedule, begun)
    if following > now:
        return following
    if schedule.missed is Missed.ONCE:
        local = now.astimezone(ZoneInfo(schedule.time_zone or "UTC"))
        return next(CronSim(schedule.cron, local, reverse=True)).astimezone(UTC)
    return next_moment(schedule, now)
