r"""The life of a pipeline: what may be asked of it when, and what then has happened.

            create            start               pause, then its last checkpoint
    empty ---------> configured ------> running <---------------------------------> paused
                       ^   ^              |  ^  \             resume                  |
                 reset |   | reset        |  |   \ stop or completed                 | stop
                       |   |      failure |  |    +-----------> stopped <------------+
                     failed <-------------+  +------- start -------+
    any but running and deleted --delete--> deleted

Status is what was decided. Stop and pause are requests first (``State.draining``): the status
changes when the run has finished, or the deadline has passed. ``TABLE`` below holds every row;
``decide`` is the only way to an event and ``evolve`` the only way to a state. One module on
purpose, past 300 lines, because a reader of one row needs the others beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from dataflow.core import commands as c
from dataflow.core import events as e
from dataflow.core.changes import lanes_changed, sink_changed, source_changed
from dataflow.core.checkpoint import Checkpoint, LineageStart, Origin
from dataflow.core.errors import Code, Rejected
from dataflow.core.ids import Lineage, Offset, Run, Version
from dataflow.core.light import replace
from dataflow.core.retry import backoff
from dataflow.core.spec import (
    PipelineSpec,
    Position,
    with_defaults,
)
from dataflow.core.state import Drain, State, Status

COMPLETED = "completed"
"""The stop reason of a bounded source that was exhausted."""


Bodies: TypeAlias = Sequence[e.Body]
Rule: TypeAlias = Callable[[State, Any, datetime], Bodies]


@dataclass(frozen=True, slots=True)
class Row:
    """One command: where it is allowed, where its wish already holds, and what it leads to."""

    allowed: frozenset[Status]
    rule: Rule
    holds: frozenset[Status] = frozenset()
    remedies: Mapping[Status, str] = field(default_factory=dict)


def decide(state: State, body: c.UserCommand | c.EngineCommand, now: datetime) -> Bodies:
    """Return what happens when ``body`` is asked of a pipeline in ``state``.

    Nothing happens (an empty sequence) to a wish that already holds and to an engine's report of
    an older run.

    Raises:
        Rejected: with code ``FORBIDDEN_TRANSITION``, ``PIPELINE_EXISTS``, ``UNKNOWN_PIPELINE``,
            ``UNKNOWN_VERSION`` or ``POSITION_REQUIRED``, and what to do instead.
    """
    if (report := ENGINE.get(type(body))) is not None:
        return report(state, body, now)
    row = TABLE[type(body)]
    if state.status in row.holds and state.draining is Drain.NOTHING:
        return ()
    if state.status not in row.allowed:
        raise _refusal(state, type(body).__name__, row)
    return row.rule(state, body, now)


def _refusal(state: State, command: str, row: Row) -> Rejected:
    if state.status is Status.EMPTY:
        return Rejected(
            f"there is no pipeline {state.pipeline_id!r}",
            code=Code.UNKNOWN_PIPELINE,
            field="pipelineId",
        )
    if command == c.CreatePipeline.__name__:
        return Rejected(
            f"{state.pipeline_id!r} is taken; choose another id, or update the one there is"
            if state.status is not Status.DELETED
            else f"{state.pipeline_id!r} was deleted and its id is never used again",
            code=Code.PIPELINE_EXISTS,
        )
    allowed = ", ".join(status for status in Status if status in row.allowed)
    remedy = row.remedies.get(state.status) or REMEDIES.get(state.status, "")
    return Rejected(
        f"{command} is allowed in {allowed}; the pipeline is {state.status}{remedy}",
        code=Code.FORBIDDEN_TRANSITION,
    )


def _forbidden(message: str) -> Rejected:
    return Rejected(message, code=Code.FORBIDDEN_TRANSITION)


# --- what users ask ------------------------------------------------------------------------------


def _create(_: State, body: c.CreatePipeline, __: datetime) -> Bodies:
    return (e.PipelineCreated(spec=body.spec),)


def _start(state: State, _: c.StartPipeline, __: datetime) -> Bodies:
    _must_not_drain(state)
    return (e.PipelineStarted(),)


def _stop(state: State, body: c.StopPipeline, _: datetime) -> Bodies:
    if state.draining is Drain.STOP:
        return ()
    requested = e.StopRequested(reason=body.reason, deadline=body.deadline)
    if state.active:
        return (requested,)
    return (requested, e.PipelineStopped(body.reason, state.checkpoint, state.error))


def _pause(state: State, body: c.PausePipeline, _: datetime) -> Bodies:
    if state.draining is Drain.STOP:
        raise _forbidden("the pipeline is stopping; wait until it has stopped")
    if state.draining is Drain.PAUSE:
        return ()
    requested = e.PauseRequested(reason=body.reason)
    if state.active:
        return (requested,)
    return (requested, e.PipelinePaused(reason=body.reason, checkpoint=state.checkpoint))


def _resume(state: State, _: c.ResumePipeline, __: datetime) -> Bodies:
    _must_not_drain(state)
    return (e.PipelineResumed(),)


def _must_not_drain(state: State) -> None:
    if state.draining is not Drain.NOTHING:
        until = "stopped" if state.draining is Drain.STOP else "paused"
        raise _forbidden(f"the pipeline is draining; wait until it has {until}")


def _update(state: State, body: c.UpdatePipeline, _: datetime) -> Bodies:
    if body.spec == state.spec:
        return ()
    moved = source_changed(state.spec, body.spec)
    if moved and body.position is Position.UNSPECIFIED:
        raise Rejected(
            "the source became another one; say where to read it: keep, beginning or latest",
            code=Code.POSITION_REQUIRED,
            field="position",
        )
    if body.position is not Position.BEGINNING:
        _require_seen(state, body.spec)
        _require_settled(state, body.spec)
    return (_config(state, body.spec, body.position, None),)


def _require_seen(state: State, spec: PipelineSpec) -> None:
    """Refuse another sink while decided rows wait in the one there is: nobody reads them again."""
    if state.checkpoint and state.checkpoint.is_unseen and sink_changed(state.spec, spec):
        raise Rejected(
            "the sink there is holds rows that cannot be seen yet, and another would not get them;"
            " start and stop the pipeline to finish them, or say position: beginning",
            code=Code.POSITION_REQUIRED,
            field="position",
        )


def _require_settled(state: State, spec: PipelineSpec) -> None:
    """Refuse another number of tasks while one of those there were may have decided unheard."""
    last = state.checkpoint
    is_settled = last is None or (last.final and not last.is_unseen and last.stamp.run == state.run)
    if not is_settled and lanes_changed(state.spec, spec):
        raise Rejected(
            "the last run did not end with a checkpoint, so its tasks may have written more than"
            " is known here; start and stop the pipeline first, or say position: beginning",
            code=Code.POSITION_REQUIRED,
            field="options.parallelism",
        )


def _rollback(state: State, body: c.RollbackPipeline, _: datetime) -> Bodies:
    if not 1 <= body.version <= state.version or body.spec is None:
        raise Rejected(
            f"there is no version {body.version}; the latest is {state.version}",
            code=Code.UNKNOWN_VERSION,
            field="version",
        )
    moved = source_changed(state.spec, body.spec)
    if moved and not body.with_checkpoint:
        raise Rejected(
            f"version {body.version} reads another source; roll back with its checkpoint,"
            " or update with a position",
            code=Code.POSITION_REQUIRED,
            field="withCheckpoint",
        )
    if body.version == state.version or (body.spec == state.spec and not body.with_checkpoint):
        return ()
    if not body.with_checkpoint:
        _require_seen(state, body.spec)
        _require_settled(state, body.spec)
    config = _config(state, body.spec, Position.KEEP, body.checkpoint)
    if body.with_checkpoint and body.checkpoint is None:
        # That version was replaced before it had decided anything: it began at the beginning.
        beginning = _lineage_start(state, body.spec, Origin.BEGINNING, None)
        config = replace(config, lineage=Lineage(state.lineage + 1), start=beginning)
    return (replace(config, rollback_to=body.version),)


ORIGINS: Mapping[Position, Origin] = {
    Position.BEGINNING: Origin.BEGINNING,
    Position.LATEST: Origin.LATEST,
}
"""Where the caller says so; the positions there are, otherwise."""


def _config(
    state: State, spec: PipelineSpec, position: Position, checkpoint: Checkpoint | None
) -> e.ConfigUpdated:
    """Return the update; its lineage is new where old positions, types or stages do not fit."""
    config = e.ConfigUpdated(
        version=Version(state.version + 1),
        spec=spec,
        lineage=state.lineage,
        replaced=state.checkpoint,
    )
    origin = ORIGINS.get(position, Origin.POSITIONS)
    same = state.spec.sources == spec.sources and not sink_changed(state.spec, spec)
    same = same and not lanes_changed(state.spec, spec)
    if same and origin is Origin.POSITIONS and checkpoint is None:
        return config
    start = _lineage_start(state, spec, origin, checkpoint)
    return replace(config, lineage=Lineage(state.lineage + 1), start=start)


def _lineage_start(
    state: State, spec: PipelineSpec, origin: Origin, checkpoint: Checkpoint | None
) -> LineageStart:
    """Return how the next lineage begins; one that never began hands on how it would have."""
    known = state.checkpoint
    begun = known is not None and known.seeded and known.lineage == state.lineage
    keeps_sink = not sink_changed(state.spec, spec) and (begun or state.start.keeps_sink)
    goes_on = origin is Origin.POSITIONS and checkpoint is None
    keeps_pins = goes_on and state.spec.sources == spec.sources
    if goes_on and not begun:
        kept = keeps_pins and state.start.keeps_pins
        return replace(state.start, keeps_sink=keeps_sink, keeps_pins=kept)
    return LineageStart(origin, checkpoint, keeps_sink=keeps_sink, keeps_pins=keeps_pins)


def _reset(_: State, __: c.ResetPipeline, ___: datetime) -> Bodies:
    return (e.PipelineReset(),)


def _replay(state: State, body: c.ReplayPipeline, _: datetime) -> Bodies:
    if not body.from_beginning and body.checkpoint is None:
        raise Rejected(
            "no checkpoint was audited by then; list the events to see those there are",
            field="from",
        )
    origin = Origin.BEGINNING if body.from_beginning else Origin.POSITIONS
    start = _lineage_start(state, state.spec, origin, body.checkpoint)
    return (e.PositionReset(lineage=Lineage(state.lineage + 1), start=start),)


def _delete(_: State, __: c.DeletePipeline, ___: datetime) -> Bodies:
    return (e.PipelineDeleted(),)


# --- what the engine reports ---------------------------------------------------------------------


def _begin_run(state: State, body: c.BeginRun, _: datetime) -> Bodies:
    if state.status is not Status.RUNNING:
        return ()
    run = e.RunStarted(
        lineage=state.lineage, cause=body.cause, attempt=state.attempt, node=body.node
    )
    return (run,)


def _is_current(state: State, run: Run) -> bool:
    return state.status is Status.RUNNING and state.active and state.run == run


def _record_checkpoint(state: State, body: c.RecordCheckpoint, _: datetime) -> Bodies:
    if not _is_current(state, body.run):
        return ()
    return (*_ingest_audit(state, body.ingested), e.CheckpointUpdated(checkpoint=body.checkpoint))


def _ingest_audit(state: State, marks: tuple[int, int]) -> Bodies:
    ingested, processed = marks
    found: list[e.Body] = []
    if ingested > state.ingested:
        first, count = state.ingested, ingested - state.ingested
        found.append(e.BatchIngested(first=first, last=ingested, records=count))
    if processed > state.processed:
        first, count = state.processed, processed - state.processed
        found.append(e.BatchProcessed(first=first, last=processed, records=count))
    return tuple(found)


def _finish_run(state: State, body: c.FinishRun, _: datetime) -> Bodies:
    if not _is_current(state, body.run):
        return ()
    checkpoint = body.checkpoint or state.checkpoint
    if body.completed:
        return (e.PipelineStopped(reason=COMPLETED, checkpoint=checkpoint),)
    if state.draining is Drain.PAUSE:
        return (e.PipelinePaused(reason=state.reason, checkpoint=checkpoint),)
    if state.draining is Drain.STOP:
        return (e.PipelineStopped(state.reason, checkpoint, body.error),)
    return ()


def _report_failure(state: State, body: c.ReportFailure, now: datetime) -> Bodies:
    if not _is_current(state, body.run):
        return ()
    options = with_defaults(state.spec.options)
    attempt = 1 if body.progressed else state.attempt + 1
    first: Bodies = ()
    if body.error.code == Code.BATCH_TIMED_OUT:
        first = (e.BatchTimedOut(step=body.error.step, limit=options.batch_timeout),)
    if not body.error.retryable or attempt >= options.max_attempts:
        return (*first, e.PipelineFailed(error=body.error, checkpoint=body.checkpoint))
    retry_at = now + backoff(options, attempt, body.jitter)
    if state.draining is not Drain.NOTHING and not _is_worth_a_retry(state, body, retry_at):
        finished = c.FinishRun(run=body.run, checkpoint=body.checkpoint, error=body.error)
        return (*first, *_finish_run(state, finished, now))
    if body.checkpoint is not None and _is_news(state.checkpoint, body.checkpoint):
        first = (*first, e.CheckpointUpdated(checkpoint=body.checkpoint))
    return (*first, e.RetryScheduled(attempt=attempt, retry_at=retry_at, error=body.error))


def _is_worth_a_retry(state: State, body: c.ReportFailure, retry_at: datetime) -> bool:
    """Tell whether a last checkpoint that was decided may still become visible in time."""
    pending = body.checkpoint is not None and body.checkpoint.pending
    return pending and (state.deadline_at is None or retry_at < state.deadline_at)


def _is_news(known: Checkpoint | None, told: Checkpoint) -> bool:
    """Tell whether more was decided than the journal has; another run's claim decides nothing."""
    if known and known.lineage == told.lineage:
        return (known.stamp.number, known.pending) != (told.stamp.number, told.pending)
    return told.seeded


