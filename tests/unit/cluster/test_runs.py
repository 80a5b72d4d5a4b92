"""The owner's side of runs: what it tells a worker, what it believes of one, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from dataflow.app.clock import SystemClock
from dataflow.cluster import run as run_module
from dataflow.cluster.host import Host, Surroundings
from dataflow.cluster.runs import Node, Runs
from dataflow.core import commands as c
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint, SplitPosition, Stamp
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Corrupted, Unavailable, Waiting
from dataflow.core.events import Cause, ErrorType, PipelineError
from dataflow.core.ids import CommandId, PipelineId, Run
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, canonical
from dataflow.core.state import Drain, State, Status
from dataflow.journal.contract import Decision, Held, Outcome
from dataflow.journal.memory import Memory
from dataflow.wire.journalled import checkpoint_bytes, checkpoint_from
from tests.unit.cluster.test_host import Past, Seen, append_unreadable

P = PipelineId("p")
SHORT = timedelta(milliseconds=10)
SPEC = canonical(
    PipelineSpec(
        source=Source("file", "/a"),
        sink=Sink("console"),
        options=PipelineOptions(
            checkpoint_interval=SHORT, backoff_initial=SHORT, backoff_max=SHORT, max_attempts=3
        ),
    )
)
M = TypeVar("M")


@dataclass
class Fanout(Seen):
    """A projection that tells the runs, as the app's does."""

    runs: Runs | None = None

    def apply(self, committed: object) -> None:
        super().apply(committed)  # type: ignore[arg-type]  # a sequence of committed events
        if self.runs is not None:
            self.runs.committed(committed)  # type: ignore[arg-type]  # as above


@dataclass
class Worker:
    """A worker that a test plays: what it is told is queued, what it says goes to the owner."""

    told: asyncio.Queue[m.ToWorker] = field(default_factory=asyncio.Queue)
    runs: Runs | None = None
    pushed: int = 0
    """The end of the ingest log of its node."""

    async def hear(self, kind: type[M]) -> M:
        """Return the next message, which must be of one kind."""
        async with asyncio.timeout(5):
            message = await self.told.get()
        assert isinstance(message, kind), message
        return message

    def say(self, message: m.ToOwner) -> None:
        """Tell the owner something."""
        assert self.runs is not None
        self.runs.receive(message)

    async def open(self) -> m.RunTask:
        """Begin the run that is asked for."""
        task = await self.hear(m.RunTask)
        self.say(m.Opened(P, task.run))
        return task

    async def checkpoint(self, task: m.RunTask, records: int) -> m.Barrier:
        """Close the checkpoint that is asked for, with so many records read."""
        barrier = await self.decided(task, records)
        self.say(m.Committed(P, task.run, barrier.number))
        return barrier

    async def decided(self, task: m.RunTask, records: int) -> m.Barrier:
        """Prepare the checkpoint that is asked for, and hear that it is decided."""
        barrier = await self.hear(m.Barrier)
        self.say(m.Prepared(P, task.run, prepared(task, barrier.number, records)))
        decided = await self.hear(m.Decided)
        assert decided.number == barrier.number
        return barrier


def prepared(task: m.RunTask, number: int, records: int) -> Checkpoint:
    """Return what a worker has prepared."""
    return replace(
        task.checkpoint,
        stamp=Stamp(task.run, number),
        seeded=True,
        positions={"s": SplitPosition("{}", records)},
    )


@dataclass
class Owner:
    """A node whose worker is a test."""

    host: Host
    runs: Runs
    worker: Worker
    seen: Fanout
    points: list[str]

    async def ask(self, *bodies: c.UserCommand) -> None:
        """Carry out commands that must be accepted."""
        for number, body in enumerate(bodies):
            name = CommandId(f"{type(body).__name__}-{number}-{len(self.seen.events)}")
            await self.host.execute(c.Command(P, name, "me", body, b"d"))

    async def until(self, true: Callable[[State], bool]) -> State:
        """Return the state once something holds."""
        async with asyncio.timeout(5):
            while not true(self.host.state(P)):  # noqa: ASYNC110 - the state is what is tested
                await asyncio.sleep(0.002)
        return self.host.state(P)

    def types(self) -> list[str]:
        """Return what has happened, by name."""
        return [one.event.type for one in self.seen.events]


