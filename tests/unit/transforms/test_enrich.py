"""``enrich``: who is asked how often, and what becomes of keys that are not known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from dataflow.connect import Rejected, Transform
from dataflow.connect.spec import Registry, parse
from dataflow.connect.testkit import TransformSuite
from dataflow.connect.transform import ERROR
from dataflow.core.spec import OnError
from dataflow.transforms.enrich_spec import SPEC
from tests.unit.transforms.lookups import MEMORY, enrich, keyed
from tests.unit.transforms.operators import Clock
from tests.unit.transforms.rig import CONTEXT, batch, problems, rows, schema

KNOWN = {"a": {"v": "1"}, "b": {"v": "2"}}
ENRICH = Registry([MEMORY, SPEC]).transform("enrich")
OPTIONS = {"keys": ["k"], "columns": {"v": "int64"}, "lookup": {"type": "memory"}}


class TestEnrich(TransformSuite):
    """Rows that are known, that are not, that are refused and that are dropped."""

    def transform(self) -> Transform:
        return enrich({**KNOWN, "odd": {"v": "x"}}, missing="drop")[0]

    def batches(self) -> Any:  # noqa: ANN401 - a sequence of batches
        return [keyed(["a", None, "c", "odd"]), keyed(["b", "a"], 4), keyed(["c"], 6)]


def test_each_key_of_a_batch_is_asked_once_and_not_again() -> None:
    """However often it comes; a row without a key asks nothing."""
    step, lookup = enrich(KNOWN)
    output = step.apply(keyed(["b", "a", "b", None, "c"]))
    assert [row["v"] for row in rows(output)] == [2, 1, 2, None, None]
    step.apply(keyed(["c", "a", "d"]))
    assert lookup.asked == [["b", "a", "c"], ["d"]]


def test_answers_grow_old_and_those_of_nothing_sooner() -> None:
    """A key that is not known today may be tomorrow."""
    clock = Clock()
    step, lookup = enrich(KNOWN, clock, ttl="60s", missingTtl="10s")
    for seconds in (0, 9, 1, 49, 1):
        clock.sleep(seconds=seconds)
        step.apply(keyed(["a", "c"]))
    assert lookup.asked == [["a", "c"], ["c"], ["c"], ["a"]]


def test_a_lookup_is_asked_for_so_many_keys_at_a_time() -> None:
    """As many as it says that it takes."""
    step, lookup = enrich({})
    lookup.keys_max = 2
    step.apply(keyed(["a", "b", "c", "d", "e"]))
    assert lookup.asked == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("bound", [{"cacheRows": 100}, {"cacheBytes": 800}], ids=["rows", "bytes"])
def test_the_oldest_answers_go_where_there_are_too_many(bound: Mapping[str, int]) -> None:
    """And rows come out right whatever is kept."""
    clock = Clock()
    known = {str(n): {"v": str(n)} for n in range(1_000)}
    step, lookup = enrich(known, clock, **bound)
    for first in range(0, 1_000, 50):
        clock.sleep(seconds=1)
        asked = [str(n) for n in range(first, first + 50)]
        assert [row["v"] for row in rows(step.apply(keyed(asked)))] == [*range(first, first + 50)]
        assert len(step._answers) <= 100
    lookup.asked.clear()
    step.apply(keyed(["999", "0"]))
    assert lookup.asked == [["0"]]


def test_a_local_lookup_is_asked_each_time() -> None:
    """What it has in memory is newer than what was kept of it."""
    step, lookup = enrich(KNOWN)
    lookup.is_local = True
    again = type(step)(step._options, lookup, CONTEXT)
    for _ in range(2):
        again.apply(keyed(["a"]))
    assert lookup.asked == [["a"], ["a"]]


@pytest.mark.parametrize(
    ("missing", "on_error", "out", "filtered", "refused"),
    [
        ("null", OnError.UNSPECIFIED, ["a", "x"], 0, []),
        ("drop", OnError.UNSPECIFIED, ["a"], 1, []),
        ("fail", OnError.FAIL, ["a"], 0, ["x"]),
        ("dead-letter", OnError.DEAD_LETTER, ["a"], 0, ["x"]),
    ],
)
def test_a_key_that_is_not_known_goes_as_missing_says(
    missing: str, on_error: OnError, out: list[str], *, filtered: int, refused: list[str]
) -> None:
    """Refused rows then go as ``onError`` says, which ``missing`` says too."""
    step, _ = enrich(KNOWN, missing=missing)
    assert step._options.on_error is on_error
    output = step.apply(keyed(["a", "x"]))
    assert [row["k"] for row in rows(output)] == out
    assert output.filtered == filtered
    found = output.rejected.to_pylist() if output.rejected is not None else []
    assert [row["k"] for row in found] == refused
    assert all(row[ERROR] == "the lookup knows nothing of this k" for row in found)


def test_a_row_whose_answer_is_no_value_is_refused_and_asked_again() -> None:
    """Its neighbours pass."""
    step, lookup = enrich({**KNOWN, "odd": {"v": "x"}})
    lookup.errors = {"bad": "the service says no"}
    for _ in range(2):
        output = step.apply(keyed(["odd", "a", "bad"]))
        assert [row["k"] for row in rows(output)] == ["a"]
        assert output.rejected is not None
        said = [row[ERROR] for row in output.rejected.to_pylist()]
        assert said[0].startswith("v: 'x' is no int64")
        assert said[1] == "the service says no"
    assert lookup.asked == [["odd", "a", "bad"], ["odd", "bad"]]


def test_several_rows_for_a_key_are_refused() -> None:
    """Which one is meant would be an accident."""
    step, lookup = enrich(KNOWN)
    lookup.twice = True
    output = step.apply(keyed(["a", "c"]))
    assert output.rejected is not None
    assert [row[ERROR] for row in output.rejected.to_pylist()] == [
        "the lookup has several rows for this key; let it give one"
    ]


def test_columns_come_behind_those_that_came_in_with_their_prefix() -> None:
    """And before the engine's own."""
    step, lookup = enrich(KNOWN, prefix="their_")
    output = step.apply(keyed(["a"]))
    assert output.batches[""].schema.names == ["k", "their_v", "__ordinal"]
    step.close()
    assert lookup.closed
    assert schema(ENRICH, {**OPTIONS, "prefix": "p_"}, {"k": "string"}) == {
        "k": "string",
        "p_v": "int64",
    }


