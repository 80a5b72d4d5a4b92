"""Columns are followed from a source that declares them through every step of a line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataflow.connect import Registry
from dataflow.connectors.console import SPEC as CONSOLE
from dataflow.connectors.file.source_spec import SPEC as FILE
from dataflow.core.errors import Invalid
from dataflow.core.spec import PipelineSpec, Sink, Source, Transform, canonical
from dataflow.engine.plan import plan
from dataflow.transforms.filter_spec import SPEC as FILTER
from dataflow.transforms.map_spec import SPEC as MAP


def problems(*steps: tuple[str, dict[str, Any]], declared: bool = True) -> list[tuple[str, str]]:
    """Return what is wrong with a line of steps behind a csv file of two columns."""
    options: dict[str, Any] = {"format": "csv"}
    if declared:
        options |= {"schema": {"a": "int64", "b": "string"}, "otherColumns": "drop"}
    transforms = tuple(
        Transform(transform_type=kind, options=json.dumps(given)) for kind, given in steps
    )
    spec = PipelineSpec(
        source=Source("file", "/in.csv", options=json.dumps(options)),
        transforms=transforms,
        sink=Sink("console"),
    )
    try:
        plan(Registry([FILE, CONSOLE, FILTER, MAP]), canonical(spec))
    except Invalid as error:
        return [(problem.field, problem.message) for problem in error.problems]
    return []


def test_a_step_is_checked_against_the_columns_of_the_step_before_it() -> None:
    """What a map renames is unknown to the filter behind it, by its old name."""
    rename = ("map", {"rename": {"a": "x"}, "cast": {"x": "string"}})
    assert problems(rename, ("filter", {"expression": "x = '1' AND b = 'y'"})) == []
    ((field, message),) = problems(rename, ("filter", {"expression": "a > 1"}))
    assert field == "transforms[1].options.expression"
    assert "unknown column 'a'" in message
    assert "columns: x, b" in message


def test_types_are_followed_too() -> None:
    """A cast in one step decides what the next one may compute."""
    cast = ("map", {"cast": {"a": "string"}})
    ((field, message),) = problems(cast, ("map", {"compute": {"c": "a + 1"}}))
    assert field == "transforms[1].options.compute.c"
    assert "line 1, column" in message


@pytest.mark.parametrize("declared", [True, False])
def test_after_a_step_with_a_problem_only_what_needs_no_columns_is_checked(
    declared: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """One mistake is reported once, and what is wrong by itself besides it."""
    found = problems(
        ("map", {"drop": ["nope"]}),
        ("filter", {"expression": "also_nope > 1"}),
        ("filter", {"expression": "a >"}),
        declared=declared,
    )
    fields = [field for field, _ in found]
    unknown = ["transforms[0].options.drop"] if declared else []
    assert fields == [*unknown, "transforms[2].options.expression"]
