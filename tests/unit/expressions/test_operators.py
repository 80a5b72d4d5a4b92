"""Every operator, on ordinary values, NULL and the extremes of its types."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

D = Decimal
N = None
T, F = True, False

ARITHMETIC = [
    ("n + 1", [2, N, -6, 2**31]),
    ("n - 1", [0, N, -8, 2**31 - 2]),
    ("n * 2", [2, N, -14, 2**32 - 2]),
    ("tiny + tiny", [2, 254, N, -256]),
    ("x + n", [2.5, N, "nan", 2147483847.0]),
    ("f + 1", [2.5, N, 0.5, 16777216.0]),
    ("-n", [-1, N, 7, -(2**31) + 1]),
    ("+n", [1, N, -7, 2**31 - 1]),
    ("- - n", [1, N, -7, 2**31 - 1]),
    ("-x", [-1.5, N, "nan", -200.0]),
    ("n / 2", [0.5, N, -3.5, 1073741823.5]),
    ("7 / z", [N, 3.5, -7.0, N]),
    ("x / 0", [N, N, N, N]),
    ("x / 0.0", [N, N, N, N]),
    ("0 / z", [N, 0.0, -0.0, N]),
    ("n % 3", [1, N, -1, 1]),
    ("n % z", [N, N, 0, N]),
    ("i % -1", [0, 0, N, 0]),
    ("i % 0", [N, N, N, N]),
    ("x % 0.4", [pytest.approx(0.3), N, "nan", pytest.approx(0.0)]),
    ("u % 10", [0, 1, 5, N]),
    ("u - n", [D(-1), N, D(2**64 + 6), N]),
    ("p * 1.19", [D("1.4875"), D("-11.8881"), N, D("118999999.9881")]),
    ("p + 1", [D("2.25"), D("-8.99"), N, D("100000000.99")]),
    ("p - p", [D("0.00"), D("0.00"), N, D("0.00")]),
    ("p * NULL", [N, N, N, N]),
    ("p / 2", [0.625, -4.995, N, 49999999.995]),
    ("-p", [D("-1.25"), D("9.99"), N, D("-99999999.99")]),
    ("p * x", [1.875, N, N, 19999999998.0]),
    ("NULL + 1", [N, N, N, N]),
    ("2 + 3 * 4 - 1", [13, 13, 13, 13]),
    ("(2 + 3) * 4", [20, 20, 20, 20]),
    ("10 - 4 - 3", [3, 3, 3, 3]),
    ("-9223372036854775808", [-(2**63)] * 4),
]
COMPARISON = [
    ("n = 1", [T, N, F, F]),
    ("n == 1", [T, N, F, F]),
    ("n != 1", [F, N, T, T]),
    ("n <> 1", [F, N, T, T]),
    ("n < 1", [F, N, T, F]),
    ("n <= 1", [T, N, T, F]),
    ("n > 1", [F, N, F, T]),
    ("n >= 1", [T, N, F, T]),
    ("x = x", [T, N, F, T]),
    ("x <> x", [F, N, T, F]),
    ("x > 100", [F, N, F, T]),
    ("tiny < 1000", [T, T, N, T]),
    ("tiny = 1.0", [T, F, N, F]),
    ("u > i", [F, F, N, N]),
    ("u = 18446744073709551615", [F, F, T, N]),
    ("f = 1.5", [T, N, F, F]),
    ("p = 1.25", [T, F, N, F]),
    ("p > n", [T, N, N, F]),
    ("s = 'DE'", [T, F, N, F]),
    ("s > 'A'", [T, T, N, F]),
    ("s == fré", [F, T, N, F]),
    ("s = NULL", [N, N, N, N]),
    ("NULL = NULL", [N, N, N, N]),
    ("ok = TRUE", [T, F, N, T]),
    ("ok < TRUE", [F, T, N, F]),
    ("raw = CAST('a' AS bytes)", [T, F, N, F]),
    ("d >= '1970-01-01'", [T, F, N, T]),
    ("d = DATE '2024-02-29'", [F, F, N, T]),
    ("d < '1970-01-01 00:00:00.5'", [T, T, N, F]),
    ("ms > '2024-01-01'", [F, F, N, T]),
    ("ms = d", [T, F, N, F]),
    ("ny = TIMESTAMP '1970-01-01'", [T, F, N, F]),
    ("ny > '1969-12-31T19:00:00-05:00'", [F, F, N, T]),
    ("t > '10:00'", [F, F, N, T]),
    ("n BETWEEN -7 AND 1", [T, N, T, F]),
    ("n NOT BETWEEN z AND 1", [F, N, T, T]),
    ("z BETWEEN NULL AND -1", [F, F, N, N]),
    ("x IS DISTINCT FROM x", [F, F, F, F]),
    ("n IS DISTINCT FROM NULL", [T, F, T, T]),
    ("n IS NOT DISTINCT FROM z", [F, F, F, F]),
    ("n IS NULL", [F, T, F, F]),
    ("x IS NULL", [F, T, F, F]),
    ("n IS NOT NULL", [T, F, T, T]),
    ("m IS NULL", [F, T, F, F]),
    ("a IS NULL", [F, T, F, F]),
    ("ok IS TRUE", [T, F, F, T]),
    ("ok IS NOT TRUE", [F, T, T, F]),
    ("ok IS FALSE", [F, T, F, F]),
]
LOGIC = [
    ("ok AND TRUE", [T, F, N, T]),
    ("ok AND FALSE", [F, F, F, F]),
    ("ok AND NULL", [N, F, N, N]),
    ("ok OR TRUE", [T, T, T, T]),
    ("ok or false", [T, F, N, T]),
    ("ok Or NULL", [T, N, N, T]),
    ("NOT ok", [F, T, N, F]),
    ("NOT n = 1", [F, N, T, T]),
    ("NOT NULL", [N, N, N, N]),
    ("ok AND n = 1 OR s = 'fré'", [T, T, N, F]),
    ("ok AND (n = 1 OR s = 'fré')", [T, F, N, F]),
]
MEMBERSHIP = [
    ("s IN ('DE', '12')", [T, F, N, T]),
    ("s IN ('DE', NULL)", [T, N, N, N]),
    ("s IN (NULL)", [N, N, N, N]),
    ("s NOT IN ('DE', '12')", [F, T, N, F]),
    ("s NOT IN ('DE', NULL)", [F, N, N, N]),
    ("s IN ('DE', 'a', 'b', 'c', 'd')", [T, F, N, F]),
    ("s IN ('DE', 'a', 'b', 'c', 'd', NULL)", [T, N, N, N]),
    ("s NOT IN ('DE', 'a', 'b', 'c', 'd', NULL)", [F, N, N, N]),
    ("n IN (1, 2, 3, 4, 5, 9999999999)", [T, N, F, F]),
    ("x IN (1.5, 2, 3, 4, 5)", [T, N, F, F]),
    ("-z IN (0.0, 1, 2, 3, 4)", [T, F, T, N]),
    ("x * 0 IN (0, 7, 8, 9, 10)", [T, N, F, T]),
    ("-x * 0 IN (0, 7, 8, 9, 10)", [T, N, F, T]),
    ("n IN (1, i, z)", [T, N, N, N]),
    ("d IN ('1970-01-01', '2024-02-29')", [T, F, N, T]),
    ("p IN (1.25, 2, 3, 4, 5)", [T, F, N, F]),
]
TEXT = [
    ("s LIKE 'D%'", [T, F, N, F]),
    ("s LIKE '%E'", [T, F, N, F]),
    ("s LIKE '%r%'", [F, T, N, F]),
    ("s LIKE 'fr_'", [F, T, N, F]),
    ("s LIKE 'DE'", [T, F, N, F]),
    ("s LIKE ''", [F, F, N, F]),
    ("s LIKE '%'", [T, T, N, T]),
    ("s LIKE '_%_'", [T, T, N, T]),
    ("s LIKE 'd%'", [F, F, N, F]),
    ("s ILIKE 'd%'", [T, F, N, F]),
    ("s ILIKE '%É'", [F, T, N, F]),
    ("s NOT LIKE 'D%'", [F, T, N, T]),
    ("s NOT ILIKE 'd%'", [F, T, N, T]),
    ("s LIKE NULL", [N, N, N, N]),
    ("'a%b' LIKE 'a!%b' ESCAPE '!'", [T] * 4),
    ("'axb' LIKE 'a!%b' ESCAPE '!'", [F] * 4),
    ("'a!b' LIKE 'a!!b' ESCAPE '!'", [T] * 4),
    ("'a\\b' LIKE 'a\\b'", [T] * 4),
    ("'a.b' LIKE 'a_b'", [T] * 4),
    ("'axb' LIKE 'a.b'", [F] * 4),
    ("'a\nb' LIKE 'a%b'", [T] * 4),
    ("s || '!'", ["DE!", "fré!", N, "12!"]),
    ("s || s || 'x'", ["DEDEx", "fréfréx", N, "1212x"]),
    ("'it''s'", ["it's"] * 4),
]
NESTED = [
    ("a.b.c", [1, N, N, N]),
    ("$.a.b.c", [1, N, N, N]),
    ("$['a']['s']", ["x", N, "yy", N]),
    ("$.a.b.c == 1", [T, N, N, N]),
    ("a.s || '!'", ["x!", N, "yy!", N]),
    ("a.s == yy", [F, N, T, N]),
    ('"a"."s"', ["x", N, "yy", N]),
    ("`a`.`s`", ["x", N, "yy", N]),
    ("tags[0]", ["a", N, N, "x"]),
    ("tags[-1]", ["b", N, N, N]),
    ("tags[5]", [N, N, N, N]),
    ("tags[z]", ["a", N, N, N]),
    ("tags[0] IS NULL", [F, T, T, F]),
    ("tags", [["a", "b"], [], N, ["x", N]]),
    ("a.b", [{"c": 1}, N, N, {"c": N}]),
    ("COALESCE(tags, NULL)", [["a", "b"], [], N, ["x", N]]),
    ("COALESCE(tags, tags)[0]", ["a", N, N, "x"]),
    ("IF(ok, a.b, NULL)", [{"c": 1}, N, N, {"c": N}]),
]
CHOICE = [
    ("CASE WHEN x > 1 THEN 1 WHEN ok THEN n ELSE 2.5 END", [1.0, 2.5, 2.5, 1.0]),
    ("CASE WHEN ok THEN 'y' END", ["y", N, N, "y"]),
    ("CASE WHEN NULL THEN 1 ELSE 2 END", [2, 2, 2, 2]),
    ("CASE n WHEN 1 THEN 'one' WHEN -7 THEN 'less' ELSE s END", ["one", "fré", "less", "12"]),
    ("CASE n WHEN NULL THEN 1 ELSE 0 END", [0, 0, 0, 0]),
    ("CASE s WHEN 'DE' THEN d END", ["1970-01-01", N, N, N]),
    ("CASE WHEN TRUE THEN s ELSE 'x' END", ["DE", "fré", N, "12"]),
    ("case when ok then case when n = 1 then 'a' else 'b' end else 'c' end", ["a", "c", "c", "b"]),
]
MOMENTS = [
    ("ms + INTERVAL '5 ms'", [
        "1970-01-01 00:00:00.005", "1970-01-01 00:00:00.004", N, "2024-06-01 12:00:00.128"
    ]),
    ("INTERVAL '1' DAY + ms", [
        "1970-01-02 00:00:00.000", "1970-01-01 23:59:59.999", N, "2024-06-02 12:00:00.123"
    ]),
    ("ms - INTERVAL '1 us'", [
        "1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.998999", N, "2024-06-01 12:00:00.122999"
    ]),
    ("d + INTERVAL '1 month'", ["1970-02-01", "1970-01-31", N, "2024-03-29"]),
    ("d - INTERVAL '13 months 1 day'", ["1968-11-30", "1968-11-29", N, "2023-01-28"]),
    ("d + INTERVAL '2 weeks'", ["1970-01-15", "1970-01-14", N, "2024-03-14"]),
    ("d + INTERVAL '-1 year'", ["1969-01-01", "1968-12-31", N, "2023-02-28"]),
    ("d + INTERVAL '36 hours'", [
        "1970-01-02 12:00:00.000000", "1970-01-01 12:00:00.000000", N, "2024-03-01 12:00:00.000000"
    ]),
    ("DATE '2024-01-31' + INTERVAL '1 month'", ["2024-02-29"] * 4),
    ("DATE '2023-01-31' + INTERVAL '1 month'", ["2023-02-28"] * 4),
    ("DATE '1900-01-31' + INTERVAL '1 month'", ["1900-02-28"] * 4),
    ("TIMESTAMP '2024-10-31 08:00' - INTERVAL '8 months'", ["2024-02-29 08:00:00.000000"] * 4),
    ("ny + INTERVAL '1 month'", [
        "1970-01-31 19:00:00.000000-0500", "1970-01-31 18:59:59.999999-0500", N,
        "2024-07-01 08:00:00.123456-0400",
    ]),
    ("d - DATE '2024-01-01'", [-19723, -19724, N, 59]),
    ("ms - ms > INTERVAL '0 s'", [F, F, N, F]),
    ("ms - d = INTERVAL '93 days 12 hours 123 ms'", [F, F, N, T]),
    ("ms - ny < INTERVAL '1 second'", [T, T, N, T]),
    ("INTERVAL '1 h' + INTERVAL '30 min' = INTERVAL '90 minutes'", [T] * 4),
    ("INTERVAL '1.5 hours' = INTERVAL '90 min'", [T] * 4),
]  # fmt: skip

TABLE = [
    *ARITHMETIC,
    *COMPARISON,
    *LOGIC,
    *MEMBERSHIP,
    *TEXT,
    *NESTED,
    *CHOICE,
    *MOMENTS,
]


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text for text, _ in TABLE])
def test_operator(
    compute: Callable[[str], list[object]], text: str, expected: list[object]
) -> None:
    """NULL in, NULL out, save where the language says otherwise; types as documented."""
    found = compute(text)
    assert found == expected
    assert [type(value) for value in found if value is not None] == [
        type(value) if not isinstance(value, type(pytest.approx(0.0))) else float
        for value in expected
        if value is not None
    ]
