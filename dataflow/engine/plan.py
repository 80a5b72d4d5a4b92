"""From a spec to a plan: every step with its spec and its checked options, or every problem."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dataflow.connect import Guarantee, Options, Registry, SinkSpec, SourceSpec, TransformSpec
from dataflow.connect.spec import parse
from dataflow.core import graph
from dataflow.core.errors import Invalid, Problem, Rejected
from dataflow.core.spec import OnError, PipelineSpec, Sink, Source, Transform, shown

T = TypeVar("T")
SpecT = TypeVar("SpecT", SourceSpec[Any], TransformSpec[Any], SinkSpec[Any])

SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api-?key|credential|authorization", re.IGNORECASE
)
"""Names whose values are credentials."""

CREDENTIALS_IN = frozenset({"auth", "headers", "tls", "properties"})
"""Options whose own keys may name credentials; those of the others are columns."""

SECRET_IN_URL = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s:]*:(?!\$\{)[^/@\s]+@", re.IGNORECASE)
REFERENCE = re.compile(r"^$|\$\{(env|file):[^}]+\}")
NO_REFERENCE = re.compile(r"\$\{(?!(env|file):[^}]+\})")
"""What would be taken as it stands, though somebody meant a value by it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A line whose every step is known and checked."""

    line: graph.Line
    source: SourceSpec[Any]
    source_options: Options
    transforms: Sequence[tuple[Transform, TransformSpec[Any], Options]]
    sink: SinkSpec[Any]
    sink_options: Options
    on_error: OnError

    @property
    def guarantee(self) -> Guarantee:
        """What a crash can do to rows already written."""
        guaranteed = self.sink.guaranteed
        return guaranteed(self.sink_options) if guaranteed is not None else self.sink.guarantee

    def policy(self, options: Options) -> OnError:
        """Return what one step does with a record it cannot handle."""
        return self.on_error if options.on_error is OnError.UNSPECIFIED else options.on_error


def plan(registry: Registry, spec: PipelineSpec) -> Plan:
    """Check a canonical spec against the steps there are.

    Raises:
        Invalid: with every problem, each by its path in the form the user wrote.
    """
    problems = list(graph.problems(spec))
    if problems:
        raise Invalid(problems)
    checked = _Checker(registry, spec)
    made = checked.plan()
    if made is None:
        raise Invalid(checked.problems)
    return made


class _Checker:
    """Walks a line from its source to its sink, gathering problems and following the columns."""

    def __init__(self, registry: Registry, spec: PipelineSpec) -> None:
        self.problems: list[Problem] = []
        self._registry = registry
        self._spec = spec
        self._line = graph.line(spec)
        short = bool(shown(spec).source)
        self._source_path = "source" if short else f"sources.{self._line.source_name}"
        self._sink_path = "sink" if short else f"sinks.{self._line.sink_name}"

    def plan(self) -> Plan | None:
        line = self._line
        source = self._source(line.source)
        columns = source[0].schema(source[1]) if source else None
        transforms = []
        for index, transform in enumerate(line.transforms):
            step, columns = self._transform(f"transforms[{index}]", transform, columns)
            if step:
                transforms.append((transform, *step))
        sink = self._sink(line.sink)
        if source and sink:
            self._apart(source[0], sink[0])
        if self.problems or source is None or sink is None or self._spec.options is None:
            return None
        return Plan(line, *source, transforms, *sink, self._spec.options.on_error)

    def _apart(self, source: SourceSpec[Any], sink: SinkSpec[Any]) -> None:
        """Note a sink that writes what the source reads."""
        place = sink.place(self._line.sink)
        if place and source.covers(self._line.source, place):
            problem = "the source reads what is written there; write somewhere else"
            self.problems.append(Problem(f"{self._sink_path}.connectionString", problem))

    def _source(self, step: Source) -> tuple[SourceSpec[Any], Options] | None:
        path = self._source_path
        found = self._step(path, step, lambda: self._registry.source(step.source_type))
        if found is not None:
            spec, options = found
            self._add(path, self._try(path, lambda: spec.check(step, options)))
        return found

    def _sink(self, step: Sink) -> tuple[SinkSpec[Any], Options] | None:
        path = self._sink_path
        found = self._step(path, step, lambda: self._registry.sink(step.sink_type))
        if found is not None:
            spec, options = found
            self._add(path, self._try(path, lambda: spec.check(step, options)))
        return found

    def _transform(
        self, path: str, step: Transform, columns: Mapping[str, str] | None
    ) -> tuple[tuple[TransformSpec[Any], Options] | None, Mapping[str, str] | None]:
        found = self._step(path, step, lambda: self._registry.transform(step.transform_type))
        if found is None:
            return None, None
        spec, options = found
        before = len(self.problems)
        self._add(path, self._try(path, lambda: spec.check(step, options, columns)))
        known = columns is not None and len(self.problems) == before
        return found, spec.schema(options, columns) if known and columns else None

    def _step(
        self, path: str, step: Source | Transform | Sink, find: Callable[[], SpecT]
    ) -> tuple[SpecT, Options] | None:
        """Return what is registered for a step, and its options; None after noting a problem."""
        self._secrets(path, getattr(step, "connection_string", ""), step.options)
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
            self.problems.append(Problem(field, problem.message))

    def _secrets(self, path: str, connection: str, options: str) -> None:
        if NO_REFERENCE.search(connection):
            self.problems.append(
                Problem(
                    f"{path}.connectionString",
                    "holds ${…} that is no reference; write ${env:NAME} or ${file:/path}",
                )
            )
        if SECRET_IN_URL.search(connection):
            self.problems.append(
                Problem(
                    f"{path}.connectionString",
                    "holds a password in the clear; write ${env:NAME} or ${file:/path} for it",
                )
            )
        for key in _credentials(options):
            self.problems.append(
                Problem(
                    f"{path}.options.{key}",
                    "is a credential in the clear; write ${env:NAME} or ${file:/path} for it",
                )
            )


def _credentials(options: str) -> Iterator[str]:
    """Yield the paths of texts that look like credentials; columns may be called as they like."""
    try:
        given = json.loads(options or "{}")
    except ValueError:
        return
    for key, value in given.items() if isinstance(given, dict) else ():
        nested = value if isinstance(value, dict) and key in CREDENTIALS_IN else {}
        named = {key: value, **{f"{key}.{name}": inner for name, inner in nested.items()}}
        for path, text in named.items():
            if isinstance(text, str) and SECRET_NAME.search(path) and not REFERENCE.search(text):
                yield path


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


def validate(registry: Registry, spec: PipelineSpec) -> tuple[Sequence[Problem], str]:
    """Return everything wrong with a canonical spec, and what its ends guarantee if nothing is."""
    try:
        return (), plan(registry, spec).guarantee
    except Invalid as error:
        return error.problems, ""
