"""Every function, on ordinary values, NULL and the edges of what it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

import pytest

from dataflow.expressions.functions import FUNCTIONS

D = Decimal
N = None
T, F = True, False

TEXTS = [
    ("lower(s)", ["de", "fré", N, "12"]),
    ("UPPER(s)", ["DE", "FRÉ", N, "12"]),
    ("trim('  x ')", ["x"] * 4),
    ("trim('--x-', '-')", ["x"] * 4),
    ("ltrim(s, 'D')", ["E", "fré", N, "12"]),
    ("rtrim('x  ')", ["x"] * 4),
    ("length(s)", [2, 3, N, 2]),
    ("length(raw)", [1, 1, N, 0]),
    ("length(tags)", [2, 0, N, 2]),
    ("substr(s, 2)", ["E", "ré", N, "2"]),
    ("substring(s, 1, 1)", ["D", "f", N, "1"]),
    ("substr(s, -2, 1)", ["D", "r", N, "1"]),
    ("substr(s, -1, 5)", ["E", "é", N, "2"]),
    ("substr(s, 9)", ["", "", N, ""]),
    ("substr(s, 1, 0)", ["", "", N, ""]),
    ("replace(s, 'D', 'xx')", ["xxE", "fré", N, "12"]),
    ("replace(s, 'E', '')", ["D", "fré", N, "12"]),
    ("replace(s, '', 'x')", ["DE", "fré", N, "12"]),
    ("contains(s, 'r')", [F, T, N, F]),
    ("contains(s, '')", [T, T, N, T]),
    ("starts_with(s, 'D')", [T, F, N, F]),
    ("ends_with(s, 'é')", [F, T, N, F]),
    ("concat(s, n, '-', ok)", ["DE1-true", "fré-false", "-7-", "122147483647-true"]),
    ("concat(d, x)", ["1970-01-011.5", "1969-12-31", "nan", "2024-02-29200"]),
    ("split_part('a,b,c', ',', 2)", ["b"] * 4),
    ("split_part('a,b,c', ',', -1)", ["c"] * 4),
    ("split_part(s, 'r', 2)", ["", "é", N, ""]),
    ("lpad(s, 4, '*')", ["**DE", "*fré", N, "**12"]),
    ("rpad(s, 4)", ["DE  ", "fré ", N, "12  "]),
    ("lpad(s, 1)", ["D", "f", N, "1"]),
    ("regexp_matches(s, '^[A-Z]+$')", [T, F, N, F]),
    ("regexp_matches(s, 'R', 'i')", [F, T, N, F]),
    (r"regexp_replace(s, '([A-Z])', '<\1>')", ["<D><E>", "fré", N, "12"]),
    (r"regexp_replace(s, '\d', '\\')", ["DE", "fré", N, "\\\\"]),
    ("reverse(s)", ["ED", "érf", N, "21"]),
    ("position('é' IN s)", [0, 3, N, 0]),
    ("position('', s)", [1, 1, N, 1]),
]
NUMBERS = [
    ("abs(n)", [1, N, 7, 2**31 - 1]),
    ("abs(x)", [1.5, N, "nan", 200.0]),
    ("abs(p)", [D("1.25"), D("9.99"), N, D("99999999.99")]),
    ("abs(u)", [0, 1, 2**64 - 1, N]),
    ("round(x)", [2.0, N, "nan", 200.0]),
    ("round(-2.5)", [-3.0] * 4),
    ("round(2.345, 2)", [pytest.approx(2.35)] * 4),
    ("round(n, -1)", [0, N, -10, 2147483650]),
    ("round(n)", [1, N, -7, 2**31 - 1]),
    ("round(p + 0, -5)", [D("0.00"), D("0.00"), N, D("100000000.00")]),
    ("floor(x)", [1.0, N, "nan", 200.0]),
    ("floor(-1.5)", [-2.0] * 4),
    ("floor(n)", [1, N, -7, 2**31 - 1]),
    ("floor(p)", [D("1.00"), D("-10.00"), N, D("99999999.00")]),
    ("ceil(x)", [2.0, N, "nan", 200.0]),
    ("ceil(u)", [0, 1, 2**64 - 1, N]),
    ("mod(n, 3)", [1, N, -1, 1]),
    ("sign(n)", [1, N, -1, 1]),
    ("sign(x)", [1, N, N, 1]),
    ("sign(p)", [1, -1, N, 1]),
    ("sqrt(x + 0.75)", [1.5, N, "nan", math.sqrt(200.75)]),
    ("sqrt(n)", [1.0, N, N, math.sqrt(2**31 - 1)]),
    ("power(n, 2)", [1.0, N, 49.0, float((2**31 - 1) ** 2)]),
    ("power(9, power(9, 9))", [math.inf] * 4),
    ("exp(z)", [1.0, math.exp(2), math.exp(-1), N]),
    ("ln(x)", [math.log(1.5), N, "nan", math.log(200)]),
    ("ln(z)", [N, math.log(2), N, N]),
    ("log10(x)", [math.log10(1.5), N, "nan", math.log10(200)]),
    ("is_nan(x)", [F, N, T, F]),
    ("is_nan(NULL)", [N] * 4),
]
CHOICES = [
    ("if(ok, s, 'no')", ["DE", "no", "no", "12"]),
    ("coalesce(s, 'none')", ["DE", "fré", "none", "12"]),
    ("coalesce(NULL, n, z)", [1, 2, -7, 2**31 - 1]),
    ("ifnull(x, 0)", [1.5, 0.0, "nan", 200.0]),
    ("nullif(n, 1)", [N, N, -7, 2**31 - 1]),
    ("nullif(s, NULL)", ["DE", "fré", N, "12"]),
    ("greatest(n, 2.5, NULL)", [2.5, 2.5, 2.5, 2147483647.0]),
    ("greatest(x, 0)", [1.5, 0.0, 0.0, 200.0]),
    ("least(s, 'X')", ["DE", "X", "X", "12"]),
    ("least(p, 1)", [D("1.00"), D("-9.99"), D("1.00"), D("1.00")]),
    ("greatest(d, DATE '2000-01-01')", ["2000-01-01", "2000-01-01", "2000-01-01", "2024-02-29"]),
    ("least(ny, '2000-01-01')", [
        "1969-12-31 19:00:00.000000-0500", "1969-12-31 18:59:59.999999-0500",
        "1999-12-31 19:00:00.000000-0500", "1999-12-31 19:00:00.000000-0500",
    ]),
]  # fmt: skip
MOMENTS = [
    ("extract(YEAR FROM ms)", [1970, 1969, N, 2024]),
    ("extract('year', ms)", [1970, 1969, N, 2024]),
    ("date_part('isodow', d)", [4, 3, N, 4]),
    ("date_part('days', d)", [1, 31, N, 29]),
    ("date_part('epoch', ms)", [0, -1, N, 1717243200]),
    ("epoch(d)", [0, -86400, N, 1709164800]),
    ("year(d)", [1970, 1969, N, 2024]),
    ("quarter(ny)", [4, 4, N, 2]),
    ("month(d)", [1, 12, N, 2]),
    ("week(d)", [1, 1, N, 9]),
    ("day(ny)", [31, 31, N, 1]),
    ("dayofweek(d)", [4, 3, N, 4]),
    ("dayofyear(d)", [1, 365, N, 60]),
    ("hour(ny)", [19, 18, N, 8]),
    ("hour(ms)", [0, 23, N, 12]),
    ("hour(d)", [0, 0, N, 0]),
    ("minute(t)", [0, 0, N, 59]),
    ("second(t)", [0, 0, N, 59]),
    ("date_trunc('month', d)", ["1970-01-01", "1969-12-01", N, "2024-02-01"]),
    ("date_trunc('week', d)", ["1969-12-29", "1969-12-29", N, "2024-02-26"]),
    ("date_trunc('day', ny)", [
        "1969-12-31 00:00:00.000000-0500", "1969-12-31 00:00:00.000000-0500", N,
        "2024-06-01 00:00:00.000000-0400",
    ]),
    ("date_trunc('second', ms)", [
        "1970-01-01 00:00:00.000", "1969-12-31 23:59:59.000", N, "2024-06-01 12:00:00.000"
    ]),
    ("date_diff('day', d, ms)", [0, 0, N, 93]),
    ("date_diff('month', d, DATE '2024-06-15')", [653, 654, N, 4]),
    ("date_diff('year', d, d)", [0, 0, N, 0]),
    ("date_diff('week', DATE '2024-03-03', DATE '2024-03-04')", [1] * 4),
    ("date_diff('hour', ny, TIMESTAMP '2024-06-02')", [477024, 477025, N, 12]),
    ("date_diff('day', ny, TIMESTAMP '1970-01-01 06:00')", [1, 1, N, -19875]),
    ("date_add(d, INTERVAL '7 days')", ["1970-01-08", "1970-01-07", N, "2024-03-07"]),
    ("strptime('01.02.2024 23:00', '%d.%m.%Y %H:%M')", ["2024-02-01 23:00:00.000000"] * 4),
    ("to_timestamp('2024-01-31 23:00 -0500', '%Y-%m-%d %H:%M %z')",
     ["2024-02-01 04:00:00.000000Z"] * 4),
    ("strftime(ms, '%Y-%m-%d %H:%M:%S')", [
        "1970-01-01 00:00:00", "1969-12-31 23:59:59", N, "2024-06-01 12:00:00"
    ]),
    ("strftime(ny, '%H:%M:%S.%f %%f')", [
        "19:00:00.000000 %f", "18:59:59.999999 %f", N, "08:00:00.123456 %f"
    ]),
    ("strftime(d, '%d.%m.%Y')", ["01.01.1970", "31.12.1969", N, "29.02.2024"]),
    ("epoch_ms(ny)", [0, -1, N, 1717243200123]),
    ("epoch_ms(d)", [0, -86400000, N, 1709164800000]),
    ("from_epoch_ms(z)", [
        "1970-01-01 00:00:00.000", "1970-01-01 00:00:00.002", "1969-12-31 23:59:59.999", N
    ]),
]  # fmt: skip
TABLE = [*TEXTS, *NUMBERS, *CHOICES, *MOMENTS]


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text for text, _ in TABLE])
def test_function(
    compute: Callable[[str], list[object]], text: str, expected: list[object]
) -> None:
    """NULL in, NULL out, save where the language says otherwise; types as documented."""
    found = compute(text)
    assert found == expected
    for value, wanted in zip(found, expected, strict=True):
        assert isinstance(wanted, type(pytest.approx(0.0))) or type(value) is type(wanted)


def test_the_table_has_every_function() -> None:
    """A function without a line above could change unseen."""
    tested = " ".join(text.lower() for text, _ in TABLE)
    assert [name for name in FUNCTIONS if f"{name}(" not in tested] == []
