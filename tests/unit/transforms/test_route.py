"""``route``: rows to the first output that takes them, or to every one; the rest to a default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Output, Rejected
from dataflow.connect.spec import parse
from dataflow.connect.transform import ERROR, ORDINAL
from dataflow.transforms.route_spec import SPEC
from tests.unit.transforms.rig import batch, opened, problems

SMALL = {"name": "small", "when": "n < 10"}
EVEN = {"name": "even", "when": "n % 2 = 0"}
CAST = {"name": "cast", "when": "CAST(t AS int) > 0"}


def applied(options: Mapping[str, Any], **columns: Any) -> Output:  # noqa: ANN401 - any data
    """Return what becomes of a batch."""
    return opened(SPEC, options).apply(batch(**columns))


def ordinals(output: Output) -> Mapping[str, Sequence[int | None]]:
    """Return which rows went where."""
    return {name: made.column(ORDINAL).to_pylist() for name, made in output.batches.items()}


@pytest.mark.parametrize(
    ("options", "went", "filtered", "produced"),
    [
        ({}, {"small": [0, 1], "even": [2]}, 2, 0),
        ({"default": "rest"}, {"small": [0, 1], "even": [2], "rest": [3, 4]}, 0, 0),
        ({"mode": "every"}, {"small": [0, 1], "even": [1, 2]}, 2, 1),
        (
            {"mode": "every", "default": "rest"},
            {"small": [0, 1], "even": [1, 2], "rest": [3, 4]},
            0,
            1,
        ),
    ],
)
def test_rows_go_where_an_expression_is_true_first_or_everywhere(
    options: Mapping[str, Any], went: Mapping[str, Sequence[int]], filtered: int, produced: int
) -> None:
    """NULL is not true; a second copy of a row is one more than came in."""
    output = applied({"routes": [SMALL, EVEN], **options}, n=[1, 4, 12, 13, None])
    assert ordinals(output) == went
    assert (output.filtered, output.produced, output.rejected) == (filtered, produced, None)


def test_in_first_a_row_that_is_taken_is_not_at_fault_for_a_later_route() -> None:
    """As in CASE: what is not needed is never at fault."""
    options = {"routes": [SMALL, CAST], "default": "rest"}
    output = applied(options, n=[1, 20, 20], t=["x", "x", "1"])
    assert ordinals(output) == {"small": [0], "cast": [2], "rest": []}
    assert output.rejected is not None
    (bad,) = output.rejected.to_pylist()
    assert bad[ORDINAL] == 1
    assert bad[ERROR].startswith("cast: 'x' is no int64")


def test_in_every_a_row_without_a_value_goes_nowhere() -> None:
    """It could be in half of its outputs, and nobody would know which half."""
    routes = [{"name": "late", "when": "CAST(t AS int) > 1"}, SMALL, CAST]
    options = {"mode": "every", "routes": routes, "default": "rest"}
    output = applied(options, n=[1, 1], t=["x", "1"])
    assert ordinals(output) == {"late": [], "small": [1], "cast": [1], "rest": []}
    assert output.rejected is not None
    (bad,) = output.rejected.to_pylist()
    assert (bad["t"], bad[ERROR].partition(":")[0]) == ("x", "late")
    assert (output.filtered, output.produced) == (0, 1)


def test_a_batch_that_goes_whole_to_one_output_is_not_copied() -> None:
    """A switch costs its mask and nothing else."""
    given = batch(n=[1, 2])
    output = opened(SPEC, {"routes": [SMALL, EVEN]}).apply(given)
    assert output.batches["small"] is given
    assert (output.batches["even"].num_rows, output.batches["even"].schema) == (0, given.schema)


def test_the_outputs_are_named_by_the_options() -> None:
    """Other steps read them as <id>.<name>."""
    text = '{"routes": [{"name": "a", "when": "x"}, {"name": "b", "when": "y"}], "default": "c"}'
    assert SPEC.outputs(parse(SPEC.options, text)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"routes": [{"name": "a", "when": "nope > 1"}]}, "routes[0].when", "unknown column"),
        ({"routes": [SMALL, {"name": "a", "when": "n + 1"}]}, "routes[1].when", "bool is needed"),
        ({"routes": [SMALL, {"name": "a", "when": "n >"}]}, "routes[1].when", "line 1, column 4"),
        ({"routes": [SMALL, SMALL]}, "routes[1].name", "'small' is used twice; join"),
        ({"routes": [SMALL], "default": "small"}, "default", "'small' is a route"),
    ],
)
def test_what_is_wrong_is_reported_at_creation_and_at_the_first_batch(
    options: Mapping[str, Any], field: str, said: str
) -> None:
    """By the path of the route."""
    ((path, message),) = problems(SPEC, options, {"n": "int64"})
    assert path == f"options.{field}"
    assert said in message
    with pytest.raises(Rejected) as raised:
        applied(options, n=[1])
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "é", "x" * 64])
def test_an_output_has_a_name_that_can_stand_behind_a_dot(name: str) -> None:
    """A dot parts the step from its output."""
    with pytest.raises(Rejected, match=r"routes\[0\]\.name"):
        opened(SPEC, {"routes": [{"name": name, "when": "TRUE"}]})


def test_expressions_are_bound_again_where_the_columns_change() -> None:
    """A schema that widens between two files is no error by itself."""
    step = opened(SPEC, {"routes": [SMALL]})
    assert ordinals(step.apply(batch(n=[1]))) == {"small": [0]}
    assert ordinals(step.apply(batch(n=pa.array([1.5, 11.0])))) == {"small": [0]}