S = Status
LIVE = frozenset({S.CONFIGURED, S.RUNNING, S.PAUSED, S.STOPPED, S.FAILED})
RESTING = frozenset({S.CONFIGURED, S.STOPPED, S.FAILED})
REMEDIES: Mapping[Status, str] = {
    S.CONFIGURED: "; start it first",
    S.RUNNING: "; stop it first",
    S.PAUSED: "; resume it, or stop it, first",
    S.STOPPED: "; start it first",
    S.FAILED: "; reset it first",
    S.DELETED: " for good; create another one",
}

TABLE: Mapping[type, Row] = {
    c.CreatePipeline: Row(frozenset({S.EMPTY}), _create),
    c.StartPipeline: Row(
        frozenset({S.CONFIGURED, S.STOPPED, S.RUNNING}), _start, holds=frozenset({S.RUNNING})
    ),
    c.StopPipeline: Row(
        frozenset({S.RUNNING, S.PAUSED}),
        _stop,
        holds=frozenset({S.STOPPED}),
        remedies={S.CONFIGURED: " and does not run", S.FAILED: " and does not run"},
    ),
    c.PausePipeline: Row(frozenset({S.RUNNING}), _pause, holds=frozenset({S.PAUSED})),
    c.ResumePipeline: Row(frozenset({S.PAUSED, S.RUNNING}), _resume, holds=frozenset({S.RUNNING})),
    c.UpdatePipeline: Row(RESTING | {S.PAUSED}, _update),
    c.RollbackPipeline: Row(RESTING | {S.PAUSED}, _rollback),
    c.ResetPipeline: Row(
        frozenset({S.FAILED}),
        _reset,
        holds=frozenset({S.CONFIGURED}),
        remedies=dict.fromkeys((S.RUNNING, S.PAUSED, S.STOPPED), "; nothing has to be reset"),
    ),
    c.ReplayPipeline: Row(RESTING, _replay),
    c.DeletePipeline: Row(LIVE - {S.RUNNING}, _delete, holds=frozenset({S.DELETED})),
}
"""Every command of a user, by status; what is not allowed is refused with a remedy."""

