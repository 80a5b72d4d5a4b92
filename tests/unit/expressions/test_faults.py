"""Rows at fault: which, why, and that a value that is not needed is never at fault."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from dataflow.core.errors import Code
from dataflow.expressions import ExpressionError, RowsRejected, frame, parse
from dataflow.expressions.compile import Outcome, compile_expression

N = None

FAULTY = [
    ("i + 1", {1: "9223372036854775807 + 1 does not fit in int64"}),
    ("i - 1", {3: "-9223372036854775808 - 1 does not fit in int64"}),
    ("i * 2", {
        1: "9223372036854775807 * 2 does not fit in int64",
        3: "-9223372036854775808 * 2 does not fit in int64",
    }),
    ("-i", {3: "the opposite of -9223372036854775808 does not fit in int64"}),
    ("abs(i)", {3: "the opposite of -9223372036854775808 does not fit in int64"}),
    ("u + 1", {2: "18446744073709551615 + 1 does not fit in uint64"}),
    ("u - 1", {0: "0 - 1 does not fit in uint64"}),
    ("u * 2", {2: "18446744073709551615 * 2 does not fit in uint64"}),
    ("round(i, -1)", {
        1: "9223372036854775807 rounded does not fit in int64",
        3: "-9223372036854775808 rounded does not fit in int64",
    }),
    ("round(p, 1)", {3: "99999999.99 rounded does not fit in decimal(10, 2)"}),
    ("ceil(p)", {3: "99999999.99 rounded does not fit in decimal(10, 2)"}),
    ("to_timestamp(iso, '%Y-%m-%d')", {
        1: "'2024-01-01T10:00:00.1234567Z' is not in the format '%Y-%m-%d'",
        3: "'2024-02-30' is not in the format '%Y-%m-%d'",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("text", "faults"), FAULTY, ids=[text for text, _ in FAULTY])
def test_a_row_at_fault_says_why(
    rows: Callable[[str], Outcome], text: str, faults: dict[int, str]
) -> None:
    """The message goes with the record to the dead letters: it must be enough to mend it."""
    outcome = rows(text)
    assert outcome.faults is not None
    found = dict(
        zip(outcome.faults.rows.to_pylist(), outcome.faults.messages.to_pylist(), strict=True)
    )
    assert {
        row: str(message).rpartition(" (line 1, column ")[0] for row, message in found.items()
    } == (faults)
    assert [outcome.values[row].as_py() for row in faults] == [None] * len(faults)


GUARDED = [
    ("CASE WHEN num = '1' THEN num::int64 ELSE -1 END", [1, -1, -1, -1]),
    ("CASE WHEN num = 'x' THEN -1 WHEN n = 1 THEN num::int64 ELSE 0 END", [1, -1, 0, 0]),
    ("CASE num WHEN 'x' THEN 0 WHEN '1' THEN num::int64 END", [1, 0, N, N]),
    ("CASE WHEN num = 'x' OR n > 9 THEN 'bad' WHEN num::int64 > 1 THEN 'big' END",
     [N, "bad", "big", "bad"]),
    ("if(length(num) < 5 AND num <> 'x', num::int64, 0)", [1, 0, 2, 0]),
    ("coalesce(nullif(num, num), 'y')", ["y"] * 4),
    ("num <> 'x' AND n < 9 AND num::int64 > 0", [True, False, True, False]),
    ("num = 'x' OR n > 9 OR num::int64 > 1", [False, True, True, True]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), GUARDED, ids=[text for text, _ in GUARDED])
def test_what_is_not_needed_is_not_at_fault(
    compute: Callable[[str], list[object]], text: str, expected: list[object]
) -> None:
    """CASE WHEN is how people guard a conversion: computing both branches must not betray it."""
    assert compute(text) == expected


def test_only_the_rows_that_need_a_value_can_miss_it(rows: Callable[[str], Outcome]) -> None:
    """The guard is a row's own: the same conversion fails where it is needed."""
    outcome = rows("coalesce(z, num::int64)")
    assert outcome.faults is not None
    assert outcome.faults.rows.to_pylist() == [3]
    assert outcome.values.to_pylist() == [0, 2, -1, None]


def test_a_row_is_at_fault_once(rows: Callable[[str], Outcome]) -> None:
    """A record goes to the dead letters once, with the first thing that was wrong with it."""
    outcome = rows("num::int64 + iso::date::string::int64")
    assert outcome.faults is not None
    assert outcome.faults.rows.to_pylist() == [0, 1, 3]
    assert outcome.faults.messages[1].as_py() == "'x' is no int64 (line 1, column 4)"
    assert outcome.faults.offsets.to_pylist() == [30, 3, 3]


