"""The system freezes the writer past its successor's start: awake again, it commits nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
WRITER = "tests.fault.connectors.postgres_sink.frozen"

Process = subprocess.Popen[str]


@contextmanager
def frozen(url: str) -> Iterator[Process]:
    """Have a writer that stands still in the middle of its transaction; on leaving it is gone."""
    arguments = [sys.executable, "-m", WRITER, url]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as writer:
        try:
            assert answer(writer) == "written"
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


async def test_awake_after_its_successor_has_begun_it_commits_nothing(database: Database) -> None:
    """The successor waits for nothing: not for the rows that were locked, nor for a time-out."""
    database.execute("CREATE TABLE rows (id integer PRIMARY KEY)")
    with frozen(database.url) as writer:
        successor = Rig(database.url, {}, run=1)
        await successor.write(rows_of(id=[1, 2]))
        assert wake(writer) == "FENCED"
    assert database.column("SELECT id FROM rows ORDER BY id") == [1, 2]
    assert database.fetch("SELECT run, number FROM dataflow_decisions") == [(2, 1)]


async def test_awake_before_anybody_took_over_it_commits(database: Database) -> None:
    """Else the test above would prove nothing."""
    database.execute("CREATE TABLE rows (id integer PRIMARY KEY)")
    with frozen(database.url) as writer:
        assert wake(writer) == "committed"
    assert database.column("SELECT id FROM rows") == [1]
