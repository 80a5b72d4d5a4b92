"""Reading text: precedence, names, positions of errors, and limits that hold on hostile text."""

from __future__ import annotations

import pytest

from dataflow.core.errors import Code, Rejected
from dataflow.expressions import ExpressionError, check, parse, parse_type
from dataflow.expressions.cursor import DEPTH_MAX, NODES_MAX
from dataflow.expressions.lexer import LENGTH_MAX
from dataflow.expressions.tree import Call, Cast, Column, Field, Literal, Node


def shape(node: Node) -> str:
    """Return a tree with every parenthesis."""
    match node:
        case Literal():
            return node.text or str(node.value)
        case Column():
            return node.name
        case Field():
            return f"{shape(node.base)}.{node.name}"
        case Cast():
            return f"{shape(node.base)}::{node.target}"
        case Call():
            return f"({' '.join([node.name, *map(shape, node.args)])})"


SHAPES = [
    ("a OR b AND c", "(or a (and b c))"),
    ("a AND b AND c AND d", "(and a b c d)"),
    ("NOT a AND b", "(and (not a) b)"),
    ("NOT a = b", "(not (= a b))"),
    ("a = b + c * d", "(= a (+ b (* c d)))"),
    ("a - b - c", "(- (- a b) c)"),
    ("a || b || c + d", "(|| a b (+ c d))"),
    ("-a * b", "(* (negate a) b)"),
    ("-2 - -3", "(- -2 -3)"),
    ("-a::int", "(negate a::int64)"),
    ("a.b[0].c", "([] a.b 0).c"),
    ("a BETWEEN 1 AND 2 AND b", "(and (between a 1 2) b)"),
    ("a NOT IN (1, 2)", "(not (in a 1 2))"),
    ("a NOT LIKE 'x' OR b", "(or (not (like a x)) b)"),
    ("a IS NOT NULL", "(not (is null a))"),
    ("a IS NOT DISTINCT FROM b", "(not (distinct a b))"),
    ("CASE WHEN a THEN b END", "(case a b None)"),
    ("CASE a WHEN 1 THEN b ELSE c END", "(case_of a 1 b c)"),
    ("extract(year FROM a)", "(date_part year a)"),
    ("position('x' IN a)", "(position x a)"),
    ("$.a.b == 1", "(= a.b 1)"),
    ("$['odd name'][0]", "([] odd name 0)"),
    ('"a ""b""" <> `c`', '(<> a "b" c)'),
    ("date", "date"),
    ("date > DATE '1970-01-02'", "(> date 1)"),
    ("timestamp - interval", "(- timestamp interval)"),
    ("a.end", "a.end"),
]


@pytest.mark.parametrize(("text", "expected"), SHAPES, ids=[text for text, _ in SHAPES])
def test_precedence(text: str, expected: str) -> None:
    """An operator that binds otherwise than in SQL gives wrong rows and no error."""
    assert shape(parse(text).root) == expected


ERRORS = [
    ("", 1, "the expression is empty", ""),
    ("a >", 4, "expected a value, found the end", ""),
    ("a > > b", 5, "expected a value, found '>'", ""),
    ("9**9**9", 3, "expected a value, found '*'", ""),
    ("a < b < c", 7, "unexpected '<'", "comparisons don't chain"),
    ("a b", 3, "unexpected 'b'", "an operator is missing"),
    ("SELECT a FROM t", 8, "unexpected 'a'", "an operator is missing"),
    ("a FROM t", 3, "unexpected 'FROM'", "no SELECT, FROM or WHERE"),
    ("(a", 3, "expected ) to close the parenthesis, found the end", ""),
    ("a)", 2, "unexpected ')'", ""),
    ("'abc", 1, "unexpected '''", "isn't closed"),
    ('""', 1, "unexpected '\"'", "is empty"),
    ("a && b", 3, "unexpected '&'", "write AND"),
    ("a | b", 3, "unexpected '|'", "write OR"),
    ("!a", 1, "unexpected '!'", "write NOT"),
    ("a = \u2018x\u2019", 5, "unexpected '\u2018'", "straight quotes"),
    ("a; b", 2, "unexpected ';'", "not a statement"),
    ("12abc", 1, "a number runs into a name", "double quotes"),
    ("end", 1, "expected a value, found 'end'", "END is a keyword"),
    ("lowr(a)", 1, "unknown function 'lowr'", "did you mean 'lower'?"),
    ("__import__('os')", 1, "unknown function '__import__'", "functions: if"),
    ("a.__class__()", 12, "unexpected '('", ""),
    ("lower()", 1, "lower() takes 1 argument, not 0", ""),
    ("round(1, 2, 3)", 1, "round() takes 1 to 2 arguments, not 3", ""),
    ("coalesce()", 1, "coalesce() takes at least 1 arguments, not 0", ""),
    ("a IN ()", 6, "IN needs at least one value", ""),
    ("a IS 5", 6, "expected NULL, DISTINCT FROM, TRUE or FALSE after IS, found '5'", ""),
    ("a BETWEEN 1 OR 2", 13, "expected AND between the bounds of BETWEEN, found 'OR'", ""),
    ("CASE a END", 8, "expected WHEN in CASE, found 'END'", ""),
    ("CASE WHEN a END", 13, "expected THEN after the condition of WHEN, found 'END'", ""),
    ("CASE WHEN a THEN b", 19, "expected END to close CASE, found the end", ""),
    ("CAST(a, int)", 7, "expected AS and a type in CAST(… AS type), found ','", ""),
    ("a::strng", 4, "unknown type 'strng'", "did you mean 'string'?"),
    ("a::decimal", 4, "a decimal needs its digits", "decimal(10, 2)"),
    ("DATE '2024-02-30'", 6, "'2024-02-30' is no date", "2024-05-01"),
    ("TIMESTAMP '1 May'", 11, "'1 May' is no timestamp", "2024-05-01 13:45:00"),
    ("TIME '25:00'", 6, "'25:00' is no time", "13:45:00"),
    ("INTERVAL '1 fortnight'", 10, "'1 fortnight' is no interval", "90 minutes"),
    ("INTERVAL '1.5 months'", 10, "'1.5 months' is no interval", ""),
    ("$", 1, "$ is the whole row", "$.a"),
    ("$.1", 1, "$ is the whole row", ""),
    ("a.", 3, "expected the name of a field after the point, found the end", ""),
    ("99999999999999999999", 1, "'99999999999999999999' does not fit in 64 bits", "as a float"),
    ("-9223372036854775809", 2, "'-9223372036854775809' does not fit in 64 bits", ""),
    ("1e999", 1, "'1e999' is too large for a float64", ""),
    ("a = '\ud800'", 6, "half a surrogate pair, which is no character", ""),
    ("a\n+ )", 3, "expected a value, found ')'", ""),
]