def test_evaluate_raises_for_the_first_row(batch: pa.RecordBatch) -> None:
    """With onError = fail the pipeline stops, and its error is all that people get to see."""
    compiled = compile_expression(parse("n > 0 AND\n num::int64 > 0"), batch.schema)
    with pytest.raises(RowsRejected) as raised:
        compiled.evaluate(batch)
    assert raised.value.code == Code.RECORD_REJECTED
    assert (raised.value.line, raised.value.column, raised.value.rows) == (2, 5, 2)
    assert raised.value.message == (
        "line 2, column 5: row 1: 'x' is no int64, and 1 more like it\n   num::int64 > 0\n      ^^"
    ).replace("^^", "^")


def test_a_constant_without_a_value_is_refused_when_compiled(batch: pa.RecordBatch) -> None:
    """Every row would fail: that is the expression's fault, and known before the first one."""
    with pytest.raises(ExpressionError, match=r"column 21: 9223372036854775807 \+ 1 does not fit"):
        compile_expression(parse("9223372036854775807 + 1"), batch.schema)


@pytest.mark.parametrize(
    "text",
    [
        "replace(replace(replace(s, 'a', 'AA'), 'a', 'AA'), 'a', 'AA')",
        r"regexp_replace(regexp_replace(regexp_replace(s, '(.)', '\1AA'), '.', 'AA'), '.', 'AA')",
    ],
)
def test_a_text_that_grows_past_its_limit_is_at_fault(text: str) -> None:
    """Three nested replacements of 500 characters would make 125 MB of one letter."""
    many = text.replace("AA", "a" * 500)
    batch = pa.record_batch({"s": ["a", "", None]})
    outcome = compile_expression(parse(many), batch.schema).evaluate_rows(batch)
    assert outcome.faults is not None
    assert outcome.faults.rows.to_pylist() == [0]
    assert "grows past" in outcome.faults.messages[0].as_py()
    assert outcome.values.to_pylist() == [None, "", None]


def test_a_batch_whose_texts_grow_too_much_is_refused() -> None:
    """A thousand rows of a megabyte each are no row's fault, and would end the worker."""
    batch = pa.record_batch({"s": ["a" * 1_000] * 400})
    compiled = compile_expression(parse(f"replace(s, 'a', '{'b' * 1_000}')"), batch.schema)
    assert len(compiled.evaluate(batch.slice(0, 10))) == 10
    with pytest.raises(ExpressionError, match="grow past 268,435,456 bytes") as raised:
        compiled.evaluate(batch)
    assert raised.value.code == Code.TOO_LARGE


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("v::int64", pa.array(["N/A", "x1"] * 50_000)),
        ("v::int64", pa.array([f"bad{i}" for i in range(100_000)])),
        ("v::timestamp", pa.array(["31.12.2023"] * 100_000)),
        ("v * 4", pa.array([2**62] * 100_000)),
        ("v + v", pa.array([2**63 - 1] * 100_000)),
        ("strptime(v, '%d.%m.%Y')", pa.array(["30.02.2024"] * 100_000)),
    ],
    ids=["words", "distinct words", "dates", "products", "sums", "formats"],
)
def test_a_batch_of_nothing_but_faults_is_found_by_kernels(
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    column: pa.Array,  # type: ignore[type-arg]  # of several types
) -> None:
    """A wrong column type fails every row: searching them one by one would take seconds."""
    batch = pa.record_batch({"v": column})
    monkeypatch.delattr(frame, "_search")
    compiled = compile_expression(parse(text), batch.schema)
    outcome = compiled.evaluate_rows(batch)
    assert outcome.faults is not None
    assert len(outcome.faults) == 100_000


def test_faults_that_no_kernel_finds_are_searched_by_halves() -> None:
    """A few bad rows among many cost a few calls, whatever the kernel."""
    days = ["2024-02-28"] * 100_000
    for row in (0, 17, 99_999):
        days[row] = "2024-02-30"
    batch = pa.record_batch({"v": days})
    outcome = compile_expression(parse("v::date"), batch.schema).evaluate_rows(batch)
    assert outcome.faults is not None
    assert outcome.faults.rows.to_pylist() == [0, 17, 99_999]
