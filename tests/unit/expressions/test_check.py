"""Types: what goes with what, what comes out, and errors that name both sides and their place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dataflow.expressions import BOOL, ExpressionError, bind, check, parse, parse_type

SCHEMA = {
    name: parse_type(of)
    for name, of in {
        "amount": "float64",
        "small": "int8",
        "n": "int32",
        "i": "int64",
        "u": "uint64",
        "f": "float32",
        "price": "decimal(10, 2)",
        "status": "string",
        "active": "string",
        "raw": "bytes",
        "ok": "bool",
        "d": "date",
        "t": "time",
        "ts": "timestamp(ms)",
        "tz": "timestamp(us, 'UTC')",
        "took": "duration(ms)",
        "tags": "list<string>",
        "a": "struct<b: int64, s: string>",
        "nothing": "null",
    }.items()
}
TYPED = [
    ("amount > 100 AND status = 'DE'", "bool"),
    ("small + small", "int64"),
    ("u + 1", "uint64"),
    ("u + i", "decimal(21, 0)"),
    ("u + -1", "decimal(21, 0)"),
    ("small + u", "decimal(21, 0)"),
    ("f + f", "float32"),
    ("f + 1.5", "float32"),
    ("f + n", "float64"),
    ("n / n", "float64"),
    ("n % n", "int64"),
    ("price + price", "decimal(11, 2)"),
    ("price * price", "decimal(21, 4)"),
    ("price + n", "decimal(13, 2)"),
    ("price + 1.255", "decimal(12, 3)"),
    ("price * amount", "float64"),
    ("price / 2", "float64"),
    ("-small", "int64"),
    ("-price", "decimal(10, 2)"),
    ("NULL", "null"),
    ("nothing = 1", "bool"),
    ("nothing + 1", "int64"),
    ("coalesce(nothing, d)", "date"),
    ("coalesce(n, u)", "decimal(20, 0)"),
    ("coalesce(small, 1)", "int8"),
    ("coalesce(small, 1000)", "int64"),
    ("coalesce(d, ts)", "timestamp(ms)"),
    ("coalesce(ts, tz)", "timestamp(us, 'UTC')"),
    ("coalesce(d, '2024-01-01')", "date"),
    ("IF(ok, 1, 2.5)", "float64"),
    ("IF(ok, price, 1)", "decimal(10, 2)"),
    ("tags[0]", "string"),
    ("a.b", "int64"),
    ("a", "struct<b: int64, s: string>"),
    ("d - d", "int64"),
    ("ts - ts", "duration(ms)"),
    ("tz - ts", "duration"),
    ("ts + took", "timestamp(ms)"),
    ("tz - took", "timestamp(us, 'UTC')"),
    ("took + took", "duration(ms)"),
    ("d + INTERVAL '1 day'", "date"),
    ("d + INTERVAL '1 hour'", "timestamp"),
    ("d + INTERVAL '1 month 1 hour'", "timestamp"),
    ("d + took", "timestamp"),
    ("ts + INTERVAL '1 us'", "timestamp"),
    ("took > INTERVAL '1 min'", "bool"),
    ("strptime(status, '%Y %z')", "timestamp(us, 'UTC')"),
    ("strptime(status, '%Y %%z')", "timestamp"),
    ("date_trunc('month', d)", "date"),
    ("date_trunc('hour', d)", "timestamp"),
    ("round(f)", "float32"),
    ("floor(small)", "int64"),
    ("sign(amount)", "int64"),
    ("greatest(small, i)", "int64"),
    ("status::int", "int64"),
    ("concat(n, d, ok)", "string"),
]


@pytest.mark.parametrize(("text", "expected"), TYPED, ids=[text for text, _ in TYPED])
def test_an_expression_has_a_type(text: str, expected: str) -> None:
    """The type is known before the first row: sinks create their tables from it."""
    assert str(check(parse(text), SCHEMA)) == expected


REFUSED = [
    ("amuont > 1", 1, "unknown column 'amuont'", "did you mean 'amount'?; columns: amount, small"),
    ("Amount > 1", 1, "unknown column 'Amount'", "did you mean 'amount'?"),
    ('status = "DE"', 10, "unknown column 'DE'", "for a text write 'DE' in single quotes"),
    ("amount > 'a'", 8, "can't compare float64 and string", "CAST(… AS float64)"),
    ("status = 1", 8, "can't compare string and int64", "put the number in quotes"),
    ("ok = 1", 4, "can't compare bool and int64", "CAST(… AS int64)"),
    ("ok AND n", 8, "AND needs a bool, not int32", "<> 0"),
    ("NOT status", 5, "NOT needs a bool, not string", ""),
    ("CASE WHEN n THEN 1 END", 11, "a condition needs a bool, not int32", ""),
    ("IF(ok, 1, 'a')", 1, "can't choose between int64 and string", ""),
    ("n IN (1, 'a')", 3, "can't compare int32 and string", ""),
    ("status + 'a'", 8, "can't add string and string", "||"),
    ("status - 1", 8, "can't subtract string and int64", ""),
    ("ts + 1", 4, "can't add timestamp(ms) and int64", "INTERVAL '7 days'"),
    ("ts + ts", 4, "can't add timestamp(ms) and timestamp(ms)", ""),
    ("took * 2", 6, "can't multiply duration(ms) and int64", ""),
    ("price % 2", 7, "% takes whole numbers and floats", "CAST(… AS float64)"),
    ("price" + " * price" * 7, 55, "the result of decimal(76, 14) * decimal(10, 2) needs 87", ""),
    ("-status", 1, "can't negate string", ""),
    ("status || n", 11, "|| joins texts, not int32", "concat()"),
    ("a = a", 3, "can't compare values of type struct<b: int64, s: string>", "a.b"),
    ("tags = tags", 6, "can't compare values of type list<string>", ""),
    ("a.x", 3, "no field 'x'", "fields: b, s"),
    ("status.x", 8, "string has no fields, so no 'x'", 'a name with a dot is quoted: "status.x"'),
    ("n[0]", 2, "[…] takes an item of a list, not of int32", ""),
    ("tags['x']", 6, "list<string> has no fields, so no 'x'", ""),
    ("tags[amount]", 6, "an index is a whole number, not float64", ""),
    ("lower(n)", 7, "lower() needs text here, not int32", "CAST(… AS string)"),
    ("sqrt(status)", 6, "sqrt() needs a number here, not string", "CAST(… AS float64)"),
    ("substr(status, n)", 16, "substr() needs a whole number as a literal here", ""),
    ("substr(status, 0)", 16, "substr() counts from 1, or from -1 at the end", ""),
    ("replace(status, status, 'x')", 17, "replace() needs text as a literal here", ""),
    ("status LIKE active", 13, "LIKE needs text as a literal here", ""),
    ("status LIKE 'a!' ESCAPE '!'", 13, "the pattern ends in its escape character", ""),
    ("status LIKE 'a' ESCAPE '!!'", 24, "ESCAPE needs one character", ""),
    ("lpad(status, 1001)", 14, "lpad() pads to between 0 and 1,000 characters", ""),
    ("lpad(status, 5, 'ab')", 17, "lpad() pads with one character", ""),
    ("split_part(status, '', 1)", 20, "split_part() needs a separator", ""),
    ("round(amount, 99)", 15, "round() rounds to between -30 and 30 digits", ""),
    ("regexp_matches(status, 'a', 'g')", 29, "regexp_matches() knows one flag: 'i'", ""),
    ("regexp_replace(status, 'a', '\\q')", 29, "regexp_replace() refers to a group as", ""),
    ("date_trunc('mnth', ts)", 12, "date_trunc() knows no 'mnth'", "did you mean 'month'?"),
    ("date_part('dow', ts)", 11, "date_part() knows no 'dow'", "it knows: year"),
    ("year(t)", 6, "a time has no year", ""),
    ("strftime(t, '%H')", 10, "strftime() needs a date or timestamp here, not time", ""),
    (
        "strptime(status, '%f')",
        18,
        "strptime() reads no fractions",
        "",
    ),
    ("strptime(status, '%q')", 18, "strptime() reads no %q", ""),
    ("strptime(status, 'Y')", 18, "strptime() needs a format", ""),
    ("date_add(ts, 1)", 14, "date_add() needs an interval", ""),
    ("greatest(ok, ok)", 1, "greatest() takes numbers, texts, dates and times, not bool", ""),
    ("concat(tags)", 8, "concat() can't write list<string> as text", ""),
    ("CAST(ts AS int64)", 1, "can't convert timestamp(ms) to int64", "epoch_ms(…)"),
    ("CAST(n AS timestamp)", 1, "can't convert int32 to timestamp", "from_epoch_ms(…)"),
    ("CAST(a AS string)", 1, "can't convert struct<b: int64, s: string> to string", "a.b"),
    ("took::int", 5, "can't convert duration(ms) to int64", "date_diff"),
    ("d > 'x'", 5, "'x' is no date", "2024-05-01"),
    ("ts > '2024-02-30'", 6, "'2024-02-30' is no timestamp(ms)", ""),
    ("INTERVAL '1 month'", 1, "an interval of months is no value of its own", "add it to a date"),
    ("INTERVAL '1 month' > took", 20, "can't compare interval and duration(ms)", ""),
]


@pytest.mark.parametrize(
    ("text", "column", "problem", "remedy"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_a_type_error_names_both_sides_and_the_place(
    text: str, column: int, problem: str, remedy: str
) -> None:
    """A comparison that can't be true would otherwise drop every row in silence."""
    with pytest.raises(ExpressionError) as raised:
        check(parse(text), SCHEMA)
    assert raised.value.problem.startswith(problem)
    assert raised.value.column == column
    assert remedy in raised.value.remedy