@pytest.mark.parametrize(
    ("text", "column", "problem", "remedy"), ERRORS, ids=[repr(row[0]) for row in ERRORS]
)
def test_an_error_says_what_where_and_what_instead(
    text: str, column: int, problem: str, remedy: str
) -> None:
    """People mend an expression from its error alone: there is no debugger for it."""
    with pytest.raises(ExpressionError) as raised:
        parse(text)
    assert (raised.value.problem, raised.value.column) == (problem, column)
    assert remedy in raised.value.remedy
    assert isinstance(raised.value, Rejected)
    assert raised.value.code == Code.INVALID


def test_an_error_shows_the_line_with_a_caret() -> None:
    """In a long expression of several lines a column alone is hard to find."""
    with pytest.raises(ExpressionError) as raised:
        parse("a > 1\n  AND lowr(b) = 'x'\n  AND c")
    assert raised.value.message == (
        "line 2, column 7: unknown function 'lowr'\n"
        "    AND lowr(b) = 'x'\n"
        "        ^^^^\n"
        "did you mean 'lower'?"
    )


def test_an_excerpt_is_cut_to_a_terminal() -> None:
    """A generated expression of one long line must not flood a log."""
    with pytest.raises(ExpressionError) as raised:
        parse("a OR " * 900 + ")")
    assert max(map(len, raised.value.message.splitlines())) <= 80
    line, caret = raised.value.excerpt.splitlines()
    assert line[caret.index("^")] == ")"


COLUMNS = [
    ("a.b.c + d", {"a", "d"}, set()),
    ("$.a.b", {"a"}, set()),
    ("lower(a) = b", {"a", "b"}, set()),
    ("a = b", {"a"}, {"b"}),
    ("a.b == active", {"a"}, {"active"}),
    ("a = b AND b > 1", {"a", "b"}, set()),
    ('a = "b"', {"a", "b"}, set()),
    ("a = $.b", {"a", "b"}, set()),
    ("1 = 1", set(), set()),
    ("CASE a WHEN b THEN c END", {"a", "b", "c"}, set()),
]


@pytest.mark.parametrize(("text", "columns", "words"), COLUMNS, ids=[row[0] for row in COLUMNS])
def test_an_expression_knows_what_it_reads(text: str, columns: set[str], words: set[str]) -> None:
    """A source reads only the columns that somebody needs, before there is a schema."""
    expression = parse(text)
    assert set(expression.columns) == columns
    assert set(expression.words) == words


