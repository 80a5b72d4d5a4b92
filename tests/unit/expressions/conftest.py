"""One small batch with a column of each type, and expressions computed on it."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from decimal import Decimal

import pyarrow as pa
import pytest

from dataflow.expressions import parse
from dataflow.expressions.compile import Outcome, compile_expression, to_arrow

Compute = Callable[[str], list[object]]
Rows = Callable[[str], Outcome]


@pytest.fixture(scope="session")
def batch() -> pa.RecordBatch:
    """Four rows: ordinary, awkward, NULL (mostly), extreme."""
    structs = pa.struct([("b", pa.struct([("c", pa.int64())])), ("s", pa.large_string())])
    return pa.record_batch(
        {
            "x": pa.array([1.5, None, float("nan"), 200.0]),
            "f": pa.array([1.5, None, -0.5, 16777216.0], pa.float32()),
            "s": pa.array(["DE", "fré", None, "12"]),
            "n": pa.array([1, None, -7, 2**31 - 1], pa.int32()),
            "i": pa.array([1, 2**63 - 1, None, -(2**63)]),
            "z": pa.array([0, 2, -1, None]),
            "u": pa.array([0, 1, 2**64 - 1, None], pa.uint64()),
            "tiny": pa.array([1, 127, None, -128], pa.int8()),
            "p": pa.array(
                [Decimal("1.25"), Decimal("-9.99"), None, Decimal("99999999.99")],
                pa.decimal128(10, 2),
            ),
            "ms": pa.array([0, -1, None, 1717243200123], pa.timestamp("ms")),
            "ny": pa.array([0, -1, None, 1717243200123456], pa.timestamp("us", "America/New_York")),
            "d": pa.array([0, -1, None, 19782], pa.date32()),
            "t": pa.array([0, 1, None, 86399999999], pa.time64("us")),
            "tags": pa.array([["a", "b"], [], None, ["x", None]], pa.large_list(pa.string_view())),
            "a": pa.array(
                [
                    {"b": {"c": 1}, "s": "x"},
                    None,
                    {"b": None, "s": "yy"},
                    {"b": {"c": None}, "s": None},
                ],
                structs,
            ),
            "ok": pa.array([True, False, None, True]),
            "raw": pa.array([b"a", b"\xff", None, b""]),
            "num": pa.array(["1", "x", " +2 ", "99999999999999999999"]),
            "iso": pa.array(["2024-01-01", "2024-01-01T10:00:00.1234567Z", None, "2024-02-30"]),
            "m": pa.array([[(1, 2)], None, [], []], pa.map_(pa.int64(), pa.int64())),
        }
    )


@pytest.fixture(scope="session")
def rows(batch: pa.RecordBatch) -> Rows:
    """Return what computes an expression on the batch, with the rows at fault."""

    def compute(text: str) -> Outcome:
        compiled = compile_expression(parse(text), batch.schema)
        outcome = compiled.evaluate_rows(batch)
        assert len(outcome.values) == batch.num_rows
        assert outcome.values.type == to_arrow(compiled.type)
        return outcome

    return compute


@pytest.fixture(scope="session")
def compute(rows: Rows) -> Compute:
    """Return what computes an expression on the batch, where no row may be at fault."""

    def values(text: str) -> list[object]:
        outcome = rows(text)
        assert outcome.faults is None
        return [_plain(value) for value in outcome.values]

    return values


@pytest.fixture
def hurry() -> Iterator[None]:
    """Stop a test that takes seconds: what it tests must be over in milliseconds."""

    def stop(*_: object) -> None:
        raise TimeoutError("still not done after 5 seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _plain(value: pa.Scalar) -> object:  # type: ignore[type-arg]  # of any type
    """Return dates and times as Arrow writes them, NaN as a text: it is not equal to itself."""
    if not value.is_valid:
        return None
    if pa.types.is_temporal(value.type) and not pa.types.is_duration(value.type):
        return value.cast(pa.string()).as_py()
    found = value.as_py()
    return "nan" if isinstance(found, float) and math.isnan(found) else found
