"""``join``: tables that are replaced, streams that forget, names, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Operator, Rejected, TransformStep, Via
from dataflow.connect.spec import parse
from dataflow.transforms.join_spec import SPEC
from tests.unit.transforms.operators import Clock, operator, problems_of, shown, with_more
from tests.unit.transforms.rig import batch

LEFT, RIGHT = Via("left", "l"), Via("right", "r")
KEYS = {"leftKeys": ["k"], "rightKeys": ["k"]}
STREAMS = {**KEYS, "within": "10s", "leftTime": "t", "rightTime": "t"}


def join(options: Mapping[str, Any], clock: Clock | None = None) -> Operator:
    """Return a join of two inputs, each of one split that does not idle."""
    step = operator(SPEC, {**KEYS, **options}, [LEFT.input, RIGHT.input], clock)
    for via in (LEFT, RIGHT):
        step.splits(via.input, [via.split], idles=False)
    return step


def at(second: int, key: str = "a", **columns: Any) -> pa.RecordBatch:  # noqa: ANN401 - of any type
    """Return a row of one moment."""
    times = pa.array([second], pa.timestamp("s"))
    values = {name: [value] for name, value in columns.items()}
    return pa.RecordBatch.from_pydict({"k": [key], "t": times, **values})


def test_the_table_is_the_right_and_read_first() -> None:
    """Or the left, where that is said."""
    assert join({}).first == ("right",)
    assert join({"table": "left"}).first == ("left",)
    assert join(STREAMS).first == ()


def test_a_table_that_is_read_again_takes_the_place_of_the_one_before() -> None:
    """A table on a schedule: rows that are gone from it join nothing."""
    step = join({})
    found = []
    for keys in (["a", "b"], ["b", "c"]):
        step.input_begins("right")
        step.apply(batch(k=keys, v=[1, 2]), RIGHT)
        step.input_ended("right")
        found.append(shown(step.apply(batch(k=["a", "b", "c"]), LEFT)))
    assert found == [
        [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
        [{"k": "b", "v": 1}, {"k": "c", "v": 2}],
    ]


def test_a_replaced_table_is_the_one_that_is_restored() -> None:
    """A change says that it takes the place of all before."""
    step = join({})
    step.apply(batch(k=["a"], v=[1]), RIGHT)
    parts = [step.changes(whole=True)]
    step.input_begins("right")
    step.apply(batch(k=["b"], v=[2]), RIGHT)
    parts.append(step.changes(whole=False))
    again = join({})
    again.restore([part for part in parts if part is not None])
    assert shown(again.apply(batch(k=["a", "b"]), LEFT)) == [{"k": "b", "v": 2}]


def test_rows_of_the_table_without_a_partner_come_once_behind_the_stream() -> None:
    """Also where a later run says again that the stream has ended."""
    step = join({"type": "right"})
    step.apply(batch(k=["a", "b"], v=[1, 2]), RIGHT)
    step.input_ended("right")
    step.apply(batch(k=["a"], n=[7]), LEFT)
    assert shown(step.input_ended("left")) == [{"k": "b", "n": None, "v": 2}]
    state = step.changes(whole=True)
    assert state is not None
    again = join({"type": "right"})
    again.restore([state])
    again.input_ended("right")
    assert shown(again.input_ended("left")) == []


def test_a_taken_name_gets_a_suffix_and_a_shared_key_is_one_column() -> None:
    """As with SQL's USING; keys of different names are both there."""
    step = join({"leftKeys": ["k", "x"], "rightKeys": ["k", "y"], "suffix": "2"})
    step.apply(batch(k=["a"], y=[1], v=["right"]), RIGHT)
    rows = shown(step.apply(batch(k=["a"], x=[1], v=["left"]), LEFT))
    assert rows == [{"k": "a", "x": 1, "v": "left", "y": 1, "v2": "right"}]


def test_rows_of_streams_meet_within_the_time_both_ends_included() -> None:
    """However the streams take turns."""
    step = join(STREAMS)
    step.apply(at(100, n=1), LEFT)
    found = [len(shown(step.apply(at(second), RIGHT))) for second in (89, 90, 110, 111)]
    assert found == [0, 1, 1, 0]
    assert len(shown(step.apply(at(100, n=2), LEFT))) == 2


def test_a_row_without_a_partner_comes_when_the_other_stream_has_passed_it() -> None:
    """And takes no memory from then on."""
    step = join({**STREAMS, "type": "left"})
    step.apply(at(100, n=1), LEFT)
    assert shown(step.apply(at(110, key="x", m=1), RIGHT)) == []
    (row,) = shown(step.apply(at(111, key="x", m=2), RIGHT))
    assert (row["n"], row["m"]) == (1, None)
    late = shown(step.apply(at(100, n=3), LEFT))
    assert [row["n"] for row in late] == [3]


def test_a_split_that_idles_does_not_hold_the_other_stream_up() -> None:
    """After its time it is left out; a tick says so."""
    clock = Clock()
    step = operator(
        SPEC, {**STREAMS, "type": "left", "idleTimeout": "30s"}, ["left", "right"], clock
    )
    step.splits("left", ["l"], idles=True)
    step.splits("right", ["r", "quiet"], idles=True)
    step.apply(at(100, n=1), LEFT)
    step.apply(at(200, key="x", m=1), RIGHT)
    clock.sleep(seconds=29)
    assert shown(step.tick(clock.now())) == []
    clock.sleep(seconds=1)
    assert [row["n"] for row in shown(step.tick(clock.now()))] == [1]


