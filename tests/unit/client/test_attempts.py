"""When a request is tried again."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from dataflow.client.attempts import Attempts, Patience
from dataflow.client.errors import Unreachable
from dataflow.core.errors import Code, Corrupted, DataFlowError, Rejected, Unavailable


def attempts(total: float = 30, contact: float = 30) -> Attempts:
    """Return the attempts of a request that has just begun."""
    return Attempts(Patience(total=total, contact=contact), Random(1))


async def test_waits_grow_and_have_an_upper_bound() -> None:
    """A server that comes back is not met by all its clients at once, nor left waiting."""
    tried = attempts(total=1000)
    waits = [tried.wait(Unavailable("busy")) or 0 for _ in range(20)]
    assert 0.025 <= waits[0] <= 0.05
    assert waits[0] < waits[3] < waits[6]
    assert max(waits) <= 2


@pytest.mark.parametrize("error", [Rejected("no"), Corrupted("torn"), DataFlowError("what")])
async def test_what_would_be_answered_the_same_is_not_tried_again(error: DataFlowError) -> None:
    """Only a server that may have changed its mind is asked again."""
    assert attempts().wait(error) is None


async def test_an_unknown_outcome_is_tried_again() -> None:
    """Asking with the same command id finds out."""
    assert attempts().wait(Unavailable("?", code=Code.OUTCOME_UNKNOWN)) is not None


async def test_the_servers_own_wait_is_the_least() -> None:
    """Sooner would be refused again, and later than the deadline is never."""
    after = Unavailable("full", retry_after=timedelta(seconds=5))
    assert attempts().wait(after) == 5
    assert attempts(total=4).wait(after) is None


async def test_a_server_that_was_never_reached_is_given_up_sooner() -> None:
    """But one that answers, if only to say that it is busy, gets the whole time."""
    tried = attempts(total=30, contact=0.01)
    assert tried.wait(Unreachable("nobody")) is None
    assert tried.wait(Unavailable("busy")) is not None
    assert tried.wait(Unreachable("gone")) is not None


async def test_progress_begins_the_time_anew() -> None:
    """A long stream is not to end for having been long."""
    tried = attempts(total=0.04)
    while tried.wait(Unavailable("busy")) is not None:
        pass
    tried.reset()
    assert tried.remaining > 0.03
