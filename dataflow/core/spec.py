"""What a pipeline is made of, and the one form in which it is stored.

A spec is written in the short form (``source``, ``transforms``, ``sink``) or as a graph
(``sources``, ``transforms`` with ``inputs``, ``sinks`` with ``input``). ``canonical`` turns either
into the graph that is stored, ``shown`` turns a line back into the short form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from dataflow.core.durations import written
from dataflow.core.errors import Invalid, Problem
from dataflow.core.light import light, replace
from dataflow.core.schedule import Schedule, schedule_problems

SOURCE, SINK = "source", "sink"
"""The names of a line's two ends."""

NAME_LENGTH_MAX = 200
"""Fits a line of a terminal; a longer text belongs into the description."""

DESCRIPTION_LENGTH_MAX = 10_000
"""Some pages; a longer text belongs into a document, to which the description can point."""

LABELS_MAX = 32
LABEL_LENGTH_MAX = 200
"""Labels travel as tags with every event, and stand in every line of a list."""

BATCH_SIZE_MAX = 1_000_000
"""Rows; larger batches gain nothing and pin memory (measured: flat from 50,000 on)."""


POLL_INTERVAL_MS_MAX = 86_400_000
"""A day; who looks less often starts the pipeline when there is something."""

NODE_ID_RULE = "a lower-case letter or digit, then at most 62 of those, dots and dashes"
NODE_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
"""What may name a node, as a host is named: it stands in keys and labels."""


class OnError(StrEnum):
    """What happens to a record that a step cannot handle."""

    UNSPECIFIED = "unspecified"
    FAIL = "fail"
    SKIP = "skip"
    DEAD_LETTER = "dead-letter"


class Position(StrEnum):
    """Where reading begins after the source of a pipeline has changed."""

    UNSPECIFIED = "unspecified"
    KEEP = "keep"
    BEGINNING = "beginning"
    LATEST = "latest"


@light
@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from. ``options`` is a JSON object as text, checked by the connector."""

    source_type: str = ""
    connection_string: str = ""
    batch_size: int = 0
    poll_interval_ms: int = 0
    options: str = ""
    schedule: Schedule | None = None


@light
@dataclass(frozen=True, slots=True)
class Transform:
    """One step between a source and a sink."""

    id: str = ""
    transform_type: str = ""
    inputs: tuple[str, ...] = ()
    options: str = ""


@light
@dataclass(frozen=True, slots=True)
class Sink:
    """Where records go."""

    sink_type: str = ""
    connection_string: str = ""
    batch_size: int = 0
    input: str = ""
    options: str = ""


@light
@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How a pipeline runs; a zero stands for the default that ``with_defaults`` fills in."""

    checkpoint_interval: timedelta = timedelta()
    checkpoint_rows: int = 0
    parallelism: int = 0
    max_attempts: int = 0
    backoff_initial: timedelta = timedelta()
    backoff_max: timedelta = timedelta()
    on_error: OnError = OnError.UNSPECIFIED
    batch_timeout: timedelta = timedelta()
    node: str = ""
    """The id of the only node that may run it; empty for any."""


@light
@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """A pipeline, in either form until ``canonical`` has made it the one that is stored."""

    name: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    source: Source | None = None
    transforms: tuple[Transform, ...] = ()
    sink: Sink | None = None
    options: PipelineOptions | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    sinks: Mapping[str, Sink] = field(default_factory=dict)


DEFAULTS = PipelineOptions(
    checkpoint_interval=timedelta(seconds=1),
    parallelism=1,
    max_attempts=5,
    backoff_initial=timedelta(seconds=1),
    backoff_max=timedelta(seconds=60),
    on_error=OnError.FAIL,
    batch_timeout=timedelta(minutes=5),
)

_LIMITS: Mapping[str, tuple[timedelta, timedelta] | tuple[int, int]] = {
    "checkpoint_interval": (timedelta(milliseconds=10), timedelta(hours=1)),
    "backoff_initial": (timedelta(milliseconds=1), timedelta(hours=1)),
    "backoff_max": (timedelta(milliseconds=1), timedelta(days=1)),
    "batch_timeout": (timedelta(milliseconds=10), timedelta(days=1)),
    "checkpoint_rows": (0, 1_000_000_000),
    "parallelism": (1, 64),
    "max_attempts": (1, 1_000_000),
}


def canonical(spec: PipelineSpec) -> PipelineSpec:
    """Return the spec as a graph with every default filled in: the form that is stored.

    Raises:
        Invalid: with every problem of the document's shape; connectors' options are not looked at.
    """
    problems = [*text_problems(spec.name, spec.description, spec.labels), *_form_problems(spec)]
    options = with_defaults(spec.options)
    problems += _option_problems(options)
    if problems:
        raise Invalid(problems)
    sources = dict(spec.sources) or {SOURCE: spec.source or Source()}
    transforms = _chained(spec.transforms, next(iter(sources)) if len(sources) == 1 else "")
    last = transforms[-1].id if transforms else next(iter(sources))
    sinks = dict(spec.sinks) or {SINK: spec.sink or Sink()}
    sinks = {name: replace(sink, input=sink.input or last) for name, sink in sinks.items()}
    return replace(
        spec,
        source=None,
        sink=None,
        options=options,
        transforms=transforms,
        sources={name: sources[name] for name in sorted(sources)},
        sinks={name: sinks[name] for name in sorted(sinks)},
    )