ENGINE: Mapping[type, Rule] = {
    c.BeginRun: _begin_run,
    c.RecordCheckpoint: _record_checkpoint,
    c.FinishRun: _finish_run,
    c.ReportFailure: _report_failure,
}
"""Every report of the engine; one that comes too late changes nothing."""


# --- what has happened ---------------------------------------------------------------------------


def evolve(state: State, event: e.Event) -> State:
    """Return the state after ``event``. Never fails on what ``decide`` produced."""
    changed = replace(
        state,
        pipeline_id=event.pipeline_id,
        sequence=event.sequence,
        updated_at=event.time,
    )
    return _evolved(changed, event.body, event.offset, event.time)


def _evolved(  # noqa: C901 - one arm an event
    state: State, body: e.Body, offset: Offset, time: datetime
) -> State:
    match body:
        case e.PipelineCreated():
            return replace(
                state,
                status=Status.CONFIGURED,
                version=Version(1),
                spec=body.spec,
                created_at=time,
                lineage=Lineage(1),
            )
        case e.PipelineStarted() | e.PipelineResumed():
            return replace(state, status=Status.RUNNING, reason="", error=None, attempt=0)
        case e.StopRequested():
            deadline = time + body.deadline if body.deadline is not None else None
            return replace(state, draining=Drain.STOP, reason=body.reason, deadline_at=deadline)
        case e.PauseRequested():
            return replace(state, draining=Drain.PAUSE, reason=body.reason)
        case e.ConfigUpdated():
            start = body.start or state.start
            return replace(
                state, version=body.version, spec=body.spec, lineage=body.lineage, start=start
            )
        case e.PositionReset():
            return replace(state, lineage=body.lineage, start=body.start)
        case e.PipelineReset():
            return replace(state, status=Status.CONFIGURED, error=None, attempt=0)
        case e.PipelineDeleted():
            return replace(state, status=Status.DELETED)
        case _:
            return _reported(state, body, offset)


