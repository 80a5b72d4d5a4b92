"""The shape of a pipeline: what feeds what, and what is wrong with it, by path.

A step is named by its key or id. Another step reads its main output by that name, and one of its
other outputs as ``<name>.<output>``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dataflow.core.checkpoint import DEAD_LETTERS
from dataflow.core.errors import Problem
from dataflow.core.spec import PipelineSpec, Sink, Source, Transform, shown

STEPS_MAX = 100
"""A limit on the transforms of one pipeline; far above any that a person can read."""

ENDS_MAX = 100
"""A limit on its sources, and on its sinks; each holds connections."""

TOO_MANY = Problem("transforms", f"use at most {STEPS_MAX}")

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", re.ASCII)
NAME_RULE = "use letters, digits, _ and -, at most 100 of them"
"""Of a step: it stands in references with a dot, in names of splits, of objects and of columns."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What a step reads: a step, and which of its outputs; the main one has no name."""

    step: str
    output: str = ""

    def __str__(self) -> str:
        return f"{self.step}.{self.output}" if self.output else self.step


@dataclass(frozen=True, slots=True)
class Graph:
    """Steps in an order in which each comes behind all that it reads.

    ``feeds`` has what each transform and each sink reads, in the order of its ``inputs``.
    """

    sources: Mapping[str, Source]
    transforms: tuple[Transform, ...]
    sinks: Mapping[str, Sink]
    feeds: Mapping[str, tuple[Feed, ...]]


def graph(spec: PipelineSpec) -> Graph:
    """Return the graph of a canonical spec that ``problems`` finds nothing wrong with."""
    feeds = _feeds(spec)
    steps = {transform.id: transform for transform in spec.transforms}
    ordered, _ = _ordered(steps, feeds)
    transforms = tuple(steps[name] for name in ordered)
    return Graph(spec.sources, transforms, spec.sinks, feeds)


def problems(spec: PipelineSpec) -> Sequence[Problem]:
    """Return what is wrong with the edges of a canonical spec."""
    if len(spec.transforms) > STEPS_MAX:
        return [TOO_MANY]  # alone: naming what could be read takes the square of the steps
    ends = [("sources", spec.sources), ("sinks", spec.sinks)]
    if many := [name for name, them in ends if len(them) > ENDS_MAX]:
        return [Problem(name, f"use at most {ENDS_MAX}") for name in many]
    found = [*_name_problems(spec), *_input_problems(spec)]
    return found or [*_cycle_problems(spec)] or [*_unread_problems(spec), *_apart_problems(spec)]


def upstream(graph: Graph, feeds: Iterable[Feed]) -> AbstractSet[str]:
    """Return every step that rows can have come through, or from, on their way to ``feeds``."""
    found: set[str] = set()
    waiting = [feed.step for feed in feeds]
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += [feed.step for feed in graph.feeds.get(step, ())]
    return found


def paths(spec: PipelineSpec) -> Mapping[str, str]:
    """Return where each step stands in the form in which people see a canonical spec."""
    short = shown(spec)
    found = {name: "source" if short.source else f"sources.{name}" for name in spec.sources}
    found |= {name: "sink" if short.sink else f"sinks.{name}" for name in spec.sinks}
    return found | {t.id: f"transforms[{index}]" for index, t in enumerate(spec.transforms)}


def _feeds(spec: PipelineSpec) -> Mapping[str, tuple[Feed, ...]]:
    names = {*spec.sources, *(transform.id for transform in spec.transforms)}
    feeds = {t.id: tuple(_feed(name, names) for name in t.inputs) for t in spec.transforms}
    return feeds | {name: (_feed(sink.input, names),) for name, sink in spec.sinks.items()}


def _feed(name: str, names: AbstractSet[str]) -> Feed:
    if name in names:
        return Feed(name)
    step, _, output = name.partition(".")
    return Feed(step, output)


