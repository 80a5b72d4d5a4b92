"""From a spec to a plan: every step with its spec and its checked options, or every problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dataflow.connect import Guarantee, Options, Registry, SinkSpec, SourceSpec, TransformSpec
from dataflow.connect.spec import Columns, parse
from dataflow.connect.transform import MAIN
from dataflow.core import graph
from dataflow.core.errors import Invalid, Problem, Rejected
from dataflow.core.spec import OnError, PipelineSpec, Sink, Source, Transform, with_defaults
from dataflow.engine.credentials import credential_problems
from dataflow.engine.records import Verdict

T = TypeVar("T")
SpecT = TypeVar("SpecT", SourceSpec[Any], TransformSpec[Any], SinkSpec[Any])

StepT = TypeVar("StepT", Source, Transform, Sink)


@dataclass(frozen=True, slots=True)
class Planned(Generic[StepT, SpecT]):
    """A step whose kind is known and whose options are checked, and what it reads."""

    name: str
    step: StepT
    spec: SpecT
    options: Options
    feeds: Sequence[graph.Feed] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph whose every step is known and checked; transforms stand behind what they read.

    ``columns`` has the names and types that leave each step, as far as they are known before
    anything runs.
    """

    graph: graph.Graph
    sources: Sequence[Planned[Source, SourceSpec[Any]]]
    transforms: Sequence[Planned[Transform, TransformSpec[Any]]]
    sinks: Sequence[Planned[Sink, SinkSpec[Any]]]
    on_error: OnError
    columns: Mapping[str, Columns]

    @property
    def guarantee(self) -> Guarantee:
        """What a crash can do to rows already written; of several sinks, to those of the worst."""
        each = [_guaranteed(sink.spec, sink.options) for sink in self.sinks]
        weaker = [guarantee for guarantee in each if guarantee is not Guarantee.EXACTLY_ONCE]
        return weaker[0] if weaker else Guarantee.EXACTLY_ONCE

    @property
    def code(self) -> AbstractSet[str]:
        """Return where the code of its steps is; see ``connect.load``."""
        ends = {step.spec.open for step in self.sources} | {step.spec.open for step in self.sinks}
        return ends | {step.spec.open for step in self.transforms}

    def policy(self, options: Options) -> OnError:
        """Return what one step does with a record it cannot handle."""
        return self.on_error if options.on_error is OnError.UNSPECIFIED else options.on_error


def _guaranteed(spec: SinkSpec[Any], options: Options) -> Guarantee:
    return spec.guaranteed(options) if spec.guaranteed is not None else spec.guarantee


def plan(registry: Registry, spec: PipelineSpec) -> Plan:
    """Check a canonical spec against the steps there are.

    Raises:
        Invalid: with every problem, each by its path in the form the user wrote.
    """
    problems = list(graph.problems(spec))
    if problems:
        raise Invalid(problems)
    return _Checker(registry, spec).plan()


