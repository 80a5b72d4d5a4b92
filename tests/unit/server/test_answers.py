"""How a pipeline is, in a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.core.events import PipelineError
from dataflow.core.ids import PipelineId
from dataflow.core.messages import Phase
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.core.state import State, Status
from dataflow.server.answers import details, health
from dataflow.server.backend import Pipeline, Running

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


def test_what_never_ran_shows_zeros() -> None:
    """Without a decision there is no checkpoint to show, and nothing to divide by."""
    answer = details(Pipeline(STATE, None, Running(), ""), "")
    assert not answer.HasField("checkpoint")
    assert answer.metrics.average_processing_time_ms == 0
    assert answer.metrics.lag_records == -1
    assert not answer.metrics.HasField("last_processed_at")
