"""From what the platform knows of a pipeline to the messages that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from dataflow.core.checkpoint import Checkpoint
from dataflow.core.messages import Phase
from dataflow.core.spec import shown
from dataflow.core.state import State, Status
from dataflow.server import backend as b
from dataflow.server.commands import STATUS
from dataflow.v1 import event_pb2, pipeline_pb2
from dataflow.wire.core import to_message

S = TypeVar("S", pipeline_pb2.StopPipelineResponse, pipeline_pb2.PausePipelineResponse)

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"


def details(pipeline: b.Pipeline, verdict: b.Verdict) -> pipeline_pb2.GetPipelineResponse:
    """Return everything about a pipeline; its spec in the form that people write."""
    state = pipeline.state
    response = to_message(shown(state.spec), pipeline_pb2.GetPipelineResponse)
    response.pipeline_id = state.pipeline_id
    response.status = STATUS[state.status]  # type: ignore[assignment]  # a number of the enum
    response.version = state.version
    response.sequence = state.sequence
    response.reason = state.reason
    response.owner = pipeline.owner
    response.phase = pipeline.running.phase
    response.phase_detail = pipeline.running.detail
    response.guarantee = verdict.guarantee
    response.outputs.extend(_outputs(verdict))
    _set_time(response.created_at, state.created_at)
    _set_time(response.updated_at, state.updated_at)
    response.metrics.CopyFrom(metrics(pipeline))
    decided = decision(pipeline)
    if decided is not None:
        response.checkpoint.CopyFrom(to_message(decided, event_pb2.Checkpoint))
    if state.error is not None:
        response.error.CopyFrom(to_message(state.error, event_pb2.PipelineError))
    return response


def then(state: State) -> b.Pipeline:
    """Return a pipeline as it was: with what its events say, and nothing going on."""
    return b.Pipeline(state=state, decision=None, running=b.Running(), owner="")


def decision(pipeline: b.Pipeline) -> Checkpoint | None:
    """Return the latest decision that is known, from the register or from the audit."""
    return pipeline.decision or pipeline.state.checkpoint


def metrics(pipeline: b.Pipeline) -> pipeline_pb2.Metrics:
    """Return what a pipeline has done, as decided, and how fast it goes."""
    return pipeline_pb2.Metrics(**_numbers(pipeline))


def full_metrics(pipeline: b.Pipeline) -> pipeline_pb2.GetMetricsResponse:
    """Return the metrics with a ledger for each sink."""
    response = pipeline_pb2.GetMetricsResponse(
        pipeline_id=pipeline.state.pipeline_id, **_numbers(pipeline)
    )
    decided = decision(pipeline)
    ledgers = {} if decided is None else decided.ledgers
    for sink, ledger in ledgers.items():
        response.sinks[sink].ledger.CopyFrom(to_message(ledger, event_pb2.Ledger))
    if len(ledgers) == 1:
        [ledger] = ledgers.values()
        response.ledger.CopyFrom(to_message(ledger, event_pb2.Ledger))
    return response


def _numbers(pipeline: b.Pipeline) -> Mapping[str, Any]:
    decided = decision(pipeline) or Checkpoint()
    totals, running = decided.totals, pipeline.running
    numbers: dict[str, Any] = {
        "total_records_processed": totals.records,
        "total_records_failed": totals.failed,
        "total_batches_processed": totals.batches,
        "average_processing_time_ms": totals.processing_us / 1000 / max(totals.batches, 1),
        "throughput_per_second": running.records_per_second,
        "lag_records": running.lag_records,
        "lag_bytes": running.lag_bytes,
        "bytes_read": totals.bytes_read,
        "bytes_written": totals.bytes_written,
        "dead_letters": sum(ledger.records_dead_lettered for ledger in decided.ledgers.values()),
    }
    if totals.last_processed_at is not None:
        numbers["last_processed_at"] = totals.last_processed_at
    return numbers


def health(pipeline: b.Pipeline) -> pipeline_pb2.GetHealthResponse:
    """Return how a pipeline is, in a word and a sentence."""
    state, running = pipeline.state, pipeline.running
    word, message = _health(state, running)
    response = pipeline_pb2.GetHealthResponse(
        pipeline_id=state.pipeline_id,
        health=word,
        status=STATUS[state.status],  # type: ignore[arg-type]  # a number of the enum
        phase=running.phase,
        message=message,
    )
    if state.error is not None:
        response.error.CopyFrom(to_message(state.error, event_pb2.PipelineError))
    return response


def _health(state: State, running: b.Running) -> tuple[str, str]:
    detail = f": {running.detail}" if running.detail else ""
    if state.status is Status.FAILED:
        said = f": {state.error.message}" if state.error else ""
        return UNHEALTHY, f"failed{said}"
    if state.status is Status.STOPPED and state.error is not None:
        return DEGRADED, f"stopped, its last checkpoint given up: {state.error.message}"
    if state.status is not Status.RUNNING:
        return HEALTHY, f"{state.status}; nothing is going on"
    if running.phase in {Phase.WAITING, Phase.BACKING_OFF}:
        return DEGRADED, f"{running.phase}{detail}"
    if state.attempt:
        return DEGRADED, f"failed {state.attempt} times in a row; running again"
    return HEALTHY, f"{running.phase}{detail}"


def summary(line: b.Summary) -> pipeline_pb2.PipelineSummary:
    """Return a line of the list."""
    return to_message(line, pipeline_pb2.PipelineSummary)


def version(old: b.SpecVersion) -> pipeline_pb2.PipelineVersion:
    """Return one version of a spec, in the form that people write."""
    return to_message(replace(old, spec=shown(old.spec)), pipeline_pb2.PipelineVersion)


def found(verdict: b.Verdict) -> pipeline_pb2.ValidatePipelineResponse:
    """Return what is wrong with a spec, or what it will do."""
    problems = verdict.problems
    return pipeline_pb2.ValidatePipelineResponse(
        valid=not problems,
        problems=[pipeline_pb2.FieldProblem(field=p.field, message=p.message) for p in problems],
        guarantee=verdict.guarantee,
        outputs=_outputs(verdict),
    )


def _outputs(verdict: b.Verdict) -> Sequence[pipeline_pb2.StepOutput]:
    return [
        pipeline_pb2.StepOutput(
            step=step,
            columns=[pipeline_pb2.PreviewColumn(name=n, type=of) for n, of in columns.items()],
        )
        for step, columns in verdict.columns.items()
    ]


def settled(answered: S, state: State) -> S:
    """Return the answer to a stop or pause with what has come of it."""
    answered.status = STATUS[state.status]  # type: ignore[assignment]  # a number of the enum
    reason = f": {state.reason}" if state.reason else ""
    given_up = state.error if state.status is Status.STOPPED else None
    error = f"; its last checkpoint was given up: {given_up.message}" if given_up else ""
    answered.message = f"{state.status}{reason}{error}"
    _set_time(answered.timestamp, state.updated_at)
    return answered


def preview_step(step: b.PreviewStep) -> pipeline_pb2.PreviewStep:
    """Return what came out of one step of a preview."""
    return pipeline_pb2.PreviewStep(
        step=step.step,
        columns=[pipeline_pb2.PreviewColumn(name=name, type=kind) for name, kind in step.columns],
        records=step.records,
        filtered=step.filtered,
        records_in=step.records_in,
        records_out=step.records_out,
        records_produced=step.records_produced,
        records_absorbed=step.records_absorbed,
        rejected=[to_message(letter, pipeline_pb2.DeadLetter) for letter in step.rejected],
    )


def change(happened: b.Change) -> pipeline_pb2.WatchPipelinesResponse:
    """Return what a watcher is told: an event, or else how the pipeline goes."""
    pipeline = happened.pipeline
    response = pipeline_pb2.WatchPipelinesResponse(
        pipeline_id=pipeline.state.pipeline_id,
        status=STATUS[pipeline.state.status],  # type: ignore[arg-type]  # a number of the enum
        phase=pipeline.running.phase,
        phase_detail=pipeline.running.detail,
    )
    _set_time(response.timestamp, happened.time)
    if happened.event is None:
        response.metrics.CopyFrom(metrics(pipeline))
    else:
        response.event.CopyFrom(to_message(happened.event, event_pb2.Event))
    return response


def _set_time(target: Any, value: datetime | None) -> None:  # noqa: ANN401 - a Timestamp's stub
    if value is not None:
        target.FromDatetime(value)
