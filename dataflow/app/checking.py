"""What is wrong with a spec, as this program would run it."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.connect import Registry
from dataflow.core.errors import Problem
from dataflow.core.spec import PipelineSpec
from dataflow.engine.plan import validate

NO_PUSH = (
    "pushed records are kept in Kafka here, as in every cluster, and this program is told of none:"
    " set kafka_brokers (DATAFLOW_KAFKA_BROKERS) for every node and gateway, or use the program"
    " dataflow with its files"
)

PUSH = "push"
"""The source type whose pipelines take pushed batches."""


def checked(
    registry: Registry, spec: PipelineSpec, *, takes_push: bool
) -> tuple[Sequence[Problem], str]:
    """Return everything wrong with a canonical spec, and what its ends guarantee if nothing is.

    What was pushed has to be where its pipeline goes: a log in one node's folder is not, when that
    node is gone.
    """
    problems, guarantee = validate(registry, spec)
    if not takes_push and any(source.source_type == PUSH for source in spec.sources.values()):
        where = "source.sourceType"
        problems = (*problems, Problem(where, NO_PUSH))
    return problems, guarantee
