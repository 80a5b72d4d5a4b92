"""What a program refuses that another one runs."""

from __future__ import annotations

from dataflow.app.builtin import registry
from dataflow.app.checking import checked
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical

PUSHED = canonical(PipelineSpec(name="a", source=Source("push"), sink=Sink("console")))


def test_a_cluster_without_kafka_refuses_push_and_says_what_to_set() -> None:
    """Acknowledged records in one node's folder would be gone with the node."""
    (problem,) = checked(registry(), PUSHED, takes_push=False).problems
    assert problem.field == "source.sourceType"
    assert "set kafka_brokers (DATAFLOW_KAFKA_BROKERS)" in problem.message
    assert checked(registry(), PUSHED, takes_push=True).problems == ()