class _Checker:
    """Walks a graph from its sources to its sinks, gathering problems and following the columns."""

    def __init__(self, registry: Registry, spec: PipelineSpec) -> None:
        self._problems: list[Problem] = []
        self._registry = registry
        self._spec = spec
        self._graph = graph.graph(spec)
        self._paths = graph.paths(spec)
        self._outputs: dict[str, Sequence[str]] = {}
        self._columns: dict[graph.Feed, Columns | None] = {}

    def plan(self) -> Plan:
        """Return the plan; raises ``Invalid``."""
        shape = self._graph
        sources = [self._source(name, step) for name, step in shape.sources.items()]
        transforms = [self._transform(step) for step in shape.transforms]
        sinks = [self._sink(name, step) for name, step in shape.sinks.items()]
        found = _present(sources), _present(transforms), _present(sinks)
        self._apart(found[0], found[2])
        self._one_decides(found[2])
        self._in_lanes([*found[0], *found[1], *found[2]])
        if self._problems or self._spec.options is None:
            raise Invalid(self._problems)
        known = {str(f): columns for f, columns in self._columns.items() if columns is not None}
        return Plan(shape, *found, self._spec.options.on_error, known)

    def _apart(
        self,
        sources: Sequence[Planned[Source, SourceSpec[Any]]],
        sinks: Sequence[Planned[Sink, SinkSpec[Any]]],
    ) -> None:
        """Note a sink that writes what a source reads."""
        for sink in sinks:
            place = sink.spec.place(sink.step)
            if place and any(s.spec.covers(s.step, place) for s in sources):
                problem = "the source reads what is written there; write somewhere else"
                path = f"{self._paths[sink.name]}.connectionString"
                self._problems.append(Problem(path, problem))

    def _one_decides(self, sinks: Sequence[Planned[Sink, SinkSpec[Any]]]) -> None:
        """Note sinks that would each decide a checkpoint: one may, and the other may then not."""
        deciding = [sink.name for sink in sinks if sink.spec.decides(sink.options)]
        if len(deciding) > 1:
            names = " and ".join(deciding)
            problem = f"{names} each commit by a transaction of their own; use one a pipeline"
            self._problems.append(Problem("sinks", problem))

    def _in_lanes(self, steps: Sequence[Planned[Any, Any]]) -> None:
        """Note steps that are one task's to do, where there shall be several."""
        if with_defaults(self._spec.options).parallelism == 1:
            return
        alone = [f"{one.name} ({one.spec.name})" for one in steps if not one.spec.lanes]
        alone += [f"the schedule of {n}" for n, one in self._spec.sources.items() if one.schedule]
        if alone:
            problem = f"{alone[0]} cannot be shared among tasks; set it to 1"
            self._problems.append(Problem("options.parallelism", problem))

    def _source(self, name: str, step: Source) -> Planned[Source, SourceSpec[Any]] | None:
        path = self._paths[name]
        found = self._step(path, step, lambda: self._registry.source(step.source_type))
        if found is None:
            return None
        spec, options = found
        self._add(path, self._try(path, lambda: spec.check(step, options)))
        self._outputs[name] = (MAIN,)
        self._columns[graph.Feed(name)] = spec.schema(options)
        return Planned(name, step, spec, options)

    def _sink(self, name: str, step: Sink) -> Planned[Sink, SinkSpec[Any]] | None:
        path = self._paths[name]
        found = self._step(path, step, lambda: self._registry.sink(step.sink_type))
        feeds = self._graph.feeds[name]
        self._read(f"{path}.input", feeds)
        if found is None:
            return None
        spec, options = found
        self._add(path, self._try(path, lambda: spec.check(step, options)))
        self._add(path, spec.beside(options, with_defaults(self._spec.options)))
        return Planned(name, step, spec, options, feeds)

    def _transform(self, step: Transform) -> Planned[Transform, TransformSpec[Any]] | None:
        path = self._paths[step.id]
        feeds = self._graph.feeds[step.id]
        found = self._step(path, step, lambda: self._registry.transform(step.transform_type))
        readable = self._read(f"{path}.inputs", feeds)
        if found is None:
            return None
        spec, options = found
        self._outputs[step.id] = spec.outputs(options)
        if readable:
            self._follow(path, step, spec, options)
        return Planned(step.id, step, spec, options, feeds)

    def _read(self, path: str, feeds: Sequence[graph.Feed]) -> bool:
        """Tell whether what a step reads is there, noting what is not."""
        before = len(self._problems)
        for feed in feeds:
            outputs = self._outputs.get(feed.step)
            if outputs is not None and feed.output not in outputs:
                named = [str(graph.Feed(feed.step, name)) for name in outputs]
                problem = f"{feed.step!r} has no output {feed.output!r}; one of {', '.join(named)}"
                self._problems.append(Problem(path, problem))
        return len(self._problems) == before

    def _follow(
        self, path: str, step: Transform, spec: TransformSpec[Any], options: Options
    ) -> None:
        """Check a step with the columns that it reads, and note those that leave it."""
        feeds = self._graph.feeds[step.id]
        given = [self._columns.get(feed) for feed in feeds]
        before = len(self._problems)
        fewest, most = spec.inputs
        if not fewest <= len(feeds) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            problem = f"a {spec.name} reads {wanted} inputs, not {len(feeds)}"
            self._problems.append(Problem(f"{path}.inputs", problem))
            return
        if spec.check_inputs is not None:
            many = spec.check_inputs
            self._add(path, self._try(path, lambda: many(step, options, given)))
            columns = None
        else:
            columns = self._one(f"{path}.inputs", feeds, given)
            self._add(path, self._try(path, lambda: spec.check(step, options, columns)))
        good = len(self._problems) == before
        main = None
        if good and spec.schema_of_inputs is not None:
            main = spec.schema_of_inputs(step, options, given)
        elif good and columns:
            main = spec.schema(options, columns)
        for output in spec.outputs(options):
            self._columns[graph.Feed(step.id, output)] = columns if output != MAIN else main

    def _one(
        self, path: str, feeds: Sequence[graph.Feed], given: Sequence[Columns | None]
    ) -> Columns | None:
        """Return the columns that all inputs of a step have; None where that is not known."""
        first = given[0]
        for feed, columns in zip(feeds[1:], given[1:], strict=True):
            if first is None or columns is None:
                return None
            if list(columns.items()) != list(first.items()):
                problem = f"{feeds[0]} and {feed} have different columns: {_apart(first, columns)}"
                self._problems.append(Problem(path, problem))
                return None
        return first

    def _step(
        self, path: str, step: Source | Transform | Sink, find: Callable[[], SpecT]
    ) -> tuple[SpecT, Options] | None:
        """Return what is registered for a step, and its options; None after noting a problem."""
        connection = getattr(step, "connection_string", "")
        self._problems += credential_problems(path, connection, step.options)
        spec = self._try(path, find)
        options = self._try(path, lambda: parse(spec.options, step.options)) if spec else None
        return (spec, options) if spec is not None and options is not None else None

    def _try(self, path: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except Rejected as error:
            self._add(path, error.problems)
            return None

    def _add(self, path: str, problems: Sequence[Problem] | None) -> None:
        for problem in problems or ():
            field = f"{path}.{problem.field}" if problem.field else path
            self._problems.append(Problem(field, problem.message))


def _present(found: Sequence[T | None]) -> Sequence[T]:
    return [one for one in found if one is not None]


def _apart(first: Columns, other: Columns) -> str:
    """Return the first difference between the columns of two inputs."""
    for name, of in first.items():
        if name not in other:
            return f"only the first has {name}"
        if other[name] != of:
            return f"{name} is {of}, and {other[name]}"
    more = [name for name in other if name not in first]
    return f"only the second has {more[0]}" if more else "they stand in another order"


def node_local(registry: Registry, spec: PipelineSpec) -> bool:
    """Tell whether a checked spec reads or writes what one node alone has.

    Such a pipeline goes on where it began: another node would find other files under the names.
    """
    sources = (
        known.node_local(step, parse(known.options, step.options))
        for step in spec.sources.values()
        for known in (registry.source(step.source_type),)
    )
    sinks = (
        known.node_local(step, parse(known.options, step.options))
        for step in spec.sinks.values()
        for known in (registry.sink(step.sink_type),)
    )
    return any(sources) or any(sinks)


def validate(registry: Registry, spec: PipelineSpec) -> Verdict:
    """Return everything wrong with a canonical spec, or what it will do."""
    try:
        planned = plan(registry, spec)
    except Invalid as error:
        return Verdict(error.problems)
    return Verdict((), planned.guarantee, planned.columns)
