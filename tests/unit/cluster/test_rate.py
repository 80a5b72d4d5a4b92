"""How fast something counts up, and that it no longer does."""

from __future__ import annotations

from dataflow.cluster.rate import Rate


def test_a_rate_is_what_came_over_the_window() -> None:
    """Of the last seconds, not since the beginning."""
    rate = Rate()
    for second in range(20):
        rate.add(float(second), 0 if second < 10 else (second - 10) * 100)
    assert rate.per_second(19.0) == 100.0


def test_a_rate_is_zero_once_nothing_was_noted_for_a_window() -> None:
    """A count that stands still is not noted again and again."""
    rate = Rate()
    for second in range(10):
        rate.add(float(second), second * 100)
    assert rate.per_second(9.5) > 80.0
    assert rate.per_second(30.0) == 0.0
