"""Worker processes die, hang, freeze and are left behind: their node loses a run, no more."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from dataflow.app.clock import SystemClock
from dataflow.core import messages as m
from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.ids import PipelineId, Run
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine.ingest.pushed import Pushed
from dataflow.engine.processes import pool, process
from dataflow.engine.processes.pool import Processes
from dataflow.engine.processes.process import Node, Program
from dataflow.engine.records import EVERY, Replay, ReplayLetters, Wanted
from tests.contract.engine.owner import PIPELINE
from tests.contract.engine.process import COMMAND, settings, writing
from tests.contract.engine.test_worker import SEED, Line, T, no_questions

PATIENCE_S = 90.0
"""A process imports everything anew, on a machine that tests keep busy."""

HEARD_S = 15.0
"""The end of a process is heard at once; this is for a machine that is busy."""

ENDS_S = 30.0
"""What shall end ends at once; a process needs a turn on that machine."""

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def processes_of(
    root: Path, count: int = 1, command: Sequence[str] = COMMAND, *, telling: bool = False
) -> AsyncGenerator[tuple[Processes, Line], None]:
    """Return processes over a folder, and what they say."""
    heard: asyncio.Queue[m.ToOwner] = asyncio.Queue()
    node = Node(heard.put_nowait, no_questions, lambda *_: None)
    program = Program(command, settings(root, telling=telling))
    async with asyncio.timeout(PATIENCE_S), Processes.open(program, count, node) as processes:
        yield processes, Line(processes, heard, list)


def endless(root: Path) -> PipelineSpec:
    """Return a pipeline whose run ends when it is told to."""
    return writing(root / "out.csv")


async def opened(processes: Processes, said: Line, root: Path, run: int = 7) -> int:
    """Have a run opened; return the process that has it."""
    said.start(run, endless(root), SEED)
    await said.next(m.Opened)
    (pid,) = processes.pids
    return pid


async def next_of(said: Line, kind: type[T]) -> T:
    """Return the next message of a kind, whatever comes before."""
    while not isinstance(message := await said.heard.get(), kind):
        pass
    return message


async def gone(pid: int) -> None:
    """Return when there is no such process."""
    async with asyncio.timeout(ENDS_S):
        while is_alive(pid):  # noqa: ASYNC110 - the system does not tell
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# --- it dies -------------------------------------------------------------------------------------


async def test_a_process_that_is_killed_costs_its_runs_a_retry(tmp_path: Path) -> None:
    """The node lives on, says what happened, and the next run is another process's."""
    async with processes_of(tmp_path) as (processes, said):
        pid = await opened(processes, said, tmp_path)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(HEARD_S):
            failed = await next_of(said, m.Failed)
        assert (failed.pipeline_id, failed.run) == (PIPELINE, 7)
        assert (failed.error.code, failed.error.retryable) == (Code.WORKER_LOST, True)
        assert "worker 1 was killed by SIGKILL" in failed.error.message
        assert await opened(processes, said, tmp_path, run=8) != pid


async def test_a_process_that_cannot_begin_says_why(tmp_path: Path) -> None:
    """A missing library is named in the pipeline's error, not only in a log somewhere."""
    failing = (sys.executable, "-c", "import no_such_library")
    async with processes_of(tmp_path, command=failing) as (_, said):
        said.start(7, endless(tmp_path), SEED)
        failed = await next_of(said, m.Failed)
        assert (failed.error.code, failed.error.retryable) == (Code.WORKER_LOST, True)
        assert "exited with status 1" in failed.error.message
        assert "No module named 'no_such_library'" in failed.error.message


async def test_a_program_that_does_not_exist_costs_a_retry_too(tmp_path: Path) -> None:
    """Nothing of a node ends with it."""
    async with processes_of(tmp_path, command=("/no/such/program",)) as (_, said):
        said.start(7, endless(tmp_path), SEED)
        failed = await next_of(said, m.Failed)
        assert "cannot be started" in failed.error.message