HOSTILE = [
    ("(" * 3_000 + "1" + ")" * 3_000, Code.TOO_LARGE),
    ("(" * 9_999, Code.TOO_LARGE),
    ("NOT " * 2_000 + "a", Code.TOO_LARGE),
    ("- " * 4_000 + "a", Code.TOO_LARGE),
    ("a" + "::int" * 100, Code.TOO_LARGE),
    ("a" + ".b" * 1_000, Code.TOO_LARGE),
    ("a" + "[0]" * 1_000, Code.TOO_LARGE),
    ("a" + " + a" * 100, Code.TOO_LARGE),
    ("CASE " * 1_000, Code.TOO_LARGE),
    ("abs(" * 2_000, Code.TOO_LARGE),
    ("a::" + "list<" * 1_000, Code.TOO_LARGE),
    ("a IN (" + "1," * 4_000 + "1)", Code.TOO_LARGE),
    ("x" * 10_001, Code.TOO_LARGE),
    ("x" * 10_000_000, Code.TOO_LARGE),
    ("'" * 9_999, Code.INVALID),
    ('"' * 9_999, Code.INVALID),
    ("9" * 9_999, Code.INVALID),
    ("1e" + "9" * 9_000, Code.INVALID),
    ("0." * 4_000, Code.INVALID),
    ("\0", Code.INVALID),
    ("\u202e", Code.INVALID),
    ("lower(" + "x" * 9_000 + "y()", Code.INVALID),
    ("x" * 9_000 + "(1)", Code.INVALID),
    ("INTERVAL '" + "1 day " * 1_500 + "x'", Code.INVALID),
    ("().__class__.__mro__", Code.INVALID),
    ("{{ config }}", Code.INVALID),
    ("a; DROP TABLE b", Code.INVALID),
    ("a -- comment\n; b", Code.INVALID),
    ("lambda: 0", Code.INVALID),
    ("read_csv('/etc/passwd')", Code.INVALID),
    ("${jndi:ldap://x}", Code.INVALID),
]


@pytest.mark.parametrize(
    ("text", "code"), HOSTILE, ids=[f"{text[:16]!r} {len(text)}" for text, _ in HOSTILE]
)
@pytest.mark.usefixtures("hurry")
def test_hostile_text_is_refused_at_once(text: str, code: Code) -> None:
    """Anybody who may create a pipeline may send this: it must cost nothing and crash nothing."""
    with pytest.raises(ExpressionError) as raised:
        parse(text)
    assert raised.value.code == code
    assert len(raised.value.message) < 1_000


def test_limits_leave_room_for_what_people_write() -> None:
    """A thousand alternatives are long, not deep; a limit that bites them would be a bug."""
    many = " OR ".join(["a = 1"] * 600)
    assert len(many) <= LENGTH_MAX
    assert parse(many).columns == {"a"}
    assert parse("(" * (DEPTH_MAX - 1) + "a" + ")" * (DEPTH_MAX - 1)).columns == {"a"}
    assert parse(f"a IN ({','.join(['1'] * (NODES_MAX - 2))})").columns == {"a"}


TYPES = [
    ("int", "int64"),
    ("INTEGER", "int64"),
    ("bigint", "int64"),
    ("smallint", "int16"),
    ("uint8", "uint8"),
    ("double", "float64"),
    ("float", "float64"),
    ("real", "float32"),
    ("text", "string"),
    ("varchar", "string"),
    ("boolean", "bool"),
    ("bytea", "bytes"),
    ("decimal(10,2)", "decimal(10, 2)"),
    ("numeric( 5 )", "decimal(5, 0)"),
    ("timestamp", "timestamp"),
    ("timestamp(us)", "timestamp"),
    ("timestamp(ms)", "timestamp(ms)"),
    ("timestamp(ns, America/New_York)", "timestamp(ns, 'America/New_York')"),
    ("timestamp(us, '+02:00')", "timestamp(us, '+02:00')"),
    ("timestamptz", "timestamp(us, 'UTC')"),
    ("time(s)", "time(s)"),
    ("duration(ms)", "duration(ms)"),
    ("list<int>", "list<int64>"),
    ('struct<a: int, "b c": list<text>>', 'struct<a: int64, "b c": list<string>>'),
]


@pytest.mark.parametrize(("text", "expected"), TYPES, ids=[text for text, _ in TYPES])
def test_a_type_has_one_name_that_reads_back(text: str, expected: str) -> None:
    """A type is stored and shown by its name, so the name must mean the same type again."""
    found = parse_type(text)
    assert str(found) == expected
    assert parse_type(str(found)) == found


BAD_TYPES = [
    ("", "expected a type, found the end"),
    ("strng", "unknown type 'strng'"),
    ("opaque", "unknown type 'opaque'"),
    ("decimal(77, 2)", "expected a number from 1 to 76, found '77'"),
    ("decimal(5, 6)", "expected a number from 0 to 5, found '6'"),
    ("timestamp(xs)", "expected a unit: s, ms, us or ns, found 'xs'"),
    ("list<int", "expected > after the type of the items, found the end"),
    ("struct<a: int, a: int>", "two fields named 'a'"),
    ("varchar(20)", "expected the end of the type, found '('"),
    ("int int", "expected the end of the type, found 'int'"),
]


@pytest.mark.parametrize(("text", "problem"), BAD_TYPES, ids=[text for text, _ in BAD_TYPES])
def test_a_type_that_is_none_is_refused(text: str, problem: str) -> None:
    """A misspelt type in a declared schema must stop before the first row is read."""
    with pytest.raises(ExpressionError) as raised:
        parse_type(text)
    assert raised.value.problem == problem


def test_a_literal_is_a_value_of_its_own() -> None:
    """Constants need no schema."""
    assert str(check(parse("1 + 1"), {})) == "int64"
