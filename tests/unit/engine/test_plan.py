"""A spec becomes a plan, or every problem at once, each by the path its user wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.app.builtin import registry
from dataflow.core.errors import Invalid
from dataflow.core.spec import (
    OnError,
    PipelineOptions,
    PipelineSpec,
    Sink,
    Source,
    Transform,
    canonical,
)
from dataflow.engine.plan import node_local, plan, validate

STEPS = registry()
SCHEMA = '{"schema": {"a": "int64", "token": "string"}, "otherColumns": "drop"}'
MISSING = '{"expression": "b > 1"}'
GOOD = PipelineSpec(
    source=Source("file", "/in.csv", options=SCHEMA),
    transforms=(Transform("t", "filter", options='{"expression": "a > 1", "onError": "skip"}'),),
    sink=Sink("file", "/out.csv"),
)


def problems(spec: PipelineSpec) -> list[str]:
    """Return the fields that have problems."""
    return [problem.field for problem in validate(STEPS, canonical(spec)).problems]


def test_a_good_spec_becomes_a_plan() -> None:
    """Every step is known, its options parsed, its policy decided."""
    planned = plan(STEPS, canonical(replace(GOOD, options=PipelineOptions(on_error=OnError.FAIL))))
    assert planned.guarantee == "exactly-once"
    assert planned.policy(planned.transforms[0].options) is OnError.SKIP
    assert planned.policy(planned.sinks[0].options) is OnError.FAIL


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (replace(GOOD, source=Source("fil", "/in.csv")), ["source.sourceType"]),
        (replace(GOOD, sink=Sink()), ["sink.sinkType"]),
        (
            replace(GOOD, source=Source("file", "/in.csv", options='{"formt": "csv"}')),
            ["source.options.formt"],
        ),
        (
            replace(GOOD, source=Source("file", "/in.csv", options='{"format": "cvs"}')),
            ["source.options.format"],
        ),
        (replace(GOOD, source=Source("file", "/in.csv", options="{")), ["source.options"]),
        (
            replace(
                GOOD, transforms=(Transform("t", "filter", options='{"expression": "b > 1"}'),)
            ),
            ["transforms[0].options.expression"],
        ),
        (
            replace(
                GOOD,
                source=Source("nope"),
                transforms=(Transform("t", "nope"),),
                sink=Sink("nope"),
            ),
            ["source.sourceType", "transforms[0].transformType", "sink.sinkType"],
        ),
        (
            replace(GOOD, source=None, sources={"flights": Source("nope")}),
            ["sources.flights.sourceType"],
        ),
        (
            replace(GOOD, transforms=(Transform("t", "filter", ("gone",)),)),
            ["transforms[0].inputs"],
        ),
    ],
)
def test_problems_name_the_path_that_the_user_wrote(spec: PipelineSpec, fields: list[str]) -> None:
    """Whoever reads the error has the document before them, not our form of it."""
    assert problems(spec) == fields


@pytest.mark.parametrize(
    ("source", "field"),
    [
        (Source("file", "postgres://me:hunter2@host/db"), "source.connectionString"),
        (Source("file", "/x.csv", options='{"password": "hunter2"}'), "source.options.password"),
        (Source("file", "/x.csv", options='{"apiKey": "hunter2"}'), "source.options.apiKey"),
        (
            Source("file", "/x.csv", options='{"headers": {"Authorization": "Bearer x"}}'),
            "source.options.headers.Authorization",
        ),
    ],
)
def test_a_credential_in_the_clear_is_refused_without_being_shown(
    source: Source, field: str
) -> None:
    """A spec is journalled for ever and shown to everybody."""
    found = validate(STEPS, canonical(replace(GOOD, source=source))).problems
    assert any("${env:" in problem.message for problem in found if problem.field == field)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "source",
    [
        Source("file", "postgres://me:${env:PASSWORD}@host/db"),
        Source("file", "/x.csv", options='{"password": "${file:/run/secrets/x}"}'),
        Source("file", "/x.csv", options=SCHEMA),
        Source("file", "/x.csv", options="[]"),
    ],
)
def test_references_and_columns_are_no_credentials(source: Source) -> None:
    """A column may be called token."""
    found = validate(STEPS, canonical(replace(GOOD, source=source))).problems
    assert "credential" not in str(found)
    assert "password in the clear" not in str(found)


def test_a_graph_is_refused_by_its_path() -> None:
    """Until graphs run, saying so beats doing half of it."""
    two = replace(GOOD, source=None, sources={"a": Source("file"), "b": Source("file")})
    with pytest.raises(Invalid, match="inputs"):
        plan(STEPS, canonical(two))


SHARED = '{"shared": true}'


@pytest.mark.parametrize(
    ("source", "sink", "local"),
    [
        (Source("file", "/in.csv"), Sink("file", "/out.csv"), True),
        (Source("file", "/in.csv", options=SHARED), Sink("file", "/out.csv"), True),
        (Source("file", "/in.csv"), Sink("file", "/out.csv", options=SHARED), True),
        (Source("file", "/in.csv", options=SHARED), Sink("file", "/o.csv", options=SHARED), False),
        (Source("file", "${env:IN}"), Sink("console"), True),
        (Source("generator"), Sink("console"), False),
        (Source("push"), Sink("console"), False),
    ],
)
def test_what_one_node_alone_has_binds_a_pipeline_to_it(
    source: Source, sink: Sink, *, local: bool
) -> None:
    """The next node would read another file of that name, from a position in this one."""
    assert node_local(STEPS, canonical(PipelineSpec(source=source, sink=sink))) is local
