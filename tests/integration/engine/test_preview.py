"""A preview shows what each step does to real records, and leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dataflow.app.builtin import registry
from dataflow.app.clock import SystemClock
from dataflow.app.contexts import Contexts, Paths
from dataflow.core.errors import Rejected, Waiting
from dataflow.core.spec import PipelineSpec, Sink, Source, Transform, canonical
from dataflow.engine import preview as module
from dataflow.engine.ingest import FileLogs
from dataflow.engine.plan import plan
from dataflow.engine.preview import preview
from dataflow.engine.records import GivenRecords, PreviewStep

CLOSED = '{"schema": {"a": "int64", "b": "string"}, "otherColumns": "drop"}'
"""Options that name every column."""


async def previewed(
    tmp_path: Path, spec: PipelineSpec, records: int, **given: Sequence[str]
) -> list[PreviewStep]:
    """Preview a pipeline with the steps that come with the platform."""
    logs = FileLogs(tmp_path / "ingest")
    contexts = Contexts(SystemClock(), Paths(()), logs.log, lambda _: None)
    planned = plan(registry(), canonical(spec))
    instead = {name: GivenRecords(tuple(texts)) for name, texts in given.items()}
    try:
        return list(await preview(planned, contexts, SystemClock(), records, given=instead))
    finally:
        await logs.close()


def line(tmp_path: Path, *transforms: Transform, source: Source | None = None) -> PipelineSpec:
    """Return a pipeline from a csv file of four rows, one of them malformed."""
    (tmp_path / "in.csv").write_text("a,b\n1,x\n2,y\nthree,z\n4,w\n")
    options = '{"schema": {"a": "int64", "b": "string"}}'
    return PipelineSpec(
        source=source or Source("file", str(tmp_path / "in.csv"), options=options),
        transforms=transforms,
        sink=Sink("file", str(tmp_path / "out.csv")),
    )


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return [path.name for path in folder.iterdir()]


async def test_every_step_shows_what_it_made_of_the_records(tmp_path: Path) -> None:
    """And nothing is written anywhere."""
    steps = await previewed(
        tmp_path,
        line(
            tmp_path,
            Transform("big", "filter", options='{"expression": "a > 1"}'),
            Transform("more", "map", options='{"compute": {"c": "a * 2"}}'),
        ),
        10,
    )
    assert [step.step for step in steps] == ["source", "big", "more"]
    assert steps[0].columns == [("a", "int64"), ("b", "string")]
    assert [letter.record for letter in steps[0].rejected] == ["three,z"]
    assert steps[1].filtered == 1
    counts = [(step.records_in, step.records_out) for step in steps]
    assert counts == [(4, 3), (3, 2), (2, 2)]
    assert list(steps[2].records) == ['{"a":2,"b":"y","c":4}', '{"a":4,"b":"w","c":8}']
    assert names(tmp_path) == ["in.csv"]


async def test_a_preview_reads_no_more_than_asked(tmp_path: Path) -> None:
    """The first records are enough to see."""
    steps = await previewed(tmp_path, line(tmp_path), 2)
    assert list(steps[0].records) == ['{"a":1,"b":"x"}', '{"a":2,"b":"y"}']


async def test_rows_that_a_step_cannot_handle_are_shown_with_why(tmp_path: Path) -> None:
    """That is what a preview is for."""
    cast = Transform("number", "map", options='{"cast": {"b": "int64"}}')
    steps = await previewed(tmp_path, line(tmp_path, cast), 2)
    assert list(steps[1].records) == []
    assert [letter.step for letter in steps[1].rejected] == ["number", "number"]
    assert "b" in steps[1].rejected[0].error


async def test_given_records_are_taken_and_their_source_is_not_opened(tmp_path: Path) -> None:
    """Whoever writes a pipeline has an example at hand, and perhaps no right to its source."""
    big = Transform("big", "filter", options='{"expression": "a > 1"}')
    gone = Source("file", str(tmp_path / "gone.csv"), options=CLOSED)
    steps = await previewed(
        tmp_path, line(tmp_path, big, source=gone), 1, source=['{"a": 1}', '{"a": 2, "b": "y"}']
    )
    assert list(steps[0].records) == ['{"a":1,"b":null}']
    assert list(steps[1].records) == ['{"a":2,"b":"y"}']
    assert [(step.records_in, step.records_out) for step in steps] == [(2, 2), (2, 1)]


async def test_given_records_show_types_where_the_source_declares_none(tmp_path: Path) -> None:
    """As its own first records would."""
    gone = Source("file", str(tmp_path / "gone.json"))
    steps = await previewed(tmp_path, line(tmp_path, source=gone), 9, source=['{"n": 1.5}', "{}"])
    assert steps[0].columns == [("n", "double")]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"source": ['{"a": "x"}']}, "given.source.records[0].a"),
        ({"source": ['{"a": 1}', '{"c": 1}']}, "given.source.records[1].c"),
        ({"sauce": ["{}"]}, "given.sauce"),
    ],
)
async def test_given_records_that_do_not_fit_are_named(
    tmp_path: Path, given: dict[str, Sequence[str]], field: str
) -> None:
    """By where they stand in the request."""
    source = Source("file", str(tmp_path / "gone.csv"), options=CLOSED)
    with pytest.raises(Rejected) as told:
        await previewed(tmp_path, line(tmp_path, source=source), 9, **given)
    assert told.value.field == field


async def test_a_missing_file_is_said_at_once(tmp_path: Path) -> None:
    """Nobody waits in front of a preview for a file to appear."""
    spec = line(tmp_path, source=Source("file", str(tmp_path / "gone.csv")))
    with pytest.raises(Waiting):
        await previewed(tmp_path, spec, 2)


async def test_an_unknown_column_is_said_with_those_there_are(tmp_path: Path) -> None:
    """The schema is known only now."""
    spec = line(
        tmp_path,
        Transform("f", "filter", options='{"expression": "c > 1"}'),
        source=Source("file", str(tmp_path / "in.csv")),
    )
    with pytest.raises(Rejected, match="columns: a, b"):
        await previewed(tmp_path, spec, 2)


async def test_a_source_that_has_nothing_yet_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push source may stay silent for ever."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    source = Source("push", options='{"schema": {"a": "int64"}}')
    assert await previewed(tmp_path, line(tmp_path, source=source), 2) == []


async def test_a_graph_shows_what_each_output_and_each_end_brings(tmp_path: Path) -> None:
    """Sources are read as if they ended, so a step that answers at the end has answered."""
    (tmp_path / "in.csv").write_text("a,b\n1,x\n2,y\n3,x\n4,w\n")
    options = '{"schema": {"a": "int64", "b": "string"}}'
    routes = '{"routes": [{"name": "big", "when": "a > 2"}], "default": "small"}'
    sums = '{"groupBy": ["b"], "aggregates": {"n": "count()"}}'
    spec = PipelineSpec(
        sources={"rows": Source("file", str(tmp_path / "in.csv"), options=options)},
        transforms=(
            Transform("sized", "route", ("rows",), routes),
            Transform("sums", "aggregate", ("rows",), sums),
        ),
        sinks={
            "big": Sink("file", str(tmp_path / "big.csv"), input="sized.big"),
            "small": Sink("file", str(tmp_path / "small.csv"), input="sized.small"),
            "to-sums": Sink("file", str(tmp_path / "sums.csv"), input="sums"),
        },
    )
    steps = {step.step: step for step in await previewed(tmp_path, spec, 10)}
    assert list(steps["sized.big"].records) == ['{"a":3,"b":"x"}', '{"a":4,"b":"w"}']
    assert (steps["sized.small"].records_in, steps["sized.small"].records_out) == (4, 2)
    assert sorted(steps["sums"].records) == [
        '{"b":"w","n":1}',
        '{"b":"x","n":2}',
        '{"b":"y","n":1}',
    ]
    assert (steps["sums"].records_absorbed, steps["sums"].records_produced) == (4, 3)
