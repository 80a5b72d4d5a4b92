"""Single rules of the lifecycle, its ids and its retries, each with why it matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataflow.core import commands as c
from dataflow.core import events as e
from dataflow.core.checkpoint import Checkpoint, LineageStart, Origin, Stamp
from dataflow.core.errors import Code, Invalid, Problem, Rejected, Unavailable
from dataflow.core.ids import (
    CommandId,
    Lineage,
    Offset,
    PipelineId,
    Run,
    Version,
    command_id,
    derived_pipeline_id,
    pipeline_id,
    shard_of,
)
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.lifecycle import TABLE, decide, evolve
from dataflow.core.retry import backoff
from dataflow.core.spec import DEFAULTS, PipelineSpec, Position, Sink, Source, canonical
from dataflow.core.state import Drain, State, Status

WAYS_OUT = r"; |there is no pipeline|does not run|for good|never used"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = canonical(PipelineSpec(source=Source("file", "/a.csv"), sink=Sink("file", "/b.csv")))
MOVED = canonical(PipelineSpec(source=Source("file", "/c.csv"), sink=Sink("file", "/b.csv")))
ELSEWHERE = canonical(PipelineSpec(source=Source("file", "/a.csv"), sink=Sink("file", "/d.csv")))
DECIDED = Checkpoint(lineage=Lineage(1), stamp=Stamp(Run(3), 2), seeded=True)
STOPPED = State(
    pipeline_id=PipelineId("p"),
    status=Status.STOPPED,
    version=Version(2),
    spec=SPEC,
    lineage=Lineage(1),
    checkpoint=DECIDED,
)
RUNNING = replace(STOPPED, status=Status.RUNNING, active=True, run=Run(3))


def happened(body: e.Body) -> e.Event:
    """Return an event."""
    return e.Event(
        pipeline_id=STOPPED.pipeline_id,
        offset=Offset(9),
        sequence=SequenceNumber(9),
        time=NOW,
        actor="engine",
        command_id=CommandId("c"),
        body=body,
    )


@pytest.mark.parametrize("command", list(TABLE), ids=lambda command: str(command.__name__))
@pytest.mark.parametrize("status", list(Status))
def test_every_cell_of_the_table_is_allowed_holds_or_says_what_to_do(
    command: type, status: Status
) -> None:
    """A refusal that does not name the way out is a support ticket."""
    row = TABLE[command]
    bodies: dict[type, c.UserCommand] = {
        c.CreatePipeline: c.CreatePipeline(SPEC),
        c.UpdatePipeline: c.UpdatePipeline(SPEC),
        c.RollbackPipeline: c.RollbackPipeline(Version(1), spec=SPEC),
    }
    body: c.UserCommand = bodies.get(command) or command()
    state = replace(STOPPED, status=status)
    if status in row.allowed or status in row.holds:
        decide(state, body, NOW)
        return
    with pytest.raises(Rejected, match=WAYS_OUT):
        decide(state, body, NOW)


def test_a_stop_while_nothing_works_is_done_at_once() -> None:
    """A pipeline that waits for its next attempt has no checkpoint to finish."""
    state = replace(RUNNING, active=False, retry_at=NOW)
    requested, stopped = decide(state, c.StopPipeline("enough"), NOW)
    assert isinstance(requested, e.StopRequested)
    assert isinstance(stopped, e.PipelineStopped)
    assert stopped.checkpoint is DECIDED


@pytest.mark.parametrize("body", [c.StartPipeline(), c.ResumePipeline(), c.PausePipeline()])
def test_what_contradicts_a_stop_under_way_is_refused(body: c.UserCommand) -> None:
    """Otherwise the order of two people's clicks decides, and neither is told."""
    with pytest.raises(Rejected, match="until it has stopped"):
        decide(replace(RUNNING, draining=Drain.STOP), body, NOW)


def test_a_stop_overrides_a_pause_under_way() -> None:
    """Stopping is the stronger wish."""
    (requested,) = decide(replace(RUNNING, draining=Drain.PAUSE), c.StopPipeline(), NOW)
    assert isinstance(requested, e.StopRequested)


def test_another_source_needs_a_position() -> None:
    """Reading a new file at the old file's offset would skip its beginning in silence."""
    with pytest.raises(Rejected) as caught:
        decide(STOPPED, c.UpdatePipeline(MOVED), NOW)
    assert (caught.value.code, caught.value.field) == (Code.POSITION_REQUIRED, "position")


