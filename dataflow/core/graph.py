"""The shape of a pipeline: what feeds what, and what is wrong with it, by path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dataflow.core.errors import Problem
from dataflow.core.spec import PipelineSpec, Sink, Source, Transform

End = TypeVar("End", Source, Sink)

STEPS_MAX = 100
"""A limit on the transforms of one pipeline; far above any that a person can read."""

TOO_MANY = Problem("transforms", f"use at most {STEPS_MAX}")


@dataclass(frozen=True, slots=True)
class Line:
    """A graph without branches: one source, steps in order, one sink."""

    source_name: str
    source: Source
    transforms: tuple[Transform, ...]
    sink_name: str
    sink: Sink


def line(spec: PipelineSpec) -> Line:
    """Return a canonical spec that ``problems`` finds nothing wrong with as a line."""
    (source_name, source), (sink_name, sink) = _only(spec.sources), _only(spec.sinks)
    return Line(source_name, source, spec.transforms, sink_name, sink)


def problems(spec: PipelineSpec) -> Sequence[Problem]:
    """Return what is wrong with the edges of a canonical spec.

    Only a line runs today; what makes it more than one is named by its path.
    """
    if len(spec.transforms) > STEPS_MAX:
        return [TOO_MANY]  # alone: naming what could be read takes the square of the steps
    found = [*_name_problems(spec), *_input_problems(spec)]
    return found or _branch_problems(spec)


def _only(things: Mapping[str, End]) -> tuple[str, End]:
    ((name, thing),) = things.items()
    return name, thing


def _name_problems(spec: PipelineSpec) -> list[Problem]:
    found = []
    taken = set(spec.sources)
    for index, transform in enumerate(spec.transforms):
        if transform.id in taken:
            found.append(Problem(f"transforms[{index}].id", f"{transform.id!r} is used twice"))
        taken.add(transform.id)
    return found


def _input_problems(spec: PipelineSpec) -> list[Problem]:
    found = []
    known = set(spec.sources)
    names = known | {transform.id for transform in spec.transforms}
    for index, transform in enumerate(spec.transforms):
        path = f"transforms[{index}].inputs"
        if not transform.inputs:
            found.append(Problem(path, f"missing; one of {_list(known)}"))
        for name in transform.inputs:
            if name not in names:
                found.append(Problem(path, f"unknown {name!r}, one of {_list(known)}"))
            elif name not in known:
                found.append(Problem(path, f"{name!r} comes later; a cycle cannot run"))
        known.add(transform.id)
    for sink_name, sink in spec.sinks.items():
        if sink.input not in names:
            path = f"sinks.{sink_name}.input"
            found.append(Problem(path, f"unknown {sink.input!r}, one of {_list(known)}"))
    return found


def _branch_problems(spec: PipelineSpec) -> list[Problem]:
    found = []
    if len(spec.sources) > 1:
        found.append(Problem("sources", "more than one source cannot run yet"))
    if len(spec.sinks) > 1:
        found.append(Problem("sinks", "more than one sink cannot run yet"))
    before = next(iter(spec.sources))
    for index, transform in enumerate(spec.transforms):
        if transform.inputs != (before,):
            path = f"transforms[{index}].inputs"
            found.append(Problem(path, f"branches cannot run yet; it must read {before!r}"))
        before = transform.id
    for sink_name, sink in spec.sinks.items():
        if sink.input != before and len(spec.sinks) == 1:
            path = f"sinks.{sink_name}.input"
            found.append(Problem(path, f"branches cannot run yet; it must read {before!r}"))
    return found


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