BARE = [
    ("status == pending", True),
    ("status <> pending", True),
    ("status < pending", True),
    ("a.s = pending", True),
    ("status = pending AND ok", True),
    ("pending = status", False),
    ("status = $.pending", False),
    ('status = "pending"', False),
    ("status = `pending`", False),
    ("status = pending.x", False),
    ("lower(status) = pending", False),
    ("tags[0] = pending", False),
    ("status IN (pending)", False),
    ("status LIKE pending", False),
    ("n = pending", False),
    ("'x' = pending", False),
    ("raw = pending", False),
]


@pytest.mark.parametrize("text", [text for text, accepted in BARE if accepted])
def test_a_bare_word_right_of_a_string_column_is_a_text(text: str) -> None:
    """``status == active`` is how people write it."""
    assert check(parse(text), SCHEMA) == BOOL


@pytest.mark.parametrize("text", [text for text, accepted in BARE if not accepted])
def test_a_bare_word_anywhere_else_is_a_column(text: str) -> None:
    """A misspelt column must not turn into a text."""
    with pytest.raises(ExpressionError, match="unknown column 'pending'"):
        check(parse(text), SCHEMA)


def test_a_column_wins_over_a_bare_word() -> None:
    """A word that is a column today must not turn into a text."""
    found = bind(parse("status = active"), SCHEMA)
    assert [getattr(arg, "name", None) for arg in getattr(found, "args", ())] == [
        "status",
        "active",
    ]


def test_a_filter_must_be_a_predicate() -> None:
    """A filter by a number would keep what C keeps, and nobody said so."""
    with pytest.raises(ExpressionError, match=r"this is int64, where bool is needed") as raised:
        check(parse("n + 1"), SCHEMA, BOOL)
    assert raised.value.remedy == "compare it with something, as in … <> 0"
    assert check(parse("NULL"), SCHEMA, BOOL) != BOOL
    assert check(parse("n > 1"), SCHEMA, BOOL) == BOOL


def test_creating_a_pipeline_imports_no_arrow() -> None:
    """Arrow is half of an idle node's memory; parsing and checking must do without."""
    script = "import sys, dataflow.expressions as e; e.check(e.parse('1 > 0'), {})"
    script += "; sys.exit(any(name in sys.modules for name in ('pyarrow', 'polars', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