@pytest.mark.parametrize(
    ("position", "origin"),
    [
        (Position.KEEP, Origin.POSITIONS),
        (Position.BEGINNING, Origin.BEGINNING),
        (Position.LATEST, Origin.LATEST),
    ],
)
def test_another_source_begins_a_lineage(position: Position, origin: Origin) -> None:
    """What was decided for the old one must not be taken for the new one's."""
    (updated,) = decide(STOPPED, c.UpdatePipeline(MOVED, position), NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert updated.lineage == 2
    assert updated.start is not None
    assert (updated.start.origin, updated.start.keeps_sink) == (origin, True)


def test_another_sink_begins_a_lineage_where_the_old_one_stood() -> None:
    """Rows already written elsewhere are not asked for again; the new sink begins empty."""
    sunk = replace(SPEC, sinks={"sink": replace(SPEC.sinks["sink"], connection_string="/d.csv")})
    (updated,) = decide(STOPPED, c.UpdatePipeline(sunk), NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert updated.start is not None
    assert (updated.start.origin, updated.start.keeps_sink) == (Origin.POSITIONS, False)


def test_a_lineage_that_never_began_hands_on_its_start() -> None:
    """Two updates before a start must not turn ``latest`` into the beginning."""
    (first,) = decide(STOPPED, c.UpdatePipeline(MOVED, Position.LATEST), NOW)
    assert isinstance(first, e.ConfigUpdated)
    assert first.start is not None
    pending = replace(STOPPED, spec=MOVED, lineage=first.lineage, start=first.start)
    sunk = replace(MOVED, sinks={"sink": replace(SPEC.sinks["sink"], connection_string="/d.csv")})
    (second,) = decide(pending, c.UpdatePipeline(sunk), NOW)
    assert isinstance(second, e.ConfigUpdated)
    assert second.start is not None
    assert second.start.origin is Origin.LATEST
    assert not second.start.keeps_sink


def test_another_last_step_is_no_other_sink() -> None:
    """What feeds a sink is no part of where it writes: its files are its own still."""
    fed = replace(SPEC, sinks={"sink": replace(SPEC.sinks["sink"], input="another")})
    (updated,) = decide(STOPPED, c.UpdatePipeline(fed), NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert (updated.lineage, updated.start) == (1, None)


def test_a_change_of_transforms_keeps_the_lineage() -> None:
    """The same source goes on at the same place into the same sink."""
    (updated,) = decide(STOPPED, c.UpdatePipeline(replace(SPEC, name="new")), NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert (updated.lineage, updated.start) == (1, None)


def test_a_rollback_to_another_source_needs_its_checkpoint() -> None:
    """The old version's positions are the only ones that fit it."""
    with pytest.raises(Rejected) as caught:
        decide(STOPPED, c.RollbackPipeline(Version(1), spec=MOVED), NOW)
    assert caught.value.field == "withCheckpoint"
    back = c.RollbackPipeline(Version(1), with_checkpoint=True, spec=MOVED, checkpoint=DECIDED)
    (updated,) = decide(STOPPED, back, NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert updated.start is not None
    assert (updated.rollback_to, updated.start.checkpoint) == (1, DECIDED)


def test_a_rollback_with_a_checkpoint_that_never_was_begins_at_the_beginning() -> None:
    """That version was replaced before it had decided anything."""
    back = c.RollbackPipeline(Version(1), with_checkpoint=True, spec=SPEC)
    (updated,) = decide(STOPPED, back, NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert updated.start is not None
    assert updated.start.origin is Origin.BEGINNING


def test_a_failure_counts_up_until_a_checkpoint_was_decided() -> None:
    """A pipeline that makes progress may fail for ever; one that makes none may not."""
    error = e.PipelineError(retryable=True)
    state = replace(RUNNING, attempt=4)
    (failed,) = decide(state, c.ReportFailure(Run(3), error), NOW)
    assert isinstance(failed, e.PipelineFailed)
    (again,) = decide(state, c.ReportFailure(Run(3), error, progressed=True), NOW)
    assert isinstance(again, e.RetryScheduled)
    assert again.attempt == 1


def test_a_batch_over_its_time_limit_is_named_before_the_retry() -> None:
    """The audit trail shows which step was slow."""
    error = e.PipelineError(code=Code.BATCH_TIMED_OUT, step="slow", retryable=True)
    timed_out, scheduled = decide(RUNNING, c.ReportFailure(Run(3), error), NOW)
    assert timed_out == e.BatchTimedOut(step="slow", limit=DEFAULTS.batch_timeout)
    assert isinstance(scheduled, e.RetryScheduled)


FLEETING = e.PipelineError(message="the disk is full", retryable=True)


def test_a_failure_while_draining_ends_the_drain_and_is_told() -> None:
    """Whoever asked for a stop waits for an answer, not for another attempt."""
    state = replace(RUNNING, draining=Drain.STOP, reason="enough")
    (stopped,) = decide(state, c.ReportFailure(Run(3), FLEETING, DECIDED), NOW)
    assert stopped == e.PipelineStopped("enough", DECIDED, FLEETING)
    assert evolve(state, happened(stopped)).error == FLEETING


@pytest.mark.parametrize(("patience_s", "retries"), [(60, True), (0.1, False)])
def test_a_stop_tries_again_to_show_what_it_has_decided(patience_s: float, retries: bool) -> None:  # noqa: FBT001 - pytest names it
    """Rows that are decided are read by nobody again; only the deadline ends the trying."""
    until = NOW + timedelta(seconds=patience_s)
    state = replace(RUNNING, draining=Drain.STOP, checkpoint=DECIDED, deadline_at=until)
    pending = replace(DECIDED, pending=True)
    *_, last = decide(state, c.ReportFailure(Run(3), FLEETING, pending), NOW)
    assert isinstance(last, e.RetryScheduled if retries else e.PipelineStopped)


def test_a_retry_tells_the_journal_what_was_decided() -> None:
    """A stop while backing off would go on from an older copy, and rows would come twice."""
    known = replace(RUNNING, checkpoint=DECIDED)
    later = replace(DECIDED, stamp=Stamp(Run(3), DECIDED.stamp.number + 1))
    told, _ = decide(known, c.ReportFailure(Run(3), FLEETING, later), NOW)
    assert told == e.CheckpointUpdated(later)
    (scheduled,) = decide(known, c.ReportFailure(Run(3), FLEETING, DECIDED), NOW)
    assert isinstance(scheduled, e.RetryScheduled)


@pytest.mark.parametrize("unseen", [{"hidden": 5}, {"pending": True}])
def test_another_sink_waits_for_rows_that_cannot_be_seen_yet(unseen: dict[str, Any]) -> None:
    """Nobody reads them again: they would be in neither."""
    held = replace(STOPPED, checkpoint=replace(DECIDED, **unseen))
    with pytest.raises(Rejected) as refused:
        decide(held, c.UpdatePipeline(ELSEWHERE), NOW)
    assert refused.value.code == Code.POSITION_REQUIRED
    with pytest.raises(Rejected):
        decide(held, c.UpdatePipeline(ELSEWHERE, Position.LATEST), NOW)
    assert decide(held, c.UpdatePipeline(ELSEWHERE, Position.BEGINNING), NOW)
    assert decide(STOPPED, c.UpdatePipeline(ELSEWHERE), NOW)


def test_a_source_that_stays_the_same_keeps_what_it_has_pinned() -> None:
    """Where "latest" was is pinned, too: asked again, what came since would be skipped."""
    (sunk,) = decide(STOPPED, c.UpdatePipeline(ELSEWHERE), NOW)
    (moved,) = decide(STOPPED, c.UpdatePipeline(MOVED, Position.KEEP), NOW)
    (again,) = decide(STOPPED, c.UpdatePipeline(ELSEWHERE, Position.BEGINNING), NOW)
    kept = [
        each.start.keeps_pins
        for each in (sunk, moved, again)
        if isinstance(each, e.ConfigUpdated) and each.start is not None
    ]
    assert kept == [True, False, False]


def in_lanes(lanes: int) -> PipelineSpec:
    """Return the spec with so many tasks."""
    return canonical(replace(SPEC, options=replace(DEFAULTS, parallelism=lanes)))


@pytest.mark.parametrize(
    "last",
    [
        DECIDED,
        replace(DECIDED, final=True, stamp=Stamp(Run(2), 2)),
        replace(DECIDED, final=True, pending=True),
    ],
    ids=["cut", "older", "unseen"],
)
def test_another_number_of_tasks_waits_for_a_run_that_ended_with_a_checkpoint(
    last: Checkpoint,
) -> None:
    """A task that was killed may have decided more than was heard: its rows would repeat."""
    held = replace(STOPPED, checkpoint=last, run=Run(3))
    with pytest.raises(Rejected) as refused:
        decide(held, c.UpdatePipeline(in_lanes(2)), NOW)
    assert (refused.value.code, refused.value.field) == (
        Code.POSITION_REQUIRED,
        "options.parallelism",
    )
    with pytest.raises(Rejected):
        decide(held, c.RollbackPipeline(Version(1), spec=in_lanes(2)), NOW)
    assert decide(held, c.UpdatePipeline(in_lanes(2), Position.BEGINNING), NOW)


@pytest.mark.parametrize("last", [None, replace(DECIDED, final=True)], ids=["new", "ended"])
def test_another_number_of_tasks_begins_a_lineage_where_the_last_run_ended(
    last: Checkpoint | None,
) -> None:
    """A split goes to another task, which must not go on from what IT had decided last."""
    state = replace(STOPPED, checkpoint=last, run=Run(3) if last else Run(0))
    (updated,) = decide(state, c.UpdatePipeline(in_lanes(2)), NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert updated.lineage == STOPPED.lineage + 1
    assert updated.start is not None
    assert updated.start.keeps_sink
    assert updated.start.keeps_pins == bool(last)
    assert updated.start.origin is (Origin.POSITIONS if last else STOPPED.start.origin)


def test_other_options_of_a_sink_go_on_with_what_it_holds() -> None:
    """A lineage that began anew would leave the rows of an open part behind."""
    options = canonical(replace(SPEC, sinks={"sink": replace(SPEC.sinks["sink"], batch_size=5)}))
    (updated,) = decide(STOPPED, c.UpdatePipeline(options), NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert (updated.lineage, updated.start) == (STOPPED.lineage, None)


def test_a_lineage_that_never_began_hands_on_how_it_would_have() -> None:
    """A run that claimed its register and failed has begun nothing: latest stays latest."""
    claimed = replace(DECIDED, seeded=False, latest=True)
    start = LineageStart(origin=Origin.LATEST)
    state = replace(STOPPED, start=start, checkpoint=claimed)
    (updated,) = decide(state, c.UpdatePipeline(ELSEWHERE), NOW)
    assert isinstance(updated, e.ConfigUpdated)
    assert updated.start is not None
    assert updated.start.origin is Origin.LATEST


def test_a_rollback_to_what_there_is_changes_nothing() -> None:
    """Its checkpoint is the present one; there is nothing to go back to."""
    back = c.RollbackPipeline(STOPPED.version, with_checkpoint=True, spec=SPEC, checkpoint=None)
    assert decide(STOPPED, back, NOW) == ()


def test_a_stop_within_no_time_has_a_deadline() -> None:
    """At once is the shortest time there is, not an endless one."""
    state = evolve(RUNNING, happened(e.StopRequested("now", timedelta())))
    assert state.deadline_at is not None


def test_pushed_records_are_audited_in_ranges() -> None:
    """One event a batch would be as many events as batches."""
    found = decide(RUNNING, c.RecordCheckpoint(Run(3), DECIDED, (100, 60)), NOW)
    assert found[:2] == (
        e.BatchIngested(first=0, last=100, records=100),
        e.BatchProcessed(first=0, last=60, records=60),
    )


def test_waits_double_up_to_their_limit() -> None:
    """Half of each wait is random, so the bounds are known."""
    waits = [backoff(DEFAULTS, attempt, 0.0).total_seconds() for attempt in (1, 2, 3, 60)]
    assert waits == [0.5, 1.0, 2.0, 30.0]
    assert backoff(DEFAULTS, 1, 0.999) < timedelta(seconds=1)


@pytest.mark.parametrize("text", ["", "A", "a_b", "-a", "a-", "a" * 64, "ä", "a b", "a/b"])
def test_an_id_is_a_dns_label(text: str) -> None:
    """It becomes a folder, a host name, a topic."""
    with pytest.raises(Rejected, match="pipelineId"):
        pipeline_id(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "a\nb"])
def test_a_command_id_is_short_and_printable(text: str) -> None:
    """Ten thousand of them are kept in memory, and each is logged."""
    with pytest.raises(Rejected, match="commandId"):
        command_id(text)


def test_ids_that_are_fine_pass() -> None:
    """The longest and the shortest."""
    assert pipeline_id("a") == "a"
    assert pipeline_id("a" * 63) == "a" * 63
    assert command_id("x" * 128)


def test_a_made_up_id_depends_on_caller_and_command_alone() -> None:
    """A retried create must find the pipeline that the first one made."""
    first = derived_pipeline_id("me", CommandId("c"))
    assert first == derived_pipeline_id("me", CommandId("c"))
    assert first != derived_pipeline_id("you", CommandId("c"))
    assert pipeline_id(first) == first


def test_a_shard_never_changes() -> None:
    """Every pipeline would be lost if another release computed another shard."""
    assert [shard_of(PipelineId(text)) for text in ("a", "late-flights", "p-1")] == [27, 53, 18]


def test_errors_carry_what_programs_need() -> None:
    """Messages are for people; code, field and problems for programs."""
    error = Rejected("no", field="source.path")
    assert (str(error), error.code, error.field) == ("source.path: no", "INVALID", "source.path")
    assert error.problems == (Problem("source.path", "no"),)
    both = Invalid([Problem("a", "x"), Problem("", "y")])
    assert str(both) == "a: x; y"
    assert len(both.problems) == 2
    assert Unavailable("later", retry_after=timedelta(seconds=1)).retry_after == timedelta(
        seconds=1
    )
