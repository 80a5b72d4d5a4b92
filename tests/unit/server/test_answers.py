"""How a pipeline is, in a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.core.events import PipelineError
from dataflow.core.ids import PipelineId
from dataflow.core.messages import Phase
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.core.state import State, Status
from dataflow.server.answers import details, health, settled
from dataflow.server.backend import Pipeline, Running, Verdict
from dataflow.v1.pipeline_pb2 import StopPipelineResponse

STATE = State(
    pipeline_id=PipelineId("p"),
    status=Status.RUNNING,
    spec=canonical(PipelineSpec(source=Source("file"), sink=Sink("console"))),
)


@pytest.mark.parametrize(
    ("state", "running", "word", "said"),
    [
        (STATE, Running(Phase.PROCESSING), "healthy", "processing"),
        (STATE, Running(Phase.WAITING, "no such file"), "degraded", "waiting: no such file"),
        (STATE, Running(Phase.BACKING_OFF), "degraded", Phase.BACKING_OFF),
        (replace(STATE, attempt=2), Running(Phase.PROCESSING), "degraded", "failed 2 times"),
        (replace(STATE, status=Status.STOPPED), Running(), "healthy", "stopped"),
        (
            replace(STATE, status=Status.STOPPED, error=PipelineError(message="disk")),
            Running(),
            "degraded",
            "stopped, its last checkpoint given up: disk",
        ),
        (
            replace(STATE, status=Status.FAILED, error=PipelineError(message="disk")),
            Running(),
            "unhealthy",
            "failed: disk",
        ),
    ],
)
def test_health_says_whether_somebody_must_look(
    state: State, running: Running, word: str, said: str
) -> None:
    """Unhealthy: now. Degraded: it may mend itself. A stopped one is as its owner wants it."""
    answer = health(Pipeline(state, None, running, ""))
    assert answer.health == word
    assert answer.message.startswith(said)


def test_the_answer_to_a_stop_names_what_kept_the_last_checkpoint_from_being_seen() -> None:
    """Stopped without a word would be taken for finished."""
    state = replace(STATE, status=Status.STOPPED, reason="enough")
    assert settled(StopPipelineResponse(), state).message == "stopped: enough"
    given_up = replace(state, error=PipelineError(message="disk full"))
    assert settled(StopPipelineResponse(), given_up).message.endswith("given up: disk full")


def test_what_never_ran_shows_zeros() -> None:
    """Without a decision there is no checkpoint to show, and nothing to divide by."""
    answer = details(Pipeline(STATE, None, Running(), ""), Verdict(()))
    assert not answer.HasField("checkpoint")
    assert answer.metrics.average_processing_time_ms == 0
    assert answer.metrics.lag_records == -1
    assert not answer.metrics.HasField("last_processed_at")