def shown(spec: PipelineSpec) -> PipelineSpec:
    """Return a stored spec as people see it: a line with the usual names in the short form."""
    if tuple(spec.sources) != (SOURCE,) or tuple(spec.sinks) != (SINK,):
        return spec
    chained = _chained([replace(t, inputs=()) for t in spec.transforms], SOURCE)
    last = chained[-1].id if chained else SOURCE
    if chained != spec.transforms or spec.sinks[SINK].input != last:
        return spec
    return replace(
        spec,
        source=spec.sources[SOURCE],
        sink=replace(spec.sinks[SINK], input=""),
        transforms=tuple(replace(t, inputs=()) for t in spec.transforms),
        sources={},
        sinks={},
    )


def with_defaults(options: PipelineOptions | None) -> PipelineOptions:
    """Return the options with each zero replaced by its default."""
    given = options or PipelineOptions()
    return PipelineOptions(
        checkpoint_interval=given.checkpoint_interval or DEFAULTS.checkpoint_interval,
        checkpoint_rows=given.checkpoint_rows,
        parallelism=given.parallelism or DEFAULTS.parallelism,
        max_attempts=given.max_attempts or DEFAULTS.max_attempts,
        backoff_initial=given.backoff_initial or DEFAULTS.backoff_initial,
        backoff_max=given.backoff_max or DEFAULTS.backoff_max,
        on_error=DEFAULTS.on_error if given.on_error is OnError.UNSPECIFIED else given.on_error,
        batch_timeout=given.batch_timeout or DEFAULTS.batch_timeout,
        node=given.node,
    )


def _chained(transforms: Sequence[Transform], source: str) -> tuple[Transform, ...]:
    chained: list[Transform] = []
    before = source
    for index, transform in enumerate(transforms, start=1):
        name = transform.id or f"t{index}"
        inputs = transform.inputs or ((before,) if before else ())
        chained.append(replace(transform, id=name, inputs=inputs))
        before = name
    return tuple(chained)


def text_problems(name: str, description: str, labels: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with the texts, on which no step depends."""
    problems = []
    if len(name) > NAME_LENGTH_MAX:
        problems.append(Problem("name", f"use at most {NAME_LENGTH_MAX} characters"))
    if len(description) > DESCRIPTION_LENGTH_MAX:
        message = f"use at most {DESCRIPTION_LENGTH_MAX} characters"
        problems.append(Problem("description", message))
    if len(labels) > LABELS_MAX:
        problems.append(Problem("labels", f"use at most {LABELS_MAX}"))
    if any(max(len(key), len(value)) > LABEL_LENGTH_MAX for key, value in labels.items()):
        message = f"use at most {LABEL_LENGTH_MAX} characters for a name, and for a value"
        problems.append(Problem("labels", message))
    return problems


def _form_problems(spec: PipelineSpec) -> list[Problem]:
    problems = []
    for one, many in (("source", "sources"), ("sink", "sinks")):
        if getattr(spec, one) is not None and getattr(spec, many):
            problems.append(Problem(many, f"give either {one} or {many}, not both"))
        elif getattr(spec, one) is None and not getattr(spec, many):
            problems.append(Problem(one, "missing; a pipeline needs one"))
    for path, step in [*_ends(spec, "source"), *_ends(spec, "sink")]:
        if not 0 <= step.batch_size <= BATCH_SIZE_MAX:
            problems.append(Problem(f"{path}.batchSize", f"use 0 to {BATCH_SIZE_MAX} rows"))
        if isinstance(step, Source) and not 0 <= step.poll_interval_ms <= POLL_INTERVAL_MS_MAX:
            message = f"use 0 to {POLL_INTERVAL_MS_MAX} ms, which is a day"
            problems.append(Problem(f"{path}.pollIntervalMs", message))
        if isinstance(step, Source) and step.schedule is not None:
            problems += schedule_problems(f"{path}.schedule", step.schedule)
    return problems


def _ends(spec: PipelineSpec, kind: str) -> list[tuple[str, Source | Sink]]:
    one = getattr(spec, kind)
    many: Mapping[str, Source | Sink] = getattr(spec, f"{kind}s")
    return ([(kind, one)] if one else []) + [(f"{kind}s.{k}", v) for k, v in many.items()]


def _option_problems(options: PipelineOptions) -> list[Problem]:
    problems = []
    for name, (low, high) in _LIMITS.items():
        if not low <= getattr(options, name) <= high:
            problems.append(
                Problem(f"options.{_camel(name)}", f"use {_said(low)} to {_said(high)}")
            )
    if options.node and not NODE_ID.fullmatch(options.node):
        problems.append(Problem("options.node", f"is no node's id; use {NODE_ID_RULE}"))
    if options.backoff_max < options.backoff_initial:
        problems.append(Problem("options.backoffMax", "must not be less than backoffInitial"))
    return problems


def _said(limit: timedelta | int) -> str:
    return str(limit) if isinstance(limit, int) else written(limit)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
