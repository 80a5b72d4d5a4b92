"""Random expressions on random rows give what a plain interpreter gives, one row at a time.

The interpreter shares nothing with the package: it walks the trees that the strategies made, never
their text, and says for each row its value or that the row is at fault.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import TypeAlias

import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow.core.errors import Code
from dataflow.expressions import ExpressionError, check, parse, parse_type
from dataflow.expressions.compile import compile_expression, to_arrow
from dataflow.expressions.functions import FUNCTIONS
from dataflow.expressions.vector import nulls

Value: TypeAlias = int | float | str | bool | dt.date | None
Row: TypeAlias = Mapping[str, Value]

LEAST, MOST = -(2**63), 2**63 - 1
COLUMNS = {
    "int": ("i", "j"),
    "float": ("x", "y"),
    "text": ("s", "r"),
    "bool": ("b", "c"),
    "date": ("d", "e"),
}
ARROW: Mapping[str, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
}
LETTERS = "aB1- é%_."
VALUES: Mapping[str, st.SearchStrategy[Value]] = {
    "int": st.sampled_from([0, 1, -1, 2, 7, -7, 100, MOST, MOST - 1, LEAST, LEAST + 1, 2**53 + 1]),
    "float": st.one_of(
        st.sampled_from([0.0, -0.0, 0.5, -2.5, math.nan, math.inf, -math.inf, 1e300]),
        st.floats(-1000, 1000),
    ),
    "text": st.one_of(
        st.text(LETTERS, max_size=6), st.sampled_from([" +7 ", "-12", "2024-02-29", "2023-02-29"])
    ),
    "bool": st.booleans(),
    "date": st.dates(dt.date(1890, 1, 1), dt.date(2110, 12, 31)),
}
WRITTEN: Mapping[str, st.SearchStrategy[Value]] = {
    **VALUES,
    "int": st.integers(-20, 20),
    "float": st.sampled_from([0.0, 0.5, -2.5, 3.25, 100.0]),
}


class FaultyRowError(Exception):
    """This row has no value."""


@dataclass(frozen=True)
class Tree:
    """An operation, its text, its subtrees, and the plain values it was written with."""

    name: str
    text: str
    children: tuple[Tree, ...] = ()
    constants: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Shape:
    """How an operation is written: ``?`` is a subtree of that kind, ``#`` a plain value."""

    name: str
    template: str
    kinds: tuple[str, ...]
    constants: tuple[st.SearchStrategy[Value], ...] = ()


def shapes(*rows: tuple[str, str, str]) -> list[Shape]:
    """Return shapes without plain values, from name, template and kinds."""
    return [Shape(name, template, tuple(kinds.split())) for name, template, kinds in rows]


