"""How a step introduces itself, and how it is found by name.

A spec is cheap to import: it holds the options model and says where the code is. The code, and
with it pyarrow or a driver, is imported when the first pipeline that uses it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeAlias, TypeVar, cast

from pydantic import ValidationError

from dataflow.connect.lookup import AnyLookup, AskingSpec, LookupSpec
from dataflow.connect.misfits import misfits
from dataflow.connect.model import Committable, Options, Pinned, Position
from dataflow.connect.transform import MAIN
from dataflow.core.errors import Code, Invalid, Problem, Rejected
from dataflow.core.spec import PipelineOptions
from dataflow.core.spec import Sink as SinkStep
from dataflow.core.spec import Source as SourceStep
from dataflow.core.spec import Transform as TransformStep

ENTRY_POINT_GROUP = "dataflow.connectors"

Load: TypeAlias = str
"""Where code is: ``package.module:name``."""

Columns: TypeAlias = Mapping[str, str]
"""Names of types by column, as people write them."""

INPUTS_MAX = 100
"""Of one step; as many as a pipeline has steps."""

PARSED_MAX, PARSED_TEXT_MAX = 500, 4_096
"""Options that are remembered, and characters of such: nobody can change them, those of one step
are asked for several times as its pipeline begins, and many pipelines have the same."""

OptionsT = TypeVar("OptionsT", bound=Options)


class Guarantee(StrEnum):
    """What a crash can do to rows already written."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"


def _no_problems(*_: object) -> Sequence[Problem]:
    return ()


@dataclass(frozen=True, slots=True)
class SourceSpec(Generic[OptionsT]):
    """A source: all that is needed to check, document and draw it.

    Attributes:
        open: a callable ``(step: core.Source, options, context) -> connect.Source``.
        check: finds what the model cannot, without I/O; fields are relative to the step.
        schema: the columns and types declared in the options, if they are: lets expressions be
            checked when a pipeline is created.
        covers: tells whether the source reads what lies at a sink's ``place``.
        node_local: tells whether what it reads is there on one node alone, as a local path is:
            then the pipeline runs on that node and nowhere else.
        clean: an async callable ``(step, options, context)`` that removes what the source has made
            upstream for a pipeline that is deleted; it may be called though there is nothing.
        lanes: whether several tasks may each read some of its splits.
    """

    name: str
    summary: str
    options: type[OptionsT]
    open: Load
    position: type[Position]
    pinned: type[Pinned] = Pinned
    check: Callable[[SourceStep, OptionsT], Sequence[Problem]] = _no_problems
    schema: Callable[[OptionsT], Mapping[str, str] | None] = lambda _: None
    covers: Callable[[SourceStep, str], bool] = lambda *_: False
    node_local: Callable[[SourceStep, OptionsT], bool] = lambda *_: False
    clean: Load = ""
    lanes: bool = False


@dataclass(frozen=True, slots=True)
class TransformSpec(Generic[OptionsT]):
    """A transform: all that is needed to check, document and draw it.

    Attributes:
        open: a callable ``(step: core.Transform, options, context)`` that returns a
            ``connect.Transform`` or a ``connect.Operator``.
        check: finds what the model cannot; given the columns and types that come in, where
            they are known.
        schema: the columns and types that go out at ``MAIN``, given those that come in; any
            other output has the columns that come in.
        outputs: the names of its outputs; another step reads one as ``<id>.<output>``.
        inputs: how many it reads, at least and at most. Their columns are the same, unless
            ``check_inputs`` and ``schema_of_inputs`` take the place of ``check`` and ``schema``:
            these are given the columns of each input, in the order of the step's ``inputs``.
        lanes: whether several tasks may each do it with some of the rows: it remembers none.
    """

    name: str
    summary: str
    options: type[OptionsT]
    open: Load
    check: Callable[[TransformStep, OptionsT, Columns | None], Sequence[Problem]] = _no_problems
    schema: Callable[[OptionsT, Columns], Columns | None] = lambda *_: None
    outputs: Callable[[OptionsT], Sequence[str]] = lambda _: (MAIN,)
    inputs: tuple[int, int] = (1, INPUTS_MAX)
    check_inputs: (
        Callable[[TransformStep, OptionsT, Sequence[Columns | None]], Sequence[Problem]] | None
    ) = None
    schema_of_inputs: (
        Callable[[TransformStep, OptionsT, Sequence[Columns | None]], Columns | None] | None
    ) = None
    lanes: bool = False


