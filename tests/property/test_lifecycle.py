"""Commands in any order: whatever a person or the engine asks, the rules hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataflow.core import commands as c
from dataflow.core import events as e
from dataflow.core.checkpoint import Checkpoint, Ledger, SplitPosition, Stamp
from dataflow.core.errors import Code, Rejected
from dataflow.core.ids import CommandId, Offset, PipelineId, Run, Sequence, Version
from dataflow.core.lifecycle import RESTING, Bodies, decide, evolve
from dataflow.core.spec import PipelineOptions, PipelineSpec, Position, Sink, Source, canonical
from dataflow.core.state import Drain, State, Status

PIPELINE = PipelineId("p")
AnyCommand: TypeAlias = c.UserCommand | c.EngineCommand
Report: TypeAlias = c.RecordCheckpoint | c.FinishRun | c.ReportFailure
REFUSALS = {
    Code.FORBIDDEN_TRANSITION,
    Code.PIPELINE_EXISTS,
    Code.UNKNOWN_PIPELINE,
    Code.UNKNOWN_VERSION,
    Code.POSITION_REQUIRED,
    Code.INVALID,
}

specs = st.builds(
    lambda path, batch, attempts: canonical(
        PipelineSpec(
            source=Source("file", path, batch_size=batch),
            sink=Sink("file", "/out.csv"),
            options=PipelineOptions(max_attempts=attempts),
        )
    ),
    st.sampled_from(["/a.csv", "/b.csv"]),
    st.sampled_from([0, 10]),
    st.integers(1, 3),
)
errors = st.builds(e.PipelineError, retryable=st.booleans(), code=st.sampled_from(list(Code)))


class Lifecycle(RuleBasedStateMachine):
    """One pipeline, its log, and the rules between them."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State(pipeline_id=PIPELINE)
        self.log: list[e.Event] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.decided = 0

    def ask(self, body: AnyCommand) -> bool:
        """Decide and evolve; True if it was accepted."""
        self.now += timedelta(seconds=1)
        before = self.state
        refused: Rejected | None = None
        bodies: Bodies = ()
        try:
            bodies = decide(self.state, body, self.now)
        except Rejected as error:
            refused = error
        if refused is not None:
            assert refused.code in REFUSALS
            assert refused.message
            assert self.state == before
            return False
        for one in bodies:
            event = e.Event(
                pipeline_id=PIPELINE,
                offset=Offset(len(self.log) + 1),
                sequence=Sequence(self.state.sequence + 1),
                time=self.now,
                actor="me",
                command_id=CommandId("c"),
                body=one,
            )
            self.log.append(event)
            self.state = evolve(self.state, event)
        return True

    def checkpoint(self) -> Checkpoint:
        """Return the next decision of the current run."""
        self.decided += 1
        return Checkpoint(
            lineage=self.state.lineage,
            stamp=Stamp(self.state.run, self.decided),
            seeded=True,
            positions={"a": SplitPosition(records=self.decided)},
            ledgers={"sink": Ledger(records_read=self.decided, records_written=self.decided)},
        )

    @rule(spec=specs)
    def create(self, spec: PipelineSpec) -> None:
        is_first = not self.log
        assert self.ask(c.CreatePipeline(spec)) == is_first

    @rule()
    def start(self) -> None:
        if self.ask(c.StartPipeline()):
            assert self.state.status is Status.RUNNING

    @rule(deadline=st.sampled_from([timedelta(), timedelta(seconds=5)]))
    def stop(self, deadline: timedelta) -> None:
        if self.ask(c.StopPipeline("enough", deadline)):
            assert self.state.status is Status.STOPPED or self.state.draining is Drain.STOP

    @rule()
    def pause(self) -> None:
        if self.ask(c.PausePipeline("a moment")):
            assert self.state.status is Status.PAUSED or self.state.draining is Drain.PAUSE

    @rule()
    def resume(self) -> None:
        if self.ask(c.ResumePipeline()):
            assert self.state.status is Status.RUNNING

    @rule(spec=specs, position=st.sampled_from(list(Position)))
    def update(self, spec: PipelineSpec, position: Position) -> None:
        version, status = self.state.version, self.state.status
        if self.ask(c.UpdatePipeline(spec, position)):
            assert self.state.spec == spec
            assert self.state.status is status
            assert self.state.version in {version, version + 1}

    @rule(version=st.integers(0, 5), spec=specs, with_checkpoint=st.booleans())
    def rollback(self, version: int, spec: PipelineSpec, with_checkpoint: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        found = spec if 1 <= version <= self.state.version else None
        if version == self.state.version:
            found = spec = self.state.spec
        asked = c.RollbackPipeline(Version(version), with_checkpoint, found)
        if self.ask(asked):
            assert self.state.spec == spec

    @rule()
    def reset(self) -> None:
        if self.ask(c.ResetPipeline()):
            assert self.state.status is Status.CONFIGURED

    @rule(beginning=st.booleans())
    def replay(self, beginning: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        lineage, status = self.state.lineage, self.state.status
        body = c.ReplayPipeline() if beginning else c.ReplayPipeline(Sequence(3))
        if self.ask(replace(body, checkpoint=None if beginning else self.state.checkpoint)):
            assert self.state.lineage == lineage + 1
            assert self.state.status is status

    @rule()
    def delete(self) -> None:
        running = self.state.status is Status.RUNNING
        if self.ask(c.DeletePipeline()):
            assert not running
            assert self.state.status is Status.DELETED

    @rule(cause=st.sampled_from(list(e.Cause)))
    def begin_run(self, cause: e.Cause) -> None:
        before = self.state.run
        assert self.ask(c.BeginRun(cause))
        if self.state.active and self.log[-1].type == "RunStarted":
            assert int(self.state.run) == int(self.log[-1].offset) > int(before)

    @rule(late=st.booleans())
    def record(self, late: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.report(c.RecordCheckpoint(self.state.run, self.checkpoint()), late=late)

    @rule(late=st.booleans(), completed=st.booleans())
    def finish(self, late: bool, completed: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        body = c.FinishRun(self.state.run, self.checkpoint(), completed)
        self.report(body, late=late)
        if completed and self.log and self.log[-1].type == "PipelineStopped":
            assert not self.state.active

    @rule(late=st.booleans(), error=errors, progressed=st.booleans())
    def fail(self, late: bool, error: e.PipelineError, progressed: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        body = c.ReportFailure(
            self.state.run, error, self.checkpoint(), progressed=progressed, jitter=0.5
        )
        self.report(body, late=late)

    def report(self, body: Report, *, late: bool) -> None:
        """Report as the current run, or as one before it: that must change nothing."""
        before = self.state
        if late:
            body = replace(body, run=Run(body.run - 1))
        assert self.ask(body)
        if late or not before.active:
            assert self.state == before

    def teardown(self) -> None:
        """A state is nothing but its events: another node that reads them has it too."""
        state = State(pipeline_id=PIPELINE)
        for event in self.log:
            state = evolve(state, event)
        assert state == self.state

    @invariant()
    def numbers_have_no_gap(self) -> None:
        assert [event.sequence for event in self.log] == list(range(1, len(self.log) + 1))
        assert self.state.sequence == len(self.log)

    @invariant()
    def only_what_runs_is_active(self) -> None:
        running = self.state.status is Status.RUNNING
        assert running or not self.state.active
        assert running or self.state.draining is Drain.NOTHING
        assert running or self.state.retry_at is None

    @precondition(lambda self: self.state.status is Status.DELETED)
    @invariant()
    def deleted_is_for_good(self) -> None:
        assert self.log[-1].type == "PipelineDeleted"

    @invariant()
    def wishes_that_hold_change_nothing(self) -> None:
        """Asking for what already holds succeeds, and no event tells of it."""
        if self.state.draining is Drain.NOTHING:
            for status, body in (
                (Status.RUNNING, c.StartPipeline()),
                (Status.STOPPED, c.StopPipeline()),
                (Status.PAUSED, c.PausePipeline()),
                (Status.DELETED, c.DeletePipeline()),
            ):
                if self.state.status is status:
                    assert decide(self.state, body, self.now) == ()
        if self.state.status in RESTING:
            assert decide(self.state, c.UpdatePipeline(self.state.spec), self.now) == ()


Lifecycle.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestLifecycle = Lifecycle.TestCase
