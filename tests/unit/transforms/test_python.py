"""What is found wrong with a ``python`` step when a pipeline is created: nothing is run."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.connect import Rejected
from dataflow.transforms.python.spec import SPEC
from tests.unit.transforms.rig import problems, schema

F = {"function": "orders.prices:add_total"}


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"schema": {"a": "strin"}}, "options.schema.a", "string"),
        ({"schema": {"__ordinal": "int64"}}, "options.schema.__ordinal", "the engine's own"),
        ({"args": {"a-b": 1}}, "options.args.a-b", "can be called with"),
        ({"columns": ["b"]}, "options.columns", "unknown column 'b'; there are a"),
        ({"rowNumber": "a"}, "options.rowNumber", "there is a column 'a' already"),
        ({"rowNumber": "__error"}, "options.rowNumber", "the engine's own"),
    ],
)
def test_problems_are_told_by_their_path(options: dict[str, Any], field: str, said: str) -> None:
    """All that can be known without the function."""
    ((path, message),) = problems(SPEC, {**F, **options}, {"a": "int64"})
    assert path == field
    assert said in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"function": "orders.prices"}, "write module:function"),
        ({"function": "../x:f"}, "write module:function"),
        ({"timeLimit": "2h"}, "from 10ms to 1h"),
        ({"timeLimit": "0"}, "from 10ms to 1h"),
        ({"importLimit": "1ms"}, "from 10ms to 1h"),
        ({"memoryLimit": 1000}, "134217728"),
        ({"frame": "pandas"}, "arrow"),
        ({"environment": ["A=B"]}, "is no name of a variable"),
        ({"schema": {}}, "at least 1"),
        ({"schema": [{"name": "a", "type": "int64"}] * 2}, "used twice"),
        ({"pythonpath": ["x"]}, "unknown option"),
    ],
)
def test_an_option_out_of_bounds_is_refused(options: dict[str, Any], said: str) -> None:
    """A limit of nothing would refuse every batch."""
    with pytest.raises(Rejected, match=said):
        problems(SPEC, {**F, **options})


def test_columns_are_known_where_they_are_declared() -> None:
    """In their order, also as a list; else only the function knows."""
    assert schema(SPEC, F, {"a": "int64"}) is None
    declared = [{"name": "b", "type": "float"}, {"name": "a", "type": "text"}]
    known = schema(SPEC, {**F, "schema": declared}, {"x": "int64"})
    assert known is not None
    assert list(known.items()) == [("b", "float64"), ("a", "string")]


def test_columns_that_are_not_given_are_known_too() -> None:
    """They stay where they are; one that is given and not returned goes."""
    options = {**F, "columns": ["a", "b"], "schema": {"new": "bool", "b": "text"}}
    known = schema(SPEC, options, {"a": "int64", "x": "date", "b": "int64"})
    assert known is not None
    assert list(known.items()) == [("x", "date"), ("b", "string"), ("new", "bool")]