SHORT = st.text(LETTERS, max_size=2)
PLACE = st.sampled_from([-4, -2, -1, 1, 2, 5])
WIDTH = st.integers(0, 8)
LETTER = st.text(LETTERS, min_size=1, max_size=1)
SHAPES: Mapping[str, Sequence[Shape]] = {
    "int": [
        *shapes(
            ("int +", "(? + ?)", "int int"),
            ("int -", "(? - ?)", "int int"),
            ("int *", "(? * ?)", "int int"),
            ("int %", "(? % ?)", "int int"),
            ("negate", "(- ?)", "int"),
            ("abs", "abs(?)", "int"),
            ("text to int", "CAST(? AS int64)", "text"),
            ("text to int or null", "TRY_CAST(? AS int64)", "text"),
            ("float to int", "?::int64", "float"),
            ("length", "length(?)", "text"),
            ("days apart", "(? - ?)", "date date"),
            ("year", "year(?)", "date"),
            ("weekday", "dayofweek(?)", "date"),
            ("months between", "date_diff('month', ?, ?)", "date date"),
        ),
        Shape("position", "position(# IN ?)", ("text",), (SHORT,)),
    ],
    "float": shapes(
        ("float +", "(? + ?)", "float float"),
        ("float +", "(? + ?)", "int float"),
        ("float -", "(? - ?)", "float int"),
        ("float *", "(? * ?)", "float float"),
        ("divide", "(? / ?)", "float int"),
        ("divide", "(? / ?)", "int int"),
        ("float %", "mod(?, ?)", "float float"),
        ("negate float", "(- ?)", "float"),
        ("floor", "floor(?)", "float"),
        ("ceil", "ceil(?)", "float"),
        ("round", "round(?)", "float"),
        ("sqrt", "sqrt(?)", "float"),
        ("int to float", "CAST(? AS float64)", "int"),
    ),
    "text": [
        *shapes(
            ("lower", "lower(?)", "text"),
            ("upper", "UPPER(?)", "text"),
            ("reverse", "reverse(?)", "text"),
            ("trim", "trim(?)", "text"),
            ("join", "(? || ?)", "text text"),
            ("concat", "concat(?, ?)", "text int"),
            ("int to text", "?::string", "int"),
            ("date to text", "strftime(?, '%d.%m.%Y')", "date"),
        ),
        Shape("substr", "substr(?, #, #)", ("text",), (PLACE, st.integers(0, 4))),
        Shape("replace", "replace(?, #, #)", ("text",), (SHORT, SHORT)),
        Shape("split_part", "split_part(?, #, #)", ("text",), (LETTER, PLACE)),
        Shape("lpad", "lpad(?, #, #)", ("text",), (WIDTH, LETTER)),
        Shape("rpad", "rpad(?, #, #)", ("text",), (WIDTH, LETTER)),
    ],
    "bool": [
        *shapes(
            *((sign, f"(? {sign} ?)", "other other") for sign in ("=", "<>", "<", "<=", ">", ">=")),
            ("<", "(? < ?)", "int float"),
            ("=", "(? == ?)", "float int"),
            ("and", "(? AND ?)", "bool bool"),
            ("and", "(? and ? AND ?)", "bool bool bool"),
            ("or", "(? OR ?)", "bool bool"),
            ("not", "(NOT ?)", "bool"),
            ("is null", "(? IS NULL)", "other"),
            ("same", "(? IS NOT DISTINCT FROM ?)", "other other"),
            ("between", "(? BETWEEN ? AND ?)", "other other other"),
            ("in", "(? IN (?, ?))", "other other other"),
            ("is nan", "is_nan(?)", "float"),
        ),
        Shape(
            "in set or null", "(? IN (#, #, #, #, #, NULL))", ("int",), (st.integers(-3, 8),) * 5
        ),
        Shape("in set", "(? NOT IN (#, #, #, #, #))", ("text",), (SHORT,) * 5),
        Shape("in set", "(? NOT IN (#, #, #, #, #))", ("float",), (WRITTEN["float"],) * 5),
        Shape("like", "(? LIKE #)", ("text",), (st.text(LETTERS, max_size=5),)),
        Shape("contains", "contains(?, #)", ("text",), (SHORT,)),
        Shape("starts", "starts_with(?, #)", ("text",), (SHORT,)),
        Shape("ends", "ends_with(?, #)", ("text",), (SHORT,)),
    ],
    "date": [
        Shape("add months", "(? + INTERVAL '# months')", ("date",), (st.integers(-30, 30),)),
        Shape("add days", "date_add(?, INTERVAL '# days')", ("date",), (st.integers(-400, 400),)),
        *shapes(
            ("month start", "date_trunc('month', ?)", "date"),
            ("text to date", "CAST(? AS date)", "text"),
        ),
    ],
    "any": shapes(
        ("case", "IF(?, ?, ?)", "bool same same"),
        ("case", "CASE WHEN ? THEN ? ELSE ? END", "bool same same"),
        ("case", "CASE WHEN ? THEN ? WHEN ? THEN ? END", "bool same bool same"),
        ("case of", "CASE ? WHEN ? THEN ? ELSE ? END", "other other same same"),
        ("coalesce", "coalesce(?, ?)", "same same"),
        ("nullif", "nullif(?, ?)", "same same"),
    ),
}


def written(value: Value) -> str:
    """Return a value as a literal."""
    if value is None or isinstance(value, bool):
        return "NULL" if value is None else str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"DATE '{value}'" if isinstance(value, dt.date) else f"({value!r})"


@st.composite
def trees(draw: st.DrawFn, kind: str, depth: int) -> Tree:
    """Return a random tree of a kind."""
    if depth == 0 or draw(st.integers(0, 6)) == 0:
        if draw(st.integers(0, 4)):
            return Tree("column", draw(st.sampled_from(COLUMNS[kind])))
        value = draw(st.none() | WRITTEN[kind])
        text = f"CAST(NULL AS {kind})" if value is None else written(value)
        return Tree("literal", text, (), (value,))
    shape = draw(st.sampled_from([*SHAPES[kind], *SHAPES["any"]]))
    kinds = {"same": kind, "other": draw(st.sampled_from(sorted(COLUMNS)))}
    children = tuple(draw(trees(kinds.get(child, child), depth - 1)) for child in shape.kinds)
    constants = tuple(draw(constant) for constant in shape.constants)
    pieces = re.split("([?#])", shape.template)
    subtexts, subvalues = iter(children), iter(constants)
    text = ""
    for piece in pieces:
        if piece == "?":
            text += next(subtexts).text
        elif piece == "#":
            value = next(subvalues)
            text += str(value) if "INTERVAL" in shape.template else written(value)
        else:
            text += piece
    return Tree(shape.name, text, children, constants)


