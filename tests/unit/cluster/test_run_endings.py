"""How runs end early: what is given up, what is not, and what the journal is told of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from dataflow.cluster import run as run_module
from dataflow.core import commands as c
from dataflow.core import events as e
from dataflow.core import messages as m
from dataflow.core.events import PipelineError
from dataflow.core.state import Status
from dataflow.journal.contract import Decision
from dataflow.journal.memory import Memory
from dataflow.wire.journalled import checkpoint_bytes
from tests.unit.cluster.test_runs import SPEC, P, owning, prepared, progress, started

SOON = timedelta(milliseconds=10)


async def test_a_stop_lets_the_sink_open_whatever_its_deadline() -> None:
    """Opening is what cuts back the rows of a run that was killed; a pipeline at rest has none."""
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        task = await owner.worker.hear(m.RunTask)
        await owner.ask(c.StopPipeline(deadline=SOON))
        await asyncio.sleep(5 * SOON.total_seconds())
        assert owner.host.state(P).status is Status.RUNNING
        owner.worker.say(m.Opened(P, task.run))
        await owner.worker.hear(m.Abandon)
        await owner.until(lambda state: state.status is Status.STOPPED)


async def test_a_sink_that_never_opens_is_given_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No wait is endless."""
    monkeypatch.setattr(run_module, "OPENING_GRACE", SOON)
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        await owner.worker.hear(m.RunTask)
        await owner.ask(c.StopPipeline(deadline=SOON))
        await owner.worker.hear(m.Abandon)
        await owner.until(lambda state: state.status is Status.STOPPED)


@pytest.mark.parametrize("asked", [c.StopPipeline(), c.PausePipeline()])
async def test_a_source_that_turns_out_to_be_missing_holds_up_no_stop(asked: c.UserCommand) -> None:
    """The stop may come before the source has said that it waits."""
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        task = await owner.worker.hear(m.RunTask)
        await owner.ask(asked)
        owner.worker.say(m.Progress(P, task.run, m.Phase.WAITING, "no such file"))
        await owner.worker.hear(m.Abandon)
        await owner.until(lambda state: not state.active)


async def test_what_was_given_up_is_not_completed() -> None:
    """All was read, but nothing of it was decided: it is read again."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(m.Exhausted(P, task.run))
        assert (await owner.worker.hear(m.Barrier)).final
        await owner.ask(c.StopPipeline("enough", SOON))
        await owner.worker.hear(m.Abandon)
        state = await owner.until(lambda state: state.status is Status.STOPPED)
        assert state.reason == "enough"


async def test_a_decision_is_pending_until_its_commit_is_told() -> None:
    """The next spec may go to another sink only once the rows can be seen in this one."""
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(progress(task, 5))
        await owner.worker.decided(task, 5)
        owner.worker.say(m.Failed(P, task.run, PipelineError(message="no permission")))
        state = await owner.until(lambda state: state.status is Status.FAILED)
        assert state.checkpoint is not None
        assert state.checkpoint.pending
        await owner.ask(c.ResetPipeline(), c.StartPipeline())
        task = await owner.worker.open()  # which commits it again
        owner.worker.say(m.Failed(P, task.run, PipelineError(message="bad record")))
        state = await owner.until(lambda state: state.status is Status.FAILED)
        assert state.checkpoint is not None
        assert not state.checkpoint.pending


async def test_a_seed_that_the_journal_missed_is_journalled_by_the_next_run() -> None:
    """Else the next change would begin a lineage as if this one had never begun."""
    journal = Memory()
    async with owning(journal, grace=0.01) as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        task = await owner.worker.hear(m.RunTask)
        seed = prepared(task, 1, 0)
        claimed = task.checkpoint.stamp
        await owner.host.decide(Decision(P, claimed, seed.stamp, checkpoint_bytes(seed)))
    async with owning(journal) as owner:
        await owner.worker.hear(m.RunTask)
        assert owner.types()[-2:] == ["RunStarted", "CheckpointUpdated"]


async def test_what_was_pushed_and_decided_is_journalled_when_a_run_ends() -> None:
    """The audit trail of a pipeline at rest accounts for every record it acknowledged."""
    async with owning() as owner:
        owner.worker.pushed = 4
        task = await started(owner)
        owner.worker.pushed = 9
        await owner.ask(c.StopPipeline())
        await owner.worker.checkpoint(task, 7)
        await owner.until(lambda state: state.status is Status.STOPPED)
        bodies = [one.event.body for one in owner.seen.events]
        assert bodies[-4:-2] == [e.BatchIngested(4, 9, 5), e.BatchProcessed(0, 7, 7)]
        assert owner.types()[-2:] == ["CheckpointUpdated", "PipelineStopped"]


async def test_a_worker_that_never_answers_is_given_up_after_the_grace_of_a_shutdown() -> None:
    """Whoever stops a program kills it when it takes too long, and a kill is worse."""
    grace_s = 0.1
    async with asyncio.timeout(5):
        async with owning(grace=grace_s) as owner:
            await started(owner)
            left_s = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - left_s >= grace_s
    assert (await owner.worker.hear(m.Barrier)).final
    await owner.worker.hear(m.Abandon)


async def test_an_idle_pipeline_closes_a_checkpoint_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sink that rotates by time shows the rows of a part only when it is asked to."""
    monkeypatch.setattr(run_module, "IDLE_CHECKPOINT_EVERY", 5 * SOON)
    async with owning() as owner:
        task = await started(owner)
        owner.worker.say(progress(task, 5))
        for _ in range(3):
            barrier = await owner.worker.hear(m.Barrier)
            hiding = replace(prepared(task, barrier.number, 5), hidden=5)
            owner.worker.say(m.Prepared(P, task.run, hiding))
            await owner.worker.hear(m.Decided)
            owner.worker.say(m.Committed(P, task.run, barrier.number))


async def test_a_pipeline_that_has_decided_nothing_pauses_at_its_next_failure() -> None:
    """There is nothing to be seen that could be waited for."""
    passing = PipelineError(message="no disk", retryable=True)
    async with owning() as owner:
        await owner.ask(c.CreatePipeline(SPEC), c.StartPipeline())
        task = await owner.worker.hear(m.RunTask)
        owner.worker.say(m.Failed(P, task.run, passing))
        task = await owner.worker.hear(m.RunTask)
        await owner.ask(c.PausePipeline())
        owner.worker.say(m.Failed(P, task.run, passing))
        state = await owner.until(lambda state: state.status is Status.PAUSED)
        assert state.checkpoint is not None
        assert not state.checkpoint.is_unseen
