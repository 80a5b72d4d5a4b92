"""The system freezes the writer past its successor's start: awake again, it commits nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from dataflow.connect.testkit.places import task
from tests.fault.connectors.kafka.frozen import ROWS
from tests.integration.connectors.kafka.places import ANSWER_S, POLL_S, KafkaPlace, messages
from tests.integration.connectors.kafka.test_sink import SEED, decided

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
WRITER = "tests.fault.connectors.kafka.frozen"

LONG_S, SHORT_S = 60.0, 1.0
"""Of a transaction: longer than the test, and shorter than what it waits."""

WHERE = ("written", "kafka.decision sent")
"""The last moments before a commit."""

Process = subprocess.Popen[str]


@contextmanager
def frozen(place: KafkaPlace, where: str, timeout_s: float) -> Iterator[Process]:
    """Have a writer that stands still in the middle of its transaction; on leaving it is gone."""
    given = [place.broker, place.topic, place.prefix, f"{timeout_s}", where]
    arguments = [sys.executable, "-m", WRITER, *given]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as writer:
        try:
            assert answer(writer) == where
            until(lambda: sent(place) == ROWS)
            writer.send_signal(signal.SIGSTOP)
            yield writer
        finally:
            writer.kill()


def wake(writer: Process) -> str:
    """Let it go on, and return how its commit ended."""
    writer.send_signal(signal.SIGCONT)
    assert writer.stdin is not None
    writer.stdin.write("commit\n")
    writer.stdin.flush()
    return answer(writer)


def answer(writer: Process) -> str:
    """Return its next line."""
    assert writer.stdout is not None
    return writer.stdout.readline().strip()


async def succeed(place: KafkaPlace, rows: int) -> None:
    """Take over, find nothing decided, and write so many rows."""
    sink = place.sink(lambda _: None)
    assert await sink.recover(task(2), SEED) == SEED
    await sink.write(place.rows(0, rows))
    await sink.commit(decided(1, run=2))
    await sink.close()


def until(holds: Callable[[], bool]) -> None:
    """Return once something holds."""
    ends = time.monotonic() + ANSWER_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(POLL_S)


def sent(place: KafkaPlace) -> int:
    """Return how many records the broker has, of open transactions, too."""
    return len(messages(place.broker, place.topic, "read_uncommitted"))


def over(place: KafkaPlace) -> int:
    """Return the offset below which no transaction is open; a commit or abort has one itself."""
    admin = AdminClient({"bootstrap.servers": place.broker})
    asked = {TopicPartition(place.topic, 0): OffsetSpec.latest()}  # type: ignore[no-untyped-call]  # the driver's
    committed = IsolationLevel.READ_COMMITTED
    (found,) = admin.list_offsets(asked, isolation_level=committed).values()
    return int(found.result(ANSWER_S).offset)


@pytest.mark.parametrize("where", WHERE)
async def test_awake_after_its_successor_has_begun_it_commits_nothing(
    kafka: str, where: str
) -> None:
    """The brokers have given its transactional id to the successor, and ended its transaction."""
    place = KafkaPlace(kafka)
    with frozen(place, where, LONG_S) as writer:
        assert over(place) == 0
        await succeed(place, 7)
        assert wake(writer) == "FENCED"
    assert place.visible() == [*range(7)]


async def test_awake_after_its_transaction_was_given_up_it_commits_nothing(kafka: str) -> None:
    """Neither while nobody has taken over nor after: who does finds nothing decided."""
    place = KafkaPlace(kafka)
    with frozen(place, WHERE[1], SHORT_S) as writer:
        until(lambda: over(place) == ROWS + 1)
        assert wake(writer) == "BUSY"
    assert place.visible() == []
    await succeed(place, 7)
    assert place.visible() == [*range(7)]


async def test_awake_after_its_transaction_was_given_up_and_taken_over_it_commits_nothing(
    kafka: str,
) -> None:
    """The successor's transaction is open, and the frozen one's decision is for it, too."""
    place = KafkaPlace(kafka)
    with frozen(place, WHERE[0], SHORT_S) as writer:
        until(lambda: over(place) == ROWS + 1)
        sink = place.sink(lambda _: None)
        assert await sink.recover(task(2), SEED) == SEED
        await sink.write(place.rows(0, 7))
        assert wake(writer) == "FENCED"
        await sink.commit(decided(1, run=2))
        await sink.close()
    assert place.visible() == [*range(7)]


async def test_awake_before_anybody_took_over_it_commits(kafka: str) -> None:
    """Else the tests above would prove nothing."""
    place = KafkaPlace(kafka)
    with frozen(place, WHERE[0], LONG_S) as writer:
        assert wake(writer) == "committed"
    assert place.visible() == [*range(ROWS)]
