"""Until when a node believes in its lease, whatever happens to its keepalives."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dataflow.cluster.coordination.contract import LeaseId, LeaseLost
from dataflow.cluster.lease import EXIT_LOST, Lease, LeaseThread
from dataflow.core.errors import Unavailable

TTL = timedelta(seconds=10)


@dataclass
class Ticking:
    """A clock that a test moves."""

    seconds: float = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def steady(self) -> float:
        return self.seconds


@dataclass
class Service:
    """A keeper that takes its time, and answers as it is told."""

    clock: Ticking
    takes_s: float = 0.0
    error: Exception | None = None

    def keep_alive(self, lease: LeaseId) -> timedelta:
        self.clock.seconds += self.takes_s
        if self.error is not None:
            raise self.error
        return TTL

    def close(self) -> None:
        pass


def test_a_lease_counts_from_the_sending_of_what_was_answered() -> None:
    """The answer may have been under way for seconds; the service counts from before it."""
    clock = Ticking()
    lease = Lease(LeaseId(1), TTL, clock, sent_s=100.0)
    clock.seconds = 105.0
    lease.keep_by(Service(clock, takes_s=2.0))
    assert lease.until_s == 105.0 + 7.5


def test_a_holder_stops_a_quarter_before_the_service_lets_go() -> None:
    """What it has begun must have ended by then."""
    clock = Ticking()
    lease = Lease(LeaseId(1), TTL, clock, sent_s=100.0)
    clock.seconds = 107.4
    assert lease.is_held
    clock.seconds = 107.5
    assert not lease.is_held


def test_a_keepalive_without_answer_extends_nothing() -> None:
    """It may never have arrived."""
    clock = Ticking()
    lease = Lease(LeaseId(1), TTL, clock, sent_s=100.0)
    lease.keep_by(Service(clock, takes_s=1.0, error=Unavailable("no answer")))
    assert lease.until_s == 107.5


def test_an_older_keepalive_that_is_answered_late_takes_nothing_back() -> None:
    """The number only grows."""
    lease = Lease(LeaseId(1), TTL, Ticking(), sent_s=100.0)
    lease.kept(95.0)
    assert lease.until_s == 107.5


def test_a_lost_lease_is_lost_at_once() -> None:
    """The service has let go; others may be there already."""
    clock = Ticking()
    lease = Lease(LeaseId(1), TTL, clock, sent_s=100.0)
    lease.keep_by(Service(clock, error=LeaseLost("gone")))
    assert (lease.is_held, lease.until_s, lease.left_s) == (False, 0.0, 0.0)


def test_a_node_that_does_not_stop_serving_is_ended() -> None:
    """Its loop is stuck: nothing else in it can be trusted to stop."""
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    clock = Ticking()
    lease = Lease(LeaseId(1), timedelta(seconds=0.2), clock, sent_s=100.0)
    service = Service(clock, error=LeaseLost("gone"))
    thread = LeaseThread(lease, service, lost=lambda: None, end=end)
    thread.start()
    assert ended.wait(10)
    thread.stop()
    assert codes == [EXIT_LOST]


def test_a_node_that_stops_serving_lives_on() -> None:
    """It joins again under another lease."""
    codes: list[int] = []
    clock = Ticking()
    lease = Lease(LeaseId(1), timedelta(seconds=60), clock, sent_s=100.0)
    told = threading.Event()
    service = Service(clock, error=LeaseLost("gone"))
    thread = LeaseThread(lease, service, lost=told.set, end=codes.append)
    thread.start()
    assert told.wait(10)
    thread.let_go()
    thread.stop()
    assert codes == []