def test_a_column_that_comes_in_already_is_refused() -> None:
    """Also where no columns were known before."""
    with pytest.raises(Rejected, match="'v' comes in already; give a prefix"):
        enrich(KNOWN)[0].apply(batch(k=["a"], v=[1]))


@pytest.mark.parametrize(
    ("options", "columns", "field", "said"),
    [
        ({"keys": ["x"]}, {"k": "string"}, "options.keys[0]", "unknown column 'x'"),
        ({"columns": {"v": "list<int64>"}}, None, "options.columns.v", "no lookup answers with"),
        ({"columns": {"v": "integr"}}, None, "options.columns.v", "integr"),
        ({}, {"k": "string", "v": "int64"}, "options.columns.v", "comes in already"),
    ],
)
def test_wrong_options_are_reported_when_the_pipeline_is_created(
    options: Mapping[str, Any], columns: Mapping[str, str] | None, field: str, said: str
) -> None:
    """By their path."""
    ((found, message),) = problems(ENRICH, {**OPTIONS, **options}, columns)
    assert found == field
    assert said in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lookup": {"type": "no"}}, "'no'"),
        ({"missing": "fail", "onError": "skip"}, "missing is fail, and onError skip; give one"),
    ],
)
def test_an_unknown_lookup_and_two_wills_are_refused(options: Mapping[str, Any], said: str) -> None:
    """With those that there are."""
    with pytest.raises(Rejected, match=said):
        parse(ENRICH.options, json.dumps({**OPTIONS, **options}))