async def test_whoever_waits_for_an_answer_is_told_that_there_will_be_none(
    tmp_path: Path,
) -> None:
    """The same batch can be pushed again, to another process."""
    async with processes_of(tmp_path) as (processes, said):
        pid = await opened(processes, said, tmp_path)
        os.kill(pid, signal.SIGSTOP)
        pushed = Pushed("b1", "application/x-ndjson", b'{"a": 1}')
        async with asyncio.TaskGroup() as tasks:
            parsing = tasks.create_task(refused(processes, pushed))
            await asyncio.sleep(0.1)
            os.kill(pid, signal.SIGKILL)
        assert parsing.result().code == Code.WORKER_LOST
        assert (await processes.parse(pushed, {"a": "int64"}, None)).records == 1


async def refused(processes: Processes, pushed: Pushed) -> Unavailable:
    """Return the error of a batch that is not parsed."""
    with pytest.raises(Unavailable) as caught:
        await processes.parse(pushed, {"a": "int64"}, None)
    return caught.value


async def test_nobody_waits_for_ever_for_a_process_that_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told what is wrong with it instead."""
    monkeypatch.setattr(pool, "SOMEONE_S", 3.0)
    failing = (sys.executable, "-c", "import no_such_library")
    async with processes_of(tmp_path, command=failing) as (processes, _):
        with pytest.raises(Unavailable, match=r"no worker is ready.*no_such_library"):
            await processes.parse(Pushed("b1", "application/json", b"[]"), {}, None)


# --- it is stuck ---------------------------------------------------------------------------------


async def test_a_process_that_reads_nothing_is_ended_before_its_node_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it has a limit, and the loop of the node never waits."""
    monkeypatch.setattr(process, "UNSENT_BYTES_MAX", 1 << 20)
    async with processes_of(tmp_path) as (processes, said):
        pid = await opened(processes, said, tmp_path)
        os.kill(pid, signal.SIGSTOP)
        large = replace(SEED, pinned={"x": "x" * (256 << 10)})
        for number in range(20):
            run = m.RunTask(PipelineId(f"q{number}"), Run(1), endless(tmp_path), large)
            processes.receive(run)
        failed = await next_of(said, m.Failed)
        assert "was ended by its node: it has not read" in failed.error.message
        await gone(pid)


async def test_a_process_that_falls_silent_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that never ends and never fails would be everybody's last resort."""
    async with processes_of(tmp_path) as (processes, said):
        pid = await opened(processes, said, tmp_path)
        monkeypatch.setattr(process, "LOOK_EVERY_S", 0.5)
        os.kill(pid, signal.SIGSTOP)
        failed = await next_of(said, m.Failed)
        assert "silent for" in failed.error.message
        await gone(pid)


async def test_a_process_that_hangs_at_its_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node ends within its grace, whatever a connector does."""
    monkeypatch.setattr(process, "RETIRE_S", 0.5)
    async with processes_of(tmp_path) as (processes, said):
        pid = await opened(processes, said, tmp_path)
        os.kill(pid, signal.SIGSTOP)
    assert not is_alive(pid)


async def test_processes_end_with_their_node(tmp_path: Path) -> None:
    """In order: what they ran has let go."""
    async with processes_of(tmp_path, 2) as (processes, said):
        said.start(7, endless(tmp_path), SEED)
        await said.next(m.Opened)
        pids = processes.pids
    assert len(pids) == 2
    assert not any(map(is_alive, pids))
    with locked(tmp_path / ".out.csv.lock") as free:
        assert free


# --- what passes between -------------------------------------------------------------------------


async def test_large_messages_come_through_whole(tmp_path: Path) -> None:
    """A checkpoint of many splits, a batch of many records: far more than a socket holds."""
    async with processes_of(tmp_path, telling=True) as (processes, said):
        pins = {"elsewhere": "x" * (5 << 20)}
        spec = canonical(
            PipelineSpec(source=Source("numbers", batch_size=4), sink=Sink("telling", "nowhere"))
        )
        said.start(7, spec, replace(SEED, pinned=pins))
        await said.next(m.Opened)
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 1))
        prepared = await said.next(m.Prepared)
        assert prepared.checkpoint.pinned == pins
        record = json.dumps({"a": "y" * (12 << 20)}).encode()
        pushed = Pushed("b1", "application/x-ndjson", record)
        parsed = await processes.parse(pushed, {"a": "string"}, None)
        assert len(parsed.body) > 12 << 20


async def test_what_is_too_large_to_be_said_fails_its_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be too large the next time as well, so it is not tried again."""
    from dataflow.engine.processes import link  # noqa: PLC0415 - patched

    async with processes_of(tmp_path) as (processes, said):
        monkeypatch.setattr(link, "FRAME_BYTES_MAX", 1 << 20)
        said.start(7, endless(tmp_path), replace(SEED, pinned={"x": "x" * (2 << 20)}))
        failed = await next_of(said, m.Failed)
        assert (failed.error.code, failed.error.retryable) == (Code.TOO_LARGE, False)
        await opened(processes, said, tmp_path, run=8)