@asynccontextmanager
async def owning(
    journal: Memory | None = None, grace: float = 0.2, clock: Clock | None = None
) -> AsyncIterator[Owner]:
    """A node over a journal, whose worker is the test."""
    journal = journal or Memory()
    seen, worker = Fanout(store=journal.store), Worker()
    points: list[str] = []
    clock = clock or SystemClock()

    async def ingested(_: PipelineId) -> int:
        return worker.pushed

    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            Host.open(Surroundings(journal, seen, Past(), clock, lambda: "n", shards=2))
        )
        await host.acquire_all()
        around = Node(host, worker.told.put_nowait, clock, lambda: 0.0, ingested, points.append)
        runs = await stack.enter_async_context(Runs.open(around, timedelta(seconds=grace)))
        worker.runs = seen.runs = runs
        runs.take_up(None, Cause.RESTART)
        yield Owner(host, runs, worker, seen, points)


async def started(owner: Owner) -> m.RunTask:
    """Create and start the pipeline, and seed its lineage."""
    await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
    task = await owner.worker.open()
    await owner.worker.checkpoint(task, 0)
    return task


def progress(task: m.RunTask, records: int) -> m.Progress:
    """Say that something was read, so that there is something to decide."""
    return m.Progress(P, task.run, m.Phase.PROCESSING, records_read=records)


async def test_a_lineage_is_seeded_and_journalled_before_its_first_row() -> None:
    """After that, a register that is empty is known to be corrupt."""
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        task = await owner.worker.open()
        assert not task.checkpoint.seeded
        await owner.worker.decided(task, 0)
        assert owner.types()[-2:] == ["RunStarted", "CheckpointUpdated"]


async def test_a_checkpoint_is_decided_before_the_worker_hears_of_it() -> None:
    """What is visible and undecided comes twice after a crash."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(progress(task, 5))
        await owner.worker.decided(task, 5)
        stored = await owner.host.decision(P)
        assert stored is not None
        assert checkpoint_from(stored.payload).positions["s"].records == 5


async def test_the_first_rows_of_a_run_are_decided_without_waiting_for_the_interval() -> None:
    """A takeover is over when its pipelines decide again; the interval may be an hour."""
    hourly = replace(SPEC, options=PipelineOptions(checkpoint_interval=timedelta(hours=1)))
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(hourly), c.StartPipeline())
        task = await owner.worker.open()
        await owner.worker.checkpoint(task, 0)
        owner.worker.say(progress(task, 5))
        await owner.worker.checkpoint(task, 5)
        owner.worker.say(progress(task, 9))
        await asyncio.sleep(0.05)
        assert owner.worker.told.empty()


async def test_an_idle_pipeline_decides_nothing() -> None:
    """Ten thousand idle pipelines must cost nothing."""
    async with owning() as owner:
        await started(owner)
        await asyncio.sleep(0.1)
        assert owner.worker.told.empty()


async def test_a_position_that_moves_without_a_record_is_decided() -> None:
    """Upstream may forget what is decided, and nothing else."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(m.Progress(P, task.run, m.Phase.PROCESSING, positions_moved=1))
        await owner.worker.checkpoint(task, 0)