def _reported(state: State, body: e.Body, offset: Offset) -> State:  # noqa: C901 - one arm an event
    """Return the state after an event that the engine's reports lead to."""
    match body:
        case e.RunStarted(node=node):
            return replace(state, run=Run(offset), active=True, retry_at=None, node=node)
        case e.PipelineStopped():
            rested = _rested(state, Status.STOPPED, body.checkpoint, reason=body.reason)
            return replace(rested, error=body.error)
        case e.PipelinePaused():
            return _rested(state, Status.PAUSED, body.checkpoint, reason=body.reason)
        case e.PipelineFailed():
            failed = _rested(state, Status.FAILED, body.checkpoint, reason="")
            return replace(failed, error=body.error)
        case e.RetryScheduled(attempt, retry_at, error):
            return replace(state, active=False, attempt=attempt, retry_at=retry_at, error=error)
        case e.CheckpointUpdated():
            return replace(state, checkpoint=body.checkpoint, error=None)
        case e.BatchIngested():
            return replace(state, ingested=body.last)
        case e.BatchProcessed():
            return replace(state, processed=body.last)
        case _:
            return state


def _rested(state: State, status: Status, checkpoint: Checkpoint | None, reason: str) -> State:
    return replace(
        state,
        status=status,
        active=False,
        draining=Drain.NOTHING,
        reason=reason,
        deadline_at=None,
        attempt=0,
        retry_at=None,
        checkpoint=checkpoint or state.checkpoint,
    )
