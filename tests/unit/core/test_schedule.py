"""When the rounds of a scheduled source begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dataflow.core.schedule import Missed, Schedule, next_moment, round_due, schedule_problems

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOURLY = Schedule("0 * * * *")


def test_the_first_round_begins_at_the_next_moment() -> None:
    """Who starts a pipeline at noon that reads at one does not want it read at noon."""
    now = NOON + timedelta(minutes=1)
    assert round_due(HOURLY, None, now) == NOON + timedelta(hours=1)


@pytest.mark.parametrize("missed", Missed)
def test_a_round_that_ends_in_time_waits_for_the_next_moment(missed: Missed) -> None:
    """Nothing was missed."""
    schedule = Schedule("0 * * * *", missed=missed)
    assert round_due(schedule, NOON, NOON + timedelta(minutes=59)) == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("missed", "due"),
    [
        (Missed.SKIP, NOON + timedelta(hours=5)),
        (Missed.UNSPECIFIED, NOON + timedelta(hours=5)),
        (Missed.ONCE, NOON + timedelta(hours=4)),
    ],
)
def test_moments_that_were_missed_are_one_round_or_none(missed: Missed, due: datetime) -> None:
    """A node that was down for a day does not read a day's rounds one after the other."""
    schedule = Schedule("0 * * * *", missed=missed)
    assert round_due(schedule, NOON, NOON + timedelta(hours=4, minutes=30)) == due


def test_a_time_zone_moves_with_its_clocks() -> None:
    """Six in the morning is another moment in summer."""
    berlin = Schedule("0 6 * * *", "Europe/Berlin")
    winter, summer = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    assert next_moment(berlin, winter).hour == 5
    assert next_moment(berlin, summer).hour == 4


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (Schedule(""), "source.schedule.cron"),
        (Schedule("61 * * * *"), "source.schedule.cron"),
        (Schedule("* * * *"), "source.schedule.cron"),
        (Schedule("0 0 30 2 *"), "source.schedule.cron"),
        (Schedule("0 * * * *", "Mars/Base"), "source.schedule.timeZone"),
        (Schedule("0 * * * *", "../etc/passwd"), "source.schedule.timeZone"),
    ],
)
def test_what_is_no_schedule_is_told_by_its_path(schedule: Schedule, field: str) -> None:
    """Before anything waits for a moment that never comes."""
    (problem,) = schedule_problems("source.schedule", schedule)
    assert problem.field == field


def test_a_schedule_has_no_problems() -> None:
    """With a zone or without."""
    for schedule in (HOURLY, Schedule("*/5 6-18 * * 1-5", "Europe/Berlin", Missed.ONCE)):
        assert list(schedule_problems("source.schedule", schedule)) == []