# ── the interpreter ─────────────────────────────────────────────────────────────────────────


def interpret(tree: Tree, row: Row) -> Value:
    """Return the value of a tree for a row.

    Raises:
        FaultyRowError: it has none.
    """
    if tree.name == "literal":
        return tree.constants[0]
    if tree.name == "column":
        return row[tree.text]
    if tree.name in LAZY:
        return LAZY[tree.name]([partial(interpret, child, row) for child in tree.children])
    values = [interpret(child, row) for child in tree.children]
    if tree.name in ON_NULL:
        return ON_NULL[tree.name](*values, *tree.constants)
    if None in values:
        return None
    found = STRICT[tree.name](*values, *tree.constants)
    if isinstance(found, int) and not isinstance(found, bool) and not LEAST <= found <= MOST:
        raise FaultyRowError
    return found


Thunks: TypeAlias = Sequence[Callable[[], Value]]


def _all_of(operands: Thunks) -> Value:
    found: Value = True
    for operand in operands:
        value = operand()
        if value is False:
            return False
        found = None if value is None else found
    return found


def _any_of(operands: Thunks) -> Value:
    found: Value = False
    for operand in operands:
        value = operand()
        if value is True:
            return True
        found = None if value is None else found
    return found


def _case(operands: Thunks) -> Value:
    for condition, value in zip(operands[::2], operands[1::2], strict=False):
        if condition() is True:
            return value()
    return operands[-1]() if len(operands) % 2 else None


def _case_of(operands: Thunks) -> Value:
    subject = operands[0]()
    test = operands[1]()
    return operands[2]() if equal(subject, test) else operands[3]()


def _coalesce(operands: Thunks) -> Value:
    return next((found for operand in operands if (found := operand()) is not None), None)


LAZY: Mapping[str, Callable[[Thunks], Value]] = {
    "and": _all_of,
    "or": _any_of,
    "case": _case,
    "case of": _case_of,
    "coalesce": _coalesce,
}


def equal(left: Value, right: Value) -> bool | None:
    """Compare as SQL does; an int next to a float is a float first."""
    if left is None or right is None:
        return None
    if isinstance(left, float) or isinstance(right, float):
        return float(left) == float(right)  # type: ignore[arg-type]  # numbers both
    return left == right


def _among(value: Value, *items: Value) -> bool | None:
    found = [equal(value, item) for item in items]
    return True if True in found else None if None in found else False


def _between(value: Value, low: Value, high: Value) -> Value:
    def at_least(left: Value, right: Value) -> Value:
        return None if left is None or right is None else left >= right  # type: ignore[operator]  # of one kind

    return _all_of([lambda: at_least(value, low), lambda: at_least(high, value)])


def _same(left: Value, right: Value) -> bool:
    if left is None or right is None:
        return left is right
    nans = [isinstance(value, float) and math.isnan(value) for value in (left, right)]
    return all(nans) or bool(equal(left, right))


def _negation(value: Value) -> Value:
    return None if value is None else not value


ON_NULL: Mapping[str, Callable[..., Value]] = {
    "is null": lambda value: value is None,
    "same": _same,
    "in": _among,
    "in set": lambda value, *items: _negation(_among(value, *items)),
    "in set or null": lambda value, *items: _among(value, *items, None),
    "between": _between,
    "nullif": lambda left, right: None if equal(left, right) else left,
    "concat": lambda text, number: (text or "") + ("" if number is None else str(number)),
}


def _modulo(left: int, right: int) -> Value:
    return None if right == 0 else int(math.copysign(1, left)) * (abs(left) % abs(right))


def _cut(value: float) -> float:
    return value if math.isnan(value) or math.isinf(value) else float(math.trunc(value))


def _float_modulo(left: float, right: float) -> Value:
    return None if right == 0 else left - _cut(_quotient(left, right)) * right


def _quotient(left: float, right: float) -> float:
    try:
        return float(left) / float(right)
    except OverflowError:  # never for finite operands of this size
        return math.inf


def _whole(value: float, rule: Callable[[Decimal], Decimal]) -> float:
    if math.isnan(value) or math.isinf(value):
        return value
    return math.copysign(float(rule(Decimal(value))), value)


def _to_int(text: str) -> int:
    text = text.strip()
    if not re.fullmatch(r"[+-]?[0-9]+", text) or not LEAST <= int(text) <= MOST:
        raise FaultyRowError
    return int(text)


