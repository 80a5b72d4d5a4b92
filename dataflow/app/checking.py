"""What is wrong with a spec, as this program would run it."""

from __future__ import annotations

from dataclasses import replace

from dataflow.connect import Registry
from dataflow.core.errors import Problem
from dataflow.core.spec import PipelineSpec
from dataflow.engine.plan import validate
from dataflow.engine.records import Verdict

NO_PUSH = (
    "pushed records are kept in Kafka here, as in every cluster, and this program is told of none:"
    " set kafka_brokers (DATAFLOW_KAFKA_BROKERS) for every node and gateway, or use the program"
    " dataflow with its files"
)

PUSH = "push"
"""The source type whose pipelines take pushed batches."""


def checked(registry: Registry, spec: PipelineSpec, *, takes_push: bool) -> Verdict:
    """Return everything wrong with a canonical spec, or what it will do.

    What was pushed has to be where its pipeline goes: a log in one node's folder is not, when that
    node is gone.
    """
    verdict = validate(registry, spec)
    if not takes_push and any(source.source_type == PUSH for source in spec.sources.values()):
        where = "source.sourceType"
        return replace(verdict, problems=(*verdict.problems, Problem(where, NO_PUSH)))
    return verdict
