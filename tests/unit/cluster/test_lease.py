"""Until when a node may believe in its lease."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dataflow.cluster.coordination.contract import LeaseId
from dataflow.cluster.lease import Lease

TTL = timedelta(seconds=4)


@dataclass
class Standing:
    """A clock that a test moves."""

    at_s: float = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def steady(self) -> float:
        return self.at_s


async def test_a_lease_counts_from_the_sending_of_its_last_keepalive() -> None:
    """The service counts from when it heard of it, which is later: the holder stops first."""
    clock = Standing()
    lease = Lease(LeaseId(1), TTL, clock, sent_s=clock.at_s)
    lease.kept(sent_s=clock.at_s + 1)
    clock.at_s += 3.9
    assert lease.is_held
    clock.at_s += 0.1
    assert not lease.is_held


async def test_a_lease_that_was_doubted_once_is_never_held_again() -> None:
    """Runs that ended in between because their node might not serve would be begun by nobody."""
    clock = Standing()
    lease = Lease(LeaseId(1), TTL, clock, sent_s=clock.at_s)
    clock.at_s += 3
    assert not lease.is_held
    lease.kept(sent_s=clock.at_s - 0.1)
    assert not lease.is_held
    assert lease.left_s == 0