async def test_exhausted_input_completes_the_pipeline_after_its_last_checkpoint() -> None:
    """Completed means that everything is decided and visible."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(m.Exhausted(P, task.run))
        assert (await owner.worker.checkpoint(task, 9)).final
        state = await owner.until(lambda state: state.status is Status.STOPPED)
        assert state.reason == "completed"
        assert state.checkpoint is not None
        assert state.checkpoint.positions["s"].records == 9


@pytest.mark.parametrize(
    ("body", "status"),
    [(c.StopPipeline("enough"), Status.STOPPED), (c.PausePipeline("enough"), Status.PAUSED)],
)
async def test_a_stop_or_pause_ends_behind_a_last_checkpoint(
    body: c.UserCommand, status: Status
) -> None:
    """Both are requests first, and answered when they have come true."""
    async with owning() as owner:
        task = await started(owner)
        await owner.ask(body)
        waiting = asyncio.ensure_future(owner.runs.settled(P, timedelta(seconds=5)))  # noqa: TID251 - awaited below
        assert (await owner.worker.checkpoint(task, 1)).final
        state = await waiting
        assert (state.status, state.reason) == (status, "enough")


async def test_a_stop_during_a_checkpoint_takes_one_more() -> None:
    """Rows behind the barrier that is under way would be left out."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(progress(task, 5))
        barrier = await owner.worker.hear(m.Barrier)
        await owner.ask(c.StopPipeline())
        owner.worker.say(m.Prepared(P, task.run, prepared(task, barrier.number, 5)))
        await owner.worker.hear(m.Decided)
        owner.worker.say(m.Committed(P, task.run, barrier.number))
        assert (await owner.worker.checkpoint(task, 6)).final
        await owner.until(lambda state: state.status is Status.STOPPED)


async def test_a_deadline_stops_a_worker_that_does_not_answer() -> None:
    """An endless wait is never an answer."""
    async with owning() as owner:
        await started(owner)
        await owner.ask(c.StopPipeline(deadline=timedelta(milliseconds=50)))
        assert (await owner.worker.hear(m.Barrier)).final
        await owner.worker.hear(m.Abandon)
        await owner.until(lambda state: state.status is Status.STOPPED)


async def test_whoever_waits_for_a_stop_is_told_when_it_takes_too_long() -> None:
    """The request stands; only the caller's patience is over."""
    async with owning() as owner:
        await started(owner)
        await owner.ask(c.StopPipeline())
        with pytest.raises(Waiting):
            await owner.runs.settled(P, timedelta(milliseconds=20))
        assert owner.host.state(P).draining is Drain.STOP


async def test_a_stop_while_the_source_is_waited_for_is_at_once() -> None:
    """There is nothing to finish."""
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        task = await owner.worker.hear(m.RunTask)
        owner.worker.say(m.Progress(P, task.run, m.Phase.WAITING, "no such file"))
        await asyncio.sleep(0.01)
        await owner.ask(c.StopPipeline())
        await owner.worker.hear(m.Abandon)
        await owner.until(lambda state: state.status is Status.STOPPED)


async def test_messages_of_an_older_run_are_ignored() -> None:
    """A worker that was given up may still speak."""
    async with owning() as owner:
        task = await started(owner)
        old = replace(task, run=Run(task.run - 1))
        owner.worker.say(progress(task, 5))
        barrier = await owner.worker.hear(m.Barrier)
        owner.worker.say(m.Prepared(P, old.run, prepared(old, barrier.number, 99)))
        owner.worker.say(m.Failed(P, old.run, PipelineError(message="late")))
        owner.worker.say(m.Prepared(P, task.run, prepared(task, barrier.number, 5)))
        await owner.worker.hear(m.Decided)
        stored = await owner.host.decision(P)
        assert stored is not None
        assert checkpoint_from(stored.payload).positions["s"].records == 5
        assert owner.host.state(P).status is Status.RUNNING


async def test_a_run_claims_the_register_before_anything_is_touched() -> None:
    """From then on the run before it can decide nothing, wherever it still lives."""
    journal = Memory()
    async with owning(journal) as owner:
        task = await started(owner)
        zombie = prepared(task, 2, 7)
        before = await owner.host.decision(P)
        assert before is not None
        owner.worker.say(m.Failed(P, task.run, PipelineError(retryable=True)))
        again = await owner.worker.hear(m.RunTask)
        assert again.run > task.run
        late = Decision(P, before.stamp, zombie.stamp, checkpoint_bytes(zombie))
        assert not (await owner.host.decide(late)).accepted


