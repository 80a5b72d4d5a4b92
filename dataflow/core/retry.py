"""How long to wait before trying again."""

from __future__ import annotations

from datetime import timedelta

from dataflow.core.spec import PipelineOptions

DOUBLINGS_MAX = 24
"""2**24 times the least first wait is five hours; more doublings could overflow a timedelta."""


def backoff(options: PipelineOptions, attempt: int, jitter: float) -> timedelta:
    """Return the wait before attempt ``attempt`` (the first retry is 1).

    Exponential, capped, with half of it random, so that pipelines that failed together do not
    come back together (Brooker, "Exponential Backoff And Jitter", 2015: equal jitter).

    Args:
        options: with its defaults filled in.
        attempt: 1 or more.
        jitter: a random number in [0, 1), drawn by the caller.
    """
    doubled = options.backoff_initial * (1 << min(attempt - 1, DOUBLINGS_MAX))
    ceiling = min(doubled, options.backoff_max)
    return ceiling / 2 + ceiling / 2 * jitter
