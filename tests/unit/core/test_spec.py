"""The two forms of a spec are one, and what is wrong with either is said by its path."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dataflow.core import graph
from dataflow.core.changes import source_changed
from dataflow.core.errors import Invalid
from dataflow.core.spec import (
    DEFAULTS,
    OnError,
    PipelineOptions,
    PipelineSpec,
    Sink,
    Source,
    Transform,
    canonical,
    shown,
    with_defaults,
)

SHORT = PipelineSpec(
    name="short",
    source=Source("file", "/in.csv"),
    transforms=(Transform(transform_type="filter"), Transform("named", "map")),
    sink=Sink("console"),
)
GRAPH = PipelineSpec(
    name="short",
    sources={"source": Source("file", "/in.csv")},
    transforms=(Transform("t1", "filter", ("source",)), Transform("named", "map", ("t1",))),
    sinks={"sink": Sink("console", input="named")},
)


def test_both_forms_of_a_line_are_stored_alike() -> None:
    """Whoever compares two versions must not see a difference in spelling."""
    assert canonical(SHORT) == canonical(GRAPH)


def test_canonical_changes_nothing_the_second_time() -> None:
    """A stored spec that is updated with itself is no new version."""
    once = canonical(SHORT)
    assert canonical(once) == once


def test_a_line_is_shown_in_the_short_form() -> None:
    """People wrote the short form, and scripts read ``source`` and ``sink``."""
    seen = shown(canonical(GRAPH))
    assert (seen.source, seen.sources) == (SHORT.source, {})
    assert [t.id for t in seen.transforms] == ["t1", "named"]
    assert canonical(seen) == canonical(GRAPH)


def test_names_that_someone_chose_are_kept() -> None:
    """The short form has no place for the name of a source."""
    named = PipelineSpec(sources={"flights": Source("file")}, sinks={"sink": Sink("console")})
    assert shown(canonical(named)).sources == {"flights": Source("file")}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (PipelineSpec(), ["source", "sink"]),
        (PipelineSpec(source=Source(), sources={"a": Source()}, sink=Sink()), ["sources"]),
        (
            PipelineSpec(source=Source(batch_size=-1), sink=Sink(batch_size=2_000_000)),
            ["source.batchSize", "sink.batchSize"],
        ),
        (
            PipelineSpec(
                sources={
                    "a": Source(poll_interval_ms=-1),
                    "b": Source(poll_interval_ms=86_400_001),
                    "c": Source(poll_interval_ms=86_400_000),
                },
                sink=Sink(),
            ),
            ["sources.a.pollIntervalMs", "sources.b.pollIntervalMs"],
        ),
        (
            PipelineSpec(
                source=Source(),
                sink=Sink(),
                options=PipelineOptions(
                    parallelism=65,
                    checkpoint_interval=timedelta(days=2),
                    backoff_initial=timedelta(seconds=5),
                    backoff_max=timedelta(seconds=1),
                    node="a/b",
                ),
            ),
            [
                "options.checkpointInterval",
                "options.parallelism",
                "options.node",
                "options.backoffMax",
            ],
        ),
        (
            PipelineSpec(name="n" * 201, labels=dict.fromkeys(map(str, range(33)), "x")),
            ["name", "labels", "source", "sink"],
        ),
    ],
)
def test_every_problem_is_reported_at_once_by_its_path(
    spec: PipelineSpec, fields: list[str]
) -> None:
    """One round trip per mistake is what makes people give up."""
    with pytest.raises(Invalid) as caught:
        canonical(spec)
    assert [problem.field for problem in caught.value.problems] == fields


def test_defaults_fill_what_is_not_given() -> None:
    """A zero is how protobuf says that nothing was given."""
    filled = with_defaults(PipelineOptions(max_attempts=9, on_error=OnError.SKIP))
    assert filled.max_attempts == 9
    assert filled.on_error is OnError.SKIP
    assert filled.checkpoint_interval == DEFAULTS.checkpoint_interval


def _fields(spec: PipelineSpec) -> list[str]:
    return [problem.field for problem in graph.problems(canonical(spec))]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"sources": {"a": Source(), "b": Source()}}, ["transforms[0].inputs", "sinks.sink.input"]),
        ({"sinks": {"x": Sink(input="b"), "y": Sink(input="b")}}, []),
        ({"sinks": {"x": Sink(input="nowhere")}}, ["sinks.x.input"]),
        ({"sinks": {"x": Sink(input="a")}}, ["transforms[1]"]),
        (
            {"transforms": (Transform("b", "t", ("c",)), Transform("c", "t", ("b",)))},
            ["transforms[0].inputs"],
        ),
        ({"transforms": (Transform("b", "t", ("b",)),)}, ["transforms[0].inputs"]),
        ({"transforms": (Transform("b", "t", ("source", "source")),)}, ["transforms[0].inputs"]),
        ({"transforms": (Transform("b", "t"), Transform("b", "t"))}, ["transforms[1].id"]),
        ({"transforms": (Transform("sink", "t"),)}, ["sinks.sink"]),
        ({"transforms": (Transform("a.b", "t"),)}, ["transforms[0].id"]),
        (
            {"transforms": (Transform("b", "t"), Transform("c", "t", ("source",)))},
            ["transforms[0]"],
        ),
        ({"transforms": tuple(Transform(transform_type="t") for _ in range(101))}, ["transforms"]),
    ],
)
def test_what_is_no_graph_is_refused_by_its_path(
    change: dict[str, object], fields: list[str]
) -> None:
    """A graph that cannot run must say so when it is made, not when it is started."""
    base: dict[str, object] = {
        "sources": {"source": Source()},
        "transforms": (Transform("a", "t"), Transform("b", "t")),
        "sinks": {"sink": Sink()},
    }
    if "sources" in change:
        base["transforms"] = (Transform("t", "t"),)
        base["sinks"] = {"sink": Sink(input="gone")}
    assert _fields(PipelineSpec(**{**base, **change})) == fields  # type: ignore[arg-type]  # by name


def test_a_cycle_is_told_by_its_way() -> None:
    """A hundred steps are too many to look for it by eye."""
    steps = (
        Transform("x", "t", ("source",)),
        Transform("a", "t", ("x", "c")),
        Transform("b", "t", ("a",)),
        Transform("c", "t", ("b",)),
    )
    spec = PipelineSpec(source=Source(), transforms=steps, sink=Sink())
    (problem,) = graph.problems(canonical(spec))
    assert problem.message == "is a cycle: a -> b -> c -> a"


def test_what_shares_nothing_is_a_pipeline_of_its_own() -> None:
    """It would wait for a slow sink that is not its own."""
    sinks = {"x": Sink(input="a"), "y": Sink(input="b")}
    spec = PipelineSpec(sources={"a": Source(), "b": Source()}, sinks=sinks)
    (problem,) = graph.problems(canonical(spec))
    assert problem.field == "sources.b"


def test_steps_stand_behind_what_they_read() -> None:
    """However they are listed; the engine takes them in that order."""
    steps = (
        Transform("joined", "join", ("big", "router.small")),
        Transform("big", "t", ("router.big",)),
        Transform("router", "route", ("source",)),
    )
    sink = {"out": Sink(input="joined")}
    found = graph.graph(canonical(PipelineSpec(source=Source(), transforms=steps, sinks=sink)))
    assert [t.id for t in found.transforms] == ["router", "big", "joined"]
    assert found.feeds["joined"] == (graph.Feed("big"), graph.Feed("router", "small"))
    assert graph.upstream(found, found.feeds["out"]) == {"joined", "big", "router", "source"}


def test_another_path_is_another_source() -> None:
    """Positions in one file mean nothing in another."""
    moved = PipelineSpec(source=Source("file", "/other.csv"), sink=Sink("console"))
    assert source_changed(canonical(SHORT), canonical(moved))
    assert not source_changed(canonical(SHORT), canonical(GRAPH))