def test_an_ended_stream_lets_the_rows_of_the_other_go_at_once() -> None:
    """No partner can come."""
    step = join({**STREAMS, "type": "full"})
    step.apply(at(1, key="x", m=1), RIGHT)
    step.apply(at(100, n=1), LEFT)
    assert [row["n"] for row in shown(with_more(step, step.input_ended("right")))] == [1]
    assert [row["n"] for row in shown(step.apply(at(101, n=2), LEFT))] == [2]


def test_streams_that_go_on_take_no_more_memory() -> None:
    """A million rows pass, of which some ten thousand may still meet."""
    step = join(STREAMS)
    most = pairs = 0
    for first in range(0, 500_000, 25_000):
        numbers = pa.array(range(first, first + 25_000))
        times = pa.compute.multiply(numbers, 1_000).cast(pa.timestamp("us"))
        for via in (LEFT, RIGHT):
            output = step.apply(pa.record_batch({"k": numbers, "t": times}), via)
            pairs += with_more(step, output).produced
            step.changes(whole=False)
            most = max(most, step.state_bytes)
    assert pairs == 500_000
    assert most < 24 << 20


def test_a_side_that_ends_without_a_row_is_refused_where_its_columns_are_needed() -> None:
    """They would be NULL, of types that nobody has told."""
    step = join({"type": "left"})
    step.input_ended("right")
    with pytest.raises(Rejected, match="the right has ended without a row"):
        step.apply(batch(k=["a"]), LEFT)
    assert shown(join({}).apply(batch(k=["a"]), LEFT)) == []


def test_rows_left_behind_are_noticed() -> None:
    """An engine that does not ask for the rest would lose rows without a word."""
    step = join({})
    step.apply(batch(k=["a"] * 1_000), RIGHT)
    step.apply(batch(k=["a"] * 1_000), LEFT)
    with pytest.raises(Rejected, match="rest was not asked for"):
        step.apply(batch(k=["a"]), LEFT)


def test_keys_of_two_types_are_refused_when_rows_come() -> None:
    """Where no columns were known before."""
    step = join({})
    step.apply(batch(k=["a"]), RIGHT)
    with pytest.raises(Rejected, match=r"'k' is string, and 'k' of the left is int64; cast one"):
        step.apply(batch(k=[1]), LEFT)


@pytest.mark.parametrize(
    ("options", "columns", "field", "said"),
    [
        ({"rightKeys": ["k", "v"]}, [None, None], "options.rightKeys", "as many as leftKeys"),
        ({}, [{"x": "int64"}, None], "options.leftKeys[0]", "unknown column 'k'; there are x"),
        ({}, [{"k": "int64"}, {"k": "string"}], "options.rightKeys[0]", "'k' is string, and 'k'"),
        ({"within": "1s", "leftTime": "t"}, [None, None], "options.rightTime", "missing"),
        ({"leftTime": "t"}, [None, None], "options.leftTime", "needs within"),
        ({**STREAMS, "table": "left"}, [None, None], "options.table", "either within or table"),
        ({"type": "semi", "table": "left"}, [None, None], "options.table", "rows of the left"),
        (STREAMS, [{"k": "int64", "t": "int64"}, None], "options.leftTime", "'t' is int64"),
        (
            {},
            [{"k": "int64", "v": "int64", "v_right": "int64"}, {"k": "int64", "v": "int64"}],
            "options.suffix",
            "'v_right' would be there twice",
        ),
    ],
)
def test_wrong_options_are_reported_when_the_pipeline_is_created(
    options: Mapping[str, Any],
    columns: Sequence[Mapping[str, str] | None],
    field: str,
    said: str,
) -> None:
    """By their path, with the columns of each input where they are known."""
    (problem,) = problems_of(SPEC, {**KEYS, **options}, *columns)
    assert problem.field == field
    assert said in problem.message


def test_an_input_cannot_be_joined_with_itself() -> None:
    """Its rows would come once, and nobody could tell for which side."""
    assert SPEC.check_inputs is not None
    step = TransformStep(id="t1", transform_type="join", inputs=("a", "a"))
    options = parse(SPEC.options, '{"leftKeys": ["k"], "rightKeys": ["k"]}')
    (problem,) = SPEC.check_inputs(step, options, [None, None])
    assert problem.field == "inputs"


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("full", {"k": "int64", "v": "int64", "v_right": "string", "w": "bool"}),
        ("anti", {"k": "int64", "v": "int64"}),
    ],
)
def test_the_columns_that_go_out_are_known_before(kind: str, columns: Mapping[str, str]) -> None:
    """So the steps behind it are checked when the pipeline is created."""
    assert SPEC.schema_of_inputs is not None
    step = TransformStep(id="t1", transform_type="join", inputs=("a", "b"))
    text = f'{{"type": "{kind}", "leftKeys": ["k"], "rightKeys": ["k"]}}'
    inputs = [{"k": "int64", "v": "int64"}, {"k": "int64", "v": "string", "w": "bool"}]
    assert SPEC.schema_of_inputs(step, parse(SPEC.options, text), inputs) == columns