async def test_a_refused_decision_is_a_failure_that_passes() -> None:
    """A larger run has decided; the next run of this owner starts from what that one decided."""
    async with owning() as owner:
        task = await started(owner)
        stored = await owner.host.decision(P)
        assert stored is not None
        other = prepared(task, 2, 50)
        await owner.host.decide(Decision(P, stored.stamp, other.stamp, checkpoint_bytes(other)))
        owner.worker.say(progress(task, 5))
        barrier = await owner.worker.hear(m.Barrier)
        owner.worker.say(m.Prepared(P, task.run, prepared(task, barrier.number, 5)))
        await owner.worker.hear(m.Abandon)
        again = await owner.worker.hear(m.RunTask)
        assert again.checkpoint.positions["s"].records == 50


async def test_failures_are_retried_until_there_were_too_many() -> None:
    """Each attempt is a run of its own, with a larger number."""
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        runs = []
        for _ in range(3):
            task = await owner.worker.hear(m.RunTask)
            runs.append(task.run)
            error = PipelineError(ErrorType.SOURCE, "X", "no", retryable=True)
            owner.worker.say(m.Failed(P, task.run, error))
        state = await owner.until(lambda state: state.status is Status.FAILED)
        assert state.error is not None
        assert state.error.message == "no"
        assert runs == sorted(set(runs))
        causes = [
            one.event.body.cause  # type: ignore[union-attr]  # only RunStarted is taken
            for one in owner.seen.events
            if one.event.type == "RunStarted"
        ]
        assert causes == [Cause.START, Cause.RETRY, Cause.RETRY]


class Silent(Memory):
    """A journal that loses some decisions and does not say so."""

    lost = 0

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        if self.lost:
            self.lost -= 1
            raise Unavailable("who knows", code=Code.OUTCOME_UNKNOWN)
        return await super().decide(held, decisions)


async def test_a_run_that_cannot_take_up_what_its_sink_has_decided_is_tried_again() -> None:
    """The shard is still here: given up without a word, nobody would ever begin it again."""
    journal = Silent()
    async with owning(journal) as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        task = await owner.worker.hear(m.RunTask)
        journal.lost = 1
        owner.worker.say(m.Opened(P, task.run, prepared(task, 1, 5)))
        await owner.worker.hear(m.Abandon)
        task = await owner.worker.hear(m.RunTask)
        owner.worker.say(m.Opened(P, task.run, prepared(task, 1, 5)))
        owner.worker.say(progress(task, 6))
        assert (await owner.worker.hear(m.Barrier)).number == 2


class Ahead(SystemClock):
    """The clock of a node whose calendar is wrong."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


async def test_a_retry_set_by_a_wrong_calendar_comes_within_the_longest_backoff() -> None:
    """The node that set it is gone, and its calendar was an hour ahead of the next owner's."""
    journal = Memory()
    async with owning(journal, clock=Ahead()) as owner:
        task = await started(owner)
        owner.worker.say(m.Failed(P, task.run, PipelineError(retryable=True)))
        await owner.until(lambda state: state.retry_at is not None)
    async with owning(journal) as owner:
        await owner.worker.hear(m.RunTask)


async def test_a_start_does_not_wait_for_a_retry_that_was_given_up() -> None:
    """Stopped while it backed off for a minute, started again: it starts now."""
    slow = PipelineOptions(backoff_initial=timedelta(minutes=1), backoff_max=timedelta(minutes=1))
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(canonical(replace(SPEC, options=slow))), c.StartPipeline())
        task = await owner.worker.hear(m.RunTask)
        owner.worker.say(m.Failed(P, task.run, PipelineError(retryable=True)))
        await owner.until(lambda state: state.retry_at is not None)
        await owner.ask(c.StopPipeline(), c.StartPipeline())
        assert (await owner.worker.hear(m.RunTask)).run > task.run


async def test_a_restart_takes_up_what_was_running() -> None:
    """The status was never anything else; a new run says why it began."""
    journal = Memory()
    async with owning(journal, grace=0.01) as owner:
        await started(owner)
    async with owning(journal) as owner:
        task = await owner.worker.hear(m.RunTask)
        assert task.checkpoint.seeded
        body = owner.seen.events[0].event.body
        assert (owner.types(), body.cause) == (["RunStarted"], Cause.RESTART)  # type: ignore[union-attr]  # as asserted


