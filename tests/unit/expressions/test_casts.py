"""CAST, ``::`` and TRY_CAST between all pairs of types that have a meaning."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from dataflow.expressions.compile import Outcome

D = Decimal
N = None
T, F = True, False

GOOD = [
    ("CAST(n AS string)", ["1", N, "-7", "2147483647"]),
    ("n::text", ["1", N, "-7", "2147483647"]),
    ("x::string", ["1.5", N, "nan", "200"]),
    ("p::string", ["1.25", "-9.99", N, "99999999.99"]),
    ("ok::string", ["true", "false", N, "true"]),
    ("ms::string", [
        "1970-01-01 00:00:00.000", "1969-12-31 23:59:59.999", N, "2024-06-01 12:00:00.123"
    ]),
    ("t::string", ["00:00:00.000000", "00:00:00.000001", N, "23:59:59.999999"]),
    ("n::float64", [1.0, N, -7.0, 2147483647.0]),
    ("i::float64", [1.0, 2.0**63, N, -(2.0**63)]),
    ("n::decimal(12, 1)", [D("1.0"), N, D("-7.0"), D("2147483647.0")]),
    ("n::bool", [T, N, T, T]),
    ("ok::int64", [1, 0, N, 1]),
    ("p::int64", [1, -9, N, 99999999]),
    ("p::float64", [1.25, -9.99, N, 99999999.99]),
    ("p::decimal(10, 1)", [D("1.3"), D("-10.0"), N, D("100000000.0")]),
    ("p::decimal(50, 20)", [D("1.25"), D("-9.99"), N, D("99999999.99")]),
    ("1.99::int64", [1] * 4),
    ("(-1.99)::int64", [-1] * 4),
    ("1.25::decimal(5, 1)", [D("1.3")] * 4),
    ("f::float64", [1.5, N, -0.5, 16777216.0]),
    ("NULL::int64", [N] * 4),
    ("' +2 '::int8", [2] * 4),
    ("'0x1F'::int64", [31] * 4),
    ("' 2.5e1 '::float64", [25.0] * 4),
    ("'-inf'::float64", [float("-inf")] * 4),
    ("'1.239'::decimal(5, 2)", [D("1.24")] * 4),
    ("'TRUE'::bool", [T] * 4),
    ("'0'::boolean", [F] * 4),
    ("'2024-02-29'::date", ["2024-02-29"] * 4),
    ("' 2024-02-29 '::date", ["2024-02-29"] * 4),
    ("'10:11:12.5'::time", ["10:11:12.500000"] * 4),
    ("'10:11'::time(s)", ["10:11:00"] * 4),
    ("'2024-02-29 10:00'::timestamp", ["2024-02-29 10:00:00.000000"] * 4),
    ("'2024-02-29T10:00:00.1234567'::timestamp", ["2024-02-29 10:00:00.123456"] * 4),
    ("'2024-02-29T10:00:00.5'::timestamp(s)", ["2024-02-29 10:00:00"] * 4),
    ("'2024-02-29T10:00:00+02:00'::timestamptz", ["2024-02-29 08:00:00.000000Z"] * 4),
    ("'2024-02-29 10:00'::timestamptz", ["2024-02-29 10:00:00.000000Z"] * 4),
    ("'2024-02-29'::timestamptz", ["2024-02-29 00:00:00.000000Z"] * 4),
    ("d::timestamp", [
        "1970-01-01 00:00:00.000000", "1969-12-31 00:00:00.000000", N, "2024-02-29 00:00:00.000000"
    ]),
    ("ms::date", ["1970-01-01", "1969-12-31", N, "2024-06-01"]),
    ("ms::timestamp(s)", ["1970-01-01 00:00:00", "1969-12-31 23:59:59", N, "2024-06-01 12:00:00"]),
    ("ms::time(s)", ["00:00:00", "23:59:59", N, "12:00:00"]),
    ("ny::date", ["1969-12-31", "1969-12-31", N, "2024-06-01"]),
    ("ny::time", ["19:00:00.000000", "18:59:59.999999", N, "08:00:00.123456"]),
    ("ny::timestamp", [
        "1970-01-01 00:00:00.000000", "1969-12-31 23:59:59.999999", N, "2024-06-01 12:00:00.123456"
    ]),
    ("ms::timestamp(ms, 'Asia/Tokyo')", [
        "1970-01-01 09:00:00.000+0900", "1970-01-01 08:59:59.999+0900", N,
        "2024-06-01 21:00:00.123+0900",
    ]),
    ("t::time(s)", ["00:00:00", "00:00:00", N, "23:59:59"]),
    ("s::bytes::string", ["DE", "fré", N, "12"]),
    ("tags::list<string>", [["a", "b"], [], N, ["x", N]]),
    ("a.b::struct<c: string>", [{"c": "1"}, N, N, {"c": N}]),
]  # fmt: skip
BAD = [
    ("num::int64", [1, N, 2, N], {1: "'x' is no int64", 3: "'99999999999999999999' is no int64"}),
    ("num::int8", [1, N, 2, N], {1: "'x' is no int8", 3: "'99999999999999999999' is no int8"}),
    ("num::float64", [1.0, N, 2.0, 1e20], {1: "'x' is no float64"}),
    ("num::decimal(5,2)", [D(1), N, D(2), N], {
        1: "'x' is no decimal(5, 2)", 3: "'99999999999999999999' is no decimal(5, 2)"
    }),
    ("num::bool", [T, N, N, N], {
        1: "'x' is no bool", 2: "' +2 ' is no bool", 3: "'99999999999999999999' is no bool"
    }),
    ("iso::date", ["2024-01-01", N, N, N], {
        1: "'2024-01-01T10:00:00.1234567Z' is no date", 3: "'2024-02-30' is no date"
    }),
    ("iso::timestamptz", ["2024-01-01 00:00:00.000000Z", "2024-01-01 10:00:00.123456Z", N, N], {
        3: "'2024-02-30' is no timestamp(us, 'UTC')"
    }),
    ("x::int64", [1, N, N, 200], {2: "nan does not fit in int64"}),
    ("x::int8", [1, N, N, N], {2: "nan does not fit in int8", 3: "200 does not fit in int8"}),
    ("(x * 1e300)::int64", [N, N, N, N], {
        0: "1.5e+300 does not fit in int64", 2: "nan does not fit in int64",
        3: "2e+302 does not fit in int64",
    }),
    ("(i::float64)::int64", [1, N, N, -(2**63)], {
        1: "9.223372036854776e+18 does not fit in int64"
    }),
    ("i::int8", [1, N, N, N], {
        1: "9223372036854775807 does not fit in int8",
        3: "-9223372036854775808 does not fit in int8",
    }),
    ("u::int64", [0, 1, N, N], {2: "18446744073709551615 does not fit in int64"}),
    ("z::uint8", [0, 2, N, N], {2: "-1 does not fit in uint8"}),
    ("p::decimal(4,1)", [D("1.3"), D("-10.0"), N, N], {
        3: "99999999.99 does not fit in decimal(4, 1)"
    }),
    ("x::decimal(5,1)", [D("1.5"), N, N, D("200.0")], {
        2: "nan does not fit in decimal(5, 1)"
    }),
    ("raw::string", ["a", N, N, ""], {1: "bytes does not fit in string"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), GOOD, ids=[text for text, _ in GOOD])
def test_cast(compute: Callable[[str], list[object]], text: str, expected: list[object]) -> None:
    """A conversion that loses nothing but what it says gives a value for every row."""
    found = compute(text)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(("text", "expected", "faults"), BAD, ids=[row[0] for row in BAD])
def test_a_cast_that_fails_blames_its_row(
    rows: Callable[[str], Outcome],
    text: str,
    expected: list[object],
    faults: dict[int, str],
) -> None:
    """One bad record must not take its neighbours with it, and its message must help."""
    outcome = rows(text)
    assert outcome.faults is not None
    place = f" (line 1, column {text.rindex('::') + 1})"
    messages = [str(message).removesuffix(place) for message in outcome.faults.messages.to_pylist()]
    assert dict(zip(outcome.faults.rows.to_pylist(), messages, strict=True)) == faults
    found = outcome.values
    if any(isinstance(value, str) for value in expected):
        found = found.cast("string")
    assert found.to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "expected"), [row[:2] for row in BAD], ids=[row[0] for row in BAD]
)
def test_try_cast_gives_null_instead(
    compute: Callable[[str], list[object]], text: str, expected: list[object]
) -> None:
    """The lenient form differs from CAST in its faults alone."""
    base, _, target = text.rpartition("::")
    assert compute(f"TRY_CAST({base} AS {target})") == expected