def _to_int_or_null(text: str) -> Value:
    try:
        return _to_int(text)
    except FaultyRowError:
        return None


def _float_to_int(value: float) -> int:
    if math.isnan(value) or math.isinf(value):
        raise FaultyRowError
    return math.trunc(value)


def _to_date(text: str) -> dt.date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text.strip()):
        raise FaultyRowError
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError as error:
        raise FaultyRowError from error


def _add_months(day: dt.date, months: int) -> dt.date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    for last in (31, 30, 29, 28):
        try:
            return dt.date(year, month + 1, min(day.day, last))
        except ValueError:
            continue
    raise AssertionError


def _substr(text: str, start: int, length: int) -> str:
    start = start - 1 if start > 0 else start
    stop = start + length
    return text[start:] if start < 0 <= stop else text[start:stop]


def _split_part(text: str, separator: str, place: int) -> str:
    parts = text.split(separator)
    place = place - 1 if place > 0 else place
    return parts[place] if -len(parts) <= place < len(parts) else ""


def _like(text: str, pattern: str) -> bool:
    expression = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


STRICT: Mapping[str, Callable[..., Value]] = {
    "int +": lambda a, b: a + b,
    "int -": lambda a, b: a - b,
    "int *": lambda a, b: a * b,
    "int %": _modulo,
    "negate": lambda a: -a,
    "abs": abs,
    "text to int": _to_int,
    "text to int or null": _to_int_or_null,
    "float to int": _float_to_int,
    "length": len,
    "position": lambda text, part: text.find(part) + 1,
    "days apart": lambda a, b: (a - b).days,
    "year": lambda day: day.year,
    "weekday": lambda day: day.isoweekday(),
    "months between": lambda a, b: (b.year - a.year) * 12 + b.month - a.month,
    "float +": lambda a, b: float(a) + float(b),
    "float -": lambda a, b: float(a) - float(b),
    "float *": lambda a, b: a * b,
    "divide": lambda a, b: None if b == 0 else _quotient(a, b),
    "float %": _float_modulo,
    "negate float": lambda a: -a,
    "floor": lambda a: _whole(a, lambda d: d.to_integral_value("ROUND_FLOOR")),
    "ceil": lambda a: _whole(a, lambda d: d.to_integral_value("ROUND_CEILING")),
    "round": lambda a: _whole(a, lambda d: d.to_integral_value(ROUND_HALF_UP)),
    "sqrt": lambda a: None if a < 0 else math.sqrt(a),
    "int to float": float,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "reverse": lambda text: text[::-1],
    "trim": lambda text: text.strip(),
    "join": lambda a, b: a + b,
    "int to text": str,
    "date to text": lambda day: day.strftime("%d.%m.%Y"),
    "substr": _substr,
    "replace": lambda text, old, new: text.replace(old, new) if old else text,
    "split_part": _split_part,
    "lpad": lambda text, width, pad: text.rjust(width, pad)[:width],
    "rpad": lambda text, width, pad: text.ljust(width, pad)[:width],
    "=": equal,
    "<>": lambda a, b: not equal(a, b),
    "<": lambda a, b: number(a, b) < number(b, a),
    "<=": lambda a, b: number(a, b) <= number(b, a),
    ">": lambda a, b: number(a, b) > number(b, a),
    ">=": lambda a, b: number(a, b) >= number(b, a),
    "not": lambda a: not a,
    "is nan": math.isnan,
    "like": _like,
    "contains": lambda text, part: part in text,
    "starts": lambda text, part: text.startswith(part),
    "ends": lambda text, part: text.endswith(part),
    "add months": _add_months,
    "add days": lambda day, days: day + dt.timedelta(days),
    "month start": lambda day: day.replace(day=1),
    "text to date": _to_date,
}


def number(value: float, other: object) -> float:
    """Return a value as a float next to a float."""
    return float(value) if isinstance(other, float) else value


# ── the comparison ──────────────────────────────────────────────────────────────────────────

ROWS = st.lists(
    st.fixed_dictionaries(
        {name: st.none() | VALUES[kind] for kind, names in COLUMNS.items() for name in names}
    ),
    min_size=1,
    max_size=40,
)
SCHEMA = pa.schema([(name, ARROW[kind]) for kind, names in COLUMNS.items() for name in names])


def agree(found: Value, wanted: Value) -> bool:
    """Return whether two values are the same, floats to the last digits, NaN being NaN."""
    if isinstance(found, float) and isinstance(wanted, float):
        both_nan = math.isnan(found) and math.isnan(wanted)
        return both_nan or math.isclose(found, wanted, rel_tol=1e-12)
    return type(found) is type(wanted) and found == wanted


