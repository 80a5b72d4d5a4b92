"""What is wrong with a spec, as this program would run it."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.connect import Registry
from dataflow.core.errors import Problem
from dataflow.core.spec import PipelineSpec
from dataflow.engine.plan import validate

PUSH = "push"
"""The source type whose pipelines take pushed batches."""


def checked(
    registry: Registry, spec: PipelineSpec, *, in_cluster: bool
) -> tuple[Sequence[Problem], str]:
    """Return everything wrong with a canonical spec, and what its ends guarantee if nothing is.

    What was pushed has to be where its pipeline goes: a log in one node's folder is not, when that
    node is gone.
    """
    problems, guarantee = validate(registry, spec)
    if in_cluster and any(source.source_type == PUSH for source in spec.sources.values()):
        where = "source.sourceType"
        why = "push keeps records in a folder of one node, which a cluster cannot; use dataflow"
        problems = (*problems, Problem(where, why))
    return problems, guarantee
