"""From a request's spec to the form that is stored, with everything wrong with it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from google.protobuf.message import Message

from dataflow.core import graph, ids
from dataflow.core.errors import Code, Invalid, Problem, Rejected
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine.records import Verdict
from dataflow.v1 import pipeline_pb2
from dataflow.wire.core import to_core
from dataflow.wire.json import joined

SPEC_BYTES_MAX = 1 << 20
"""A spec stands in events and snapshots for ever."""

CHOOSING = (pipeline_pb2.CreatePipelineRequest, pipeline_pb2.ValidatePipelineRequest)
"""Requests whose id is a choice; that of the others names a pipeline that there is."""

Validate: TypeAlias = Callable[[PipelineSpec], Verdict]


def spec_of(request: Any) -> PipelineSpec:  # noqa: ANN401 - any message with a spec's fields
    """Return the spec that the fields of a request hold, as it was written.

    Raises:
        Rejected: it is too large, or a number stands for no value that there is.
    """
    if request.ByteSize() > SPEC_BYTES_MAX:
        raise Rejected(f"a spec may have {SPEC_BYTES_MAX} bytes", code=Code.TOO_LARGE)
    if len(request.transforms) > graph.STEPS_MAX:
        raise Invalid([graph.TOO_MANY])  # BEFORE they are converted: 300,000 empty ones took 3 s
    try:
        return to_core(request, PipelineSpec)
    except (KeyError, OverflowError):
        raise Rejected(
            "holds a duration or the number of an enum beyond those there are", field="options"
        ) from None


def checked(spec: PipelineSpec, validate: Validate) -> PipelineSpec:
    """Return a spec in its stored form; raises ``Invalid`` with every problem."""
    stored, verdict = examined(spec, validate)
    if stored is None or verdict.problems:
        raise Invalid(verdict.problems)
    return stored


def examined(spec: PipelineSpec, validate: Validate) -> tuple[PipelineSpec | None, Verdict]:
    """Return the stored form if there is one, and all that is wrong or what the spec will do."""
    try:
        stored = canonical(spec)
    except Invalid as invalid:
        shape, salvaged = invalid.problems, _salvaged(spec)
        if salvaged is None:
            return None, Verdict(shape)
        return None, Verdict([*shape, *validate(salvaged).problems])
    return stored, validate(stored)


def wrong(request: Message, unread: Sequence[Problem], validate: Validate) -> Sequence[Problem]:
    """Return what could not be read of a request, with all that is wrong with the rest."""
    try:
        found = examined(spec_of(request), validate)[1].problems
    except Rejected as rejected:
        found = rejected.problems
    return joined(unread, [*id_problems(request), *found])


def id_problems(request: Message) -> Sequence[Problem]:
    """Return what is wrong with the id that was chosen for a pipeline, if one was."""
    if not isinstance(request, CHOOSING) or not request.pipeline_id:
        return ()
    try:
        ids.pipeline_id(request.pipeline_id)
    except Rejected as rejected:
        return rejected.problems
    return ()


def _salvaged(spec: PipelineSpec) -> PipelineSpec | None:
    """Return a stored form of the steps alone, so that they are checked in spite of the rest."""
    rest = replace(
        spec,
        name="",
        description="",
        labels={},
        options=None,
        source=_bare(spec.source) if spec.source else None,
        sink=_bare_sink(spec.sink) if spec.sink else None,
        sources={name: _bare(source) for name, source in spec.sources.items()},
        sinks={name: _bare_sink(sink) for name, sink in spec.sinks.items()},
    )
    try:
        return canonical(rest)
    except Invalid:
        return None


def _bare(source: Source) -> Source:
    return replace(source, batch_size=0, poll_interval_ms=0, schedule=None)


def _bare_sink(sink: Sink) -> Sink:
    return replace(sink, batch_size=0)