async def test_errors_are_raised_as_where_the_question_is_answered(tmp_path: Path) -> None:
    """Whoever pushes a bad record is told which one, wherever it was parsed."""
    async with processes_of(tmp_path) as (processes, _):
        bad = Pushed("b1", "application/x-ndjson", b'{"a": 1}\n{"a": "x"}')
        with pytest.raises(Rejected) as caught:
            await processes.parse(bad, {"a": "int64"}, None)
        assert caught.value.field == "records[1].a"
        with pytest.raises(Rejected, match="is not a token of this list"):
            await processes.dead_letters(PIPELINE, "elsewhere", 10, EVERY)
        asking = ReplayLetters("a", Wanted(ids=(f"{1:020}-{1:020}-1/0",)))
        with pytest.raises(Rejected, match="there is no letter"):
            await processes.replay(PIPELINE, endless(tmp_path), asking)


async def test_letters_are_looked_after_by_a_process(tmp_path: Path) -> None:
    """Rows are made of them there, where Arrow is."""
    async with processes_of(tmp_path) as (processes, _):
        assert await processes.causes(PIPELINE) == ()
        assert await processes.purge(PIPELINE, EVERY) == 0
        nothing = await processes.replay(PIPELINE, endless(tmp_path), ReplayLetters("a"))
        assert nothing == Replay("", 0)


async def test_runs_are_spread_evenly_and_a_pipeline_stays_where_it_is(tmp_path: Path) -> None:
    """A run that has not let go would be in the way of the next one anywhere else."""
    async with processes_of(tmp_path, 2) as (processes, said):
        for number in range(6):
            (tmp_path / f"p{number}").mkdir()
            spec = endless(tmp_path / f"p{number}")
            processes.receive(m.RunTask(PipelineId(f"p{number}"), Run(1), spec, SEED))
        for _ in range(6):
            await said.next(m.Opened)
        shares = [set(one.runs) for one in processes._slots if one is not None]
        assert sorted(map(len, shares)) == [3, 3]
        processes.receive(m.Abandon(PipelineId("p0"), Run(1)))
        again = m.RunTask(PipelineId("p0"), Run(2), endless(tmp_path / "p0"), SEED)
        processes.receive(again)
        assert (await said.next(m.Opened)).run == 2
        assert [set(one.runs) for one in processes._slots if one is not None] == shares


# --- the lease -----------------------------------------------------------------------------------