async def test_a_start_passes_over_a_running_pipeline_in_quarantine() -> None:
    """One pipeline's unreadable event must not keep the program from starting."""
    journal = Memory()
    async with owning(journal, grace=0.01) as owner:
        await started(owner)
    await append_unreadable(journal, P, shards=2)
    async with owning(journal) as owner:
        assert owner.runs.running == ()
        with pytest.raises(Corrupted):
            owner.host.state(P)


async def test_a_shutdown_closes_a_last_checkpoint_and_leaves_the_status() -> None:
    """SIGTERM is neither a stop nor a pause."""
    journal = Memory()
    async with owning(journal, grace=5) as owner:
        task = await started(owner)
        leaving = asyncio.ensure_future(owner.worker.checkpoint(task, 3))  # noqa: TID251 - awaited below
    assert (await leaving).final
    async with owning(journal) as owner:
        again = await owner.worker.hear(m.RunTask)
        assert again.checkpoint.positions["s"].records == 3
        assert owner.host.state(P).status is Status.RUNNING


async def test_a_stop_that_a_crash_interrupted_is_finished_by_the_next_start() -> None:
    """What was decided must be made visible before it is called stopped."""
    journal = Memory()
    async with owning(journal, grace=0.01) as owner:
        await started(owner)
        await owner.ask(c.StopPipeline())
    async with owning(journal) as owner:
        task = await owner.worker.open()
        assert (await owner.worker.checkpoint(task, 0)).final
        await owner.until(lambda state: state.status is Status.STOPPED)


async def test_a_lost_register_fails_the_pipeline_and_never_starts_over() -> None:
    """Starting at the beginning would write every row again."""
    journal = Memory()
    async with owning(journal, grace=0.01) as owner:
        await started(owner)
    journal.store.registers.clear()  # the damage
    async with owning(journal) as owner:
        state = await owner.until(lambda state: state.status is Status.FAILED)
        assert state.error is not None
        assert state.error.code == Code.CORRUPTED


async def test_a_transactional_sinks_own_decision_is_taken_up() -> None:
    """The crash came between the sink's commit and the register's copy of it."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(m.Failed(P, task.run, PipelineError(retryable=True)))
        again = await owner.worker.hear(m.RunTask)
        held = prepared(again, 2, 40)
        owner.worker.say(m.Opened(P, again.run, held))
        owner.worker.say(progress(again, 1))
        assert (await owner.worker.hear(m.Barrier)).number == 3
        stored = await owner.host.decision(P)
        assert stored is not None
        assert (stored.stamp.number, checkpoint_from(stored.payload).positions["s"].records) == (
            2,
            40,
        )


async def test_a_sink_that_forgot_a_decision_is_corrupt() -> None:
    """Its rows are gone, and reading on would hide it."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(progress(task, 5))
        await owner.worker.checkpoint(task, 5)
        owner.worker.say(m.Failed(P, task.run, PipelineError(retryable=True)))
        again = await owner.worker.hear(m.RunTask)
        owner.worker.say(m.Opened(P, again.run, prepared(again, 1, 0)))
        state = await owner.until(lambda state: state.status is Status.FAILED)
        assert state.error is not None
        assert state.error.code == Code.CORRUPTED


async def test_rows_of_a_checkpoint_ask_for_it_early() -> None:
    """``checkpointRows`` bounds what is read again, whatever the interval."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(m.CheckpointDue(P, task.run))
        assert not (await owner.worker.hear(m.Barrier)).final


async def test_decisions_are_audited_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log gets a copy a minute, not one a checkpoint."""
    monkeypatch.setattr(run_module, "AUDIT_EVERY", timedelta(milliseconds=50))
    async with owning() as owner:
        task = await started(owner)
        for records in range(1, 20):
            owner.worker.say(progress(task, records))
            await owner.worker.checkpoint(task, records)
        audits = owner.types().count("CheckpointUpdated")
        assert 2 <= audits < 15