def _ordered(
    steps: Mapping[str, Transform], feeds: Mapping[str, tuple[Feed, ...]]
) -> tuple[Sequence[str], AbstractSet[str]]:
    """Return transforms behind what they read, as listed where that is open; and those in knots."""
    waiting = {name: {f.step for f in feeds[name] if f.step in steps} for name in steps}
    ordered: list[str] = []
    while ready := next((name for name, before in waiting.items() if not before), None):
        ordered.append(ready)
        del waiting[ready]
        for before in waiting.values():
            before.discard(ready)
    return ordered, set(waiting)


def _name_problems(spec: PipelineSpec) -> Iterator[Problem]:
    places = [
        *((f"sources.{name}", name) for name in spec.sources),
        *((f"transforms[{index}].id", t.id) for index, t in enumerate(spec.transforms)),
        *((f"sinks.{name}", name) for name in spec.sinks),
    ]
    taken: set[str] = set()
    for path, name in places:
        if not NAME.fullmatch(name):
            yield Problem(path, f"{name!r:.120} is no name of a step; {NAME_RULE}")
        elif name == DEAD_LETTERS:
            yield Problem(path, f"{name!r} is the name of what no step could handle; use another")
        elif name in taken:
            yield Problem(path, f"{name!r} is used twice")
        taken.add(name)


def _input_problems(spec: PipelineSpec) -> Iterator[Problem]:
    names = {*spec.sources, *(transform.id for transform in spec.transforms)}
    for index, transform in enumerate(spec.transforms):
        path = f"transforms[{index}].inputs"
        yield from _reference_problems(path, transform.inputs, names, names - {transform.id})
    for name, sink in spec.sinks.items():
        given = (sink.input,) if sink.input else ()
        yield from _reference_problems(f"sinks.{name}.input", given, names, names)


def _reference_problems(
    path: str, given: Sequence[str], names: AbstractSet[str], others: AbstractSet[str]
) -> Iterator[Problem]:
    if not given:
        yield Problem(path, f"missing; one of {_list(others)}")
    for name, times in Counter(given).items():
        if times > 1:
            yield Problem(path, f"{name!r} is read twice; put a map between for a second way")
        elif _feed(name, names).step not in names:
            yield Problem(path, f"unknown {name!r}, one of {_list(others)}")


def _cycle_problems(spec: PipelineSpec) -> Iterator[Problem]:
    feeds = _feeds(spec)
    steps = {transform.id: transform for transform in spec.transforms}
    _, knotted = _ordered(steps, feeds)
    if not knotted:
        return
    way = [next(name for name in steps if name in knotted)]
    while (before := next(f.step for f in feeds[way[-1]] if f.step in knotted)) not in way:
        way.append(before)
    way = [*way[way.index(before) :], before][::-1]
    index = list(steps).index(way[0])
    yield Problem(f"transforms[{index}].inputs", f"is a cycle: {' -> '.join(way)}")


def _unread_problems(spec: PipelineSpec) -> Iterator[Problem]:
    read = {feed.step for feeds in _feeds(spec).values() for feed in feeds}
    unread = [n for n in (*spec.sources, *(t.id for t in spec.transforms)) if n not in read]
    where = paths(spec) if unread else {}
    for name in unread:
        yield Problem(where[name], f"nothing reads {name!r}; let a step or sink read it")


def _apart_problems(spec: PipelineSpec) -> Iterator[Problem]:
    """Name what has nothing to do with the rest: it would wait for a slow sink that is not its."""
    near: dict[str, set[str]] = {name: set() for name in spec.sources}
    for name, feeds in _feeds(spec).items():
        for feed in feeds:
            near.setdefault(name, set()).add(feed.step)
            near.setdefault(feed.step, set()).add(name)
    first = next(iter(spec.sources))
    found, waiting = {first}, [first]
    while waiting:
        new = near[waiting.pop()] - found
        found |= new
        waiting += new
    for name in spec.sources:
        if name not in found:
            message = f"shares no step with {first!r}; make it a pipeline of its own"
            yield Problem(f"sources.{name}", message)
            return


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