async def test_past_the_lease_every_run_is_dropped_and_none_begins_before_the_next(
    tmp_path: Path,
) -> None:
    """The shards may be another node's by then."""
    clock = SystemClock()
    async with processes_of(tmp_path) as (processes, said):
        processes.serve(clock.steady() + PATIENCE_S)
        await opened(processes, said, tmp_path)
        processes.serve(clock.steady() - 1)
        failed = await next_of(said, m.Failed)
        assert (failed.run, failed.error.code, failed.error.retryable) == (
            7,
            Code.LEASE_LOST,
            True,
        )
        said.start(8, endless(tmp_path), SEED)
        failed = await next_of(said, m.Failed)
        assert (failed.run, failed.error.code) == (8, Code.LEASE_LOST)
        processes.serve(clock.steady() + PATIENCE_S)
        await opened(processes, said, tmp_path, run=9)


async def test_a_process_that_was_busy_goes_by_the_latest_it_was_told(tmp_path: Path) -> None:
    """Else one that begins slowly would refuse its first work by a lease that was renewed since."""
    clock = SystemClock()
    async with processes_of(tmp_path) as (processes, said):
        processes.serve(clock.steady() - 1)
        said.start(7, endless(tmp_path), SEED)
        processes.serve(clock.steady() + PATIENCE_S)
        await said.next(m.Opened)


async def test_what_a_frozen_process_finds_when_it_wakes_is_not_done_any_more(
    tmp_path: Path,
) -> None:
    """A decision that waited in its socket is another node's to carry out by then."""
    clock = SystemClock()
    async with processes_of(tmp_path) as (processes, said):
        pid = await opened(processes, said, tmp_path)
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 1))
        await said.next(m.Prepared)
        until = clock.steady() + 1.0
        processes.serve(until)
        await asyncio.sleep(0.3)
        os.kill(pid, signal.SIGSTOP)
        said.worker.receive(m.Decided(PIPELINE, Run(7), 1))
        while clock.steady() < until:  # noqa: ASYNC110 - a clock of its own
            await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
        while not isinstance(message := await said.heard.get(), m.Failed):
            assert not isinstance(message, m.Committed)
        assert message.error.code in {Code.LEASE_LOST, Code.WORKER_LOST}


@contextmanager
def parent(target: Path, lease_s: float) -> Iterator[Popen[str]]:
    """Run a node of its own, and end it in any case."""
    command = [sys.executable, "-m", "tests.contract.engine.parent", str(target), str(lease_s)]
    with Popen(command, cwd=ROOT, stdout=PIPE, text=True) as node:
        try:
            yield node
        finally:
            node.kill()


async def said_by(node: Popen[str]) -> dict[str, Any]:
    """Return the next line that a node says."""
    async with asyncio.timeout(PATIENCE_S):
        stream = node.stdout
        assert stream is not None
        said: dict[str, Any] = json.loads(await asyncio.to_thread(stream.readline))
        return said


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Try a sink's lock; tell whether it was free."""
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


async def lock_is_free(path: Path) -> None:
    """Return when nobody has a sink's lock any more."""
    async with asyncio.timeout(ENDS_S):
        while True:
            with locked(path) as free:
                if free:
                    return
            await asyncio.sleep(0.05)


async def test_an_orphan_ends_by_itself(tmp_path: Path) -> None:
    """Whoever began it is dead; another node begins the same run, and needs its lock."""
    with parent(tmp_path / "out.csv", 0) as node:
        pid = (await said_by(node))["opened"]
        with locked(tmp_path / ".out.csv.lock") as free:
            assert not free
        node.kill()
        try:
            await gone(pid)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await lock_is_free(tmp_path / ".out.csv.lock")


async def test_a_node_that_is_frozen_leaves_nobody_working(tmp_path: Path) -> None:
    """It cannot tell its processes that its lease is over, so they know it beforehand."""
    with parent(tmp_path / "out.csv", 2.0) as node:
        pid = (await said_by(node))["opened"]
        with locked(tmp_path / ".out.csv.lock") as free:
            assert not free
        node.send_signal(signal.SIGSTOP)
        await lock_is_free(tmp_path / ".out.csv.lock")
        assert is_alive(pid)
        node.send_signal(signal.SIGCONT)
        assert await said_by(node) == {"failed": Code.LEASE_LOST}