@given(st.sampled_from(sorted(COLUMNS)).flatmap(lambda kind: trees(kind, 4)), ROWS)
@settings(max_examples=200, deadline=None)
def test_kernels_give_what_an_interpreter_gives(tree: Tree, table: list[Row]) -> None:
    """Vectors hide rows: NULLs, guards and faults of one row must not touch another."""
    try:
        compiled = compile_expression(parse(tree.text), SCHEMA)
    except ExpressionError as error:
        # a part without columns has no value: said before the first row, whether needed or not
        assume("does not fit" not in error.problem and " is no " not in error.problem)
        assume(error.code != Code.TOO_LARGE)
        raise
    outcome = compiled.evaluate_rows(pa.RecordBatch.from_pylist(table, schema=SCHEMA))
    faulty = set() if outcome.faults is None else set(outcome.faults.rows.to_pylist())
    for number_, (row, found) in enumerate(zip(table, outcome.values.to_pylist(), strict=True)):
        try:
            wanted = interpret(tree, row)
        except FaultyRowError:
            assert number_ in faulty, (tree.text, row, found)
            continue
        assert number_ not in faulty, (tree.text, row, wanted)
        assert agree(found, wanted), (tree.text, row, found, wanted)


@given(st.one_of(st.text(max_size=200), st.text("ab.()[]'\"`$=<>!+-*/%|:,0 19eE\n", max_size=300)))
@settings(max_examples=200, deadline=None)
def test_random_text_is_read_or_refused(text: str) -> None:
    """Whatever people paste, the answer is an expression or an error with a place in it."""
    refusals: list[ExpressionError] = []
    for read in (parse, parse_type):
        try:
            read(text)
        except ExpressionError as error:
            refusals.append(error)
    assert all(1 <= error.line <= text.count("\n") + 1 for error in refusals)
    assert all(error.column >= 1 for error in refusals)


TYPES = {
    f"c{number}": parse_type(name)
    for number, name in enumerate(
        [
            *("null", "bool", "int8", "int64", "uint8", "uint64", "float32", "float64"),
            *("decimal(10, 2)", "decimal(50, 5)", "string", "bytes", "date", "time", "time(s)"),
            *("timestamp(s)", "timestamp", "timestamp(ns)", "timestamp(ms, 'Asia/Tokyo')"),
            *("duration(ms)", "list<string>", "struct<a: int64>"),
        ]
    )
}
LOOSE = st.sampled_from(
    [
        *(f"? {sign} ?" for sign in ("=", "<", "+", "-", "*", "/", "%", "||")),
        *("? BETWEEN ? AND ?", "? IN (?, NULL)", "? IS DISTINCT FROM ?", "? IS NULL", "-?", "?[0]"),
        *("CASE WHEN ? IS NULL THEN ? WHEN ? THEN ? END", "CASE ? WHEN ? THEN ? ELSE ? END"),
        *(f"CAST(? AS {of})" for of in TYPES.values()),
        *(f"TRY_CAST(? AS {of})" for of in TYPES.values()),
        *(f"{name}(?)" for name in FUNCTIONS),
        *(f"{name}(?, ?)" for name in FUNCTIONS),
        *(f"date_trunc('{unit}', ?)" for unit in ("year", "week", "hour", "microsecond")),
        *(f"date_diff('{unit}', ?, ?)" for unit in ("quarter", "week", "hour", "microsecond")),
        *("? + INTERVAL '1 month'", "? - INTERVAL '1 day'", "strftime(?, '%Y %f')", "round(?, -1)"),
    ]
)
LEAVES = st.sampled_from(
    [*TYPES, "NULL", "1", "2.5", "'x'", "TRUE", "DATE '2024-01-01'", "INTERVAL '1 day'"]
)


@given(LOOSE, st.data())
@settings(max_examples=400, deadline=None)
def test_what_passes_the_checks_can_be_computed(template: str, data: st.DataObject) -> None:
    """Arrow lacks kernels for many types: its own error would reach the user at the first row."""
    text = re.sub(r"\?", lambda _: data.draw(LEAVES), template)
    schema = pa.schema([(name, to_arrow(of)) for name, of in TYPES.items()])
    batch = pa.RecordBatch.from_arrays([nulls(of, 2) for of in schema.types], schema=schema)
    try:
        expression = parse(text)
        found = check(expression, TYPES)
    except ExpressionError:
        return
    try:
        compiled = compile_expression(expression, schema)
    except ExpressionError as error:
        assume(" is no " not in error.problem)  # the constant 'x' converted
        raise
    assert compiled.evaluate(batch).type == to_arrow(found)