@dataclass(frozen=True, slots=True)
class SinkSpec(Generic[OptionsT]):
    """A sink: all that is needed to check, document and draw it.

    Attributes:
        open: a callable ``(step: core.Sink, options, context)`` that returns one of the kinds in
            ``dataflow.connect.sink``.
        guaranteed: what it guarantees with these options, where they can make it less.
        beside: finds what is wrong with its options beside those of the pipeline, likewise.
        committable: of a staging sink.
        decides: tells whether it is transactional: of such sinks a pipeline has one at most.
        place: where the sink writes, in the form that sources of its kind know; empty if none.
        node_local: tells whether what it writes is there on one node alone, as a local path is.
        lanes: whether several tasks may each write some of the rows at the same time.
    """

    name: str
    summary: str
    guarantee: Guarantee
    options: type[OptionsT]
    open: Load
    guaranteed: Callable[[OptionsT], Guarantee] | None = None
    committable: type[Committable] = Committable
    check: Callable[[SinkStep, OptionsT], Sequence[Problem]] = _no_problems
    decides: Callable[[OptionsT], bool] = lambda _: False
    beside: Callable[[OptionsT, PipelineOptions], Sequence[Problem]] = _no_problems
    place: Callable[[SinkStep], str] = lambda _: ""
    node_local: Callable[[SinkStep, OptionsT], bool] = lambda *_: False
    lanes: bool = False


AnySpec: TypeAlias = SourceSpec[Any] | TransformSpec[Any] | SinkSpec[Any] | AnyLookup | AskingSpec
"""What may be registered."""

StepSpec: TypeAlias = SourceSpec[Any] | TransformSpec[Any] | SinkSpec[Any]
"""What a step of a pipeline may be."""


def load(where: Load) -> Callable[..., Any]:
    """Import the code that a spec names."""
    module, _, name = where.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(module), name)
    return loaded


class Registry:
    """The steps this process knows. Built once, passed down; there is no global one."""

    def __init__(self, specs: Iterable[AnySpec]) -> None:
        self._sources: dict[str, SourceSpec[Any]] = {}
        self._transforms: dict[str, TransformSpec[Any]] = {}
        self._sinks: dict[str, SinkSpec[Any]] = {}
        self._lookups: dict[str, AnyLookup] = {}
        given = list(specs)
        for spec in given:
            self._add(spec)
        for spec in given:
            if isinstance(spec, AskingSpec):
                _put(self._transforms, spec.made(tuple(self._lookups.values())))

    @classmethod
    def discover(cls, builtin: Iterable[AnySpec]) -> Registry:
        """Return the built-in steps and those of installed packages."""
        return cls([*builtin, *(entry.load() for entry in entry_points(group=ENTRY_POINT_GROUP))])

    def _add(self, spec: AnySpec) -> None:
        match spec:
            case SourceSpec():
                _put(self._sources, spec)
            case TransformSpec():
                _put(self._transforms, spec)
            case SinkSpec():
                _put(self._sinks, spec)
            case LookupSpec():
                _put(self._lookups, spec)
            case AskingSpec():
                pass  # made when all lookups are known

    @property
    def specs(self) -> Sequence[StepSpec]:
        """Return every spec of a step: sources, transforms, sinks."""
        return (*self._sources.values(), *self._transforms.values(), *self._sinks.values())

    def source(self, name: str, field: str = "sourceType") -> SourceSpec[Any]:
        """Return the source named ``name``; raises ``Rejected`` with those there are."""
        return _named(self._sources, name, field)

    def transform(self, name: str, field: str = "transformType") -> TransformSpec[Any]:
        """Return the transform named ``name``; raises ``Rejected`` with those there are."""
        return _named(self._transforms, name, field)

    def sink(self, name: str, field: str = "sinkType") -> SinkSpec[Any]:
        """Return the sink named ``name``; raises ``Rejected`` with those there are."""
        return _named(self._sinks, name, field)


SpecT = TypeVar("SpecT", SourceSpec[Any], TransformSpec[Any], SinkSpec[Any], AnyLookup)


def _put(specs: dict[str, SpecT], spec: SpecT) -> None:
    if specs.setdefault(spec.name, spec) is not spec:
        raise Rejected(f"two {type(spec).__name__}s are named {spec.name!r}")


def _named(specs: Mapping[str, SpecT], name: str, field: str) -> SpecT:
    try:
        return specs[name]
    except KeyError:
        known = ", ".join(sorted(specs))
        message = f"unknown {name!r}, one of {known}" if name else f"missing; one of {known}"
        raise Rejected(message, code=Code.INVALID, field=field) from None


def parse(model: type[OptionsT], text: str) -> OptionsT:
    """Return a step's options from their JSON text (empty text is no options).

    Read strictly: ``"yes"`` is no truth value and ``"5"`` no number, as everywhere in a spec.

    Raises:
        Invalid: with one problem for every wrong field, by its path below ``options``.
    """
    text = text or "{}"
    return cast("OptionsT", (_remembered if len(text) <= PARSED_TEXT_MAX else _parsed)(model, text))


def _parsed(model: type[Options], text: str) -> Options:
    try:
        options = model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise Invalid(misfits(model, text, error)) from None
    if nameless := _nameless(options):
        raise Invalid(nameless)
    return options


_remembered = lru_cache(PARSED_MAX)(_parsed)


def _nameless(options: Options) -> Sequence[Problem]:
    """Return a problem for every option that gives something to a column without a name."""
    return [
        Problem(f"options.{field.alias or name}", "a name is empty")
        for name, field in type(options).model_fields.items()
        if isinstance(given := getattr(options, name), Mapping) and "" in given
    ]
