"""Which sources are read before which: a table is there before the rows that ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from dataflow.connect import Operator, Rejected
from dataflow.core.events import ErrorType
from dataflow.core.graph import Graph, upstream
from dataflow.engine.failure import blaming
from dataflow.engine.steps import Step


def waits(graph: Graph, steps: Sequence[Step]) -> Mapping[str, AbstractSet[str]]:
    """Return, by source, those that are read to their ends before it.

    Raises:
        StepFailed: because of ``Rejected``, where they would wait for each other.
    """
    found: dict[str, set[str]] = {name: set() for name in graph.sources}
    for step in steps:
        if not isinstance(step.transform, Operator) or not step.transform.first:
            continue
        with blaming(ErrorType.TRANSFORM, step.name):
            tables = [feed for feed in step.feeds if str(feed) in step.transform.first]
            others = [feed for feed in step.feeds if feed not in tables]
            before = upstream(graph, tables) & graph.sources.keys()
            behind = upstream(graph, others) & graph.sources.keys()
            if both := sorted(before & behind):
                raise Rejected(
                    f"{both[0]!r} brings both its table and the rows that ask for it; read it by"
                    " two sources"
                )
            for source in behind:
                found[source] |= before
                if source in _reached(source, found):
                    raise Rejected(
                        f"{source!r} would have to be read before itself; join in another order"
                    )
    return {source: _reached(source, found) for source in found}


def _reached(source: str, found: Mapping[str, AbstractSet[str]]) -> AbstractSet[str]:
    """Return all that a source waits for, and what those wait for."""
    reached: set[str] = set()
    waiting = list(found[source])
    while waiting:
        if (name := waiting.pop()) not in reached:
            reached.add(name)
            waiting += found[name]
    return reached
