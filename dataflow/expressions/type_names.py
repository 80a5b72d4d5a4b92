"""Type names as users write them: ``int``, ``decimal(10, 2)``, ``list<struct<a: string>>``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from dataflow.expressions.cursor import Cursor
from dataflow.expressions.errors import listing, shown, suggestion
from dataflow.expressions.lexer import Token, TokenKind
from dataflow.expressions.types import (
    PRECISION_MAX,
    UNITS,
    DecimalType,
    DurationType,
    Kind,
    ListType,
    StructType,
    TimestampType,
    TimeType,
    Type,
)

ALIASES: Final = {
    "int": Kind.INT64,
    "integer": Kind.INT64,
    "bigint": Kind.INT64,
    "long": Kind.INT64,
    "smallint": Kind.INT16,
    "tinyint": Kind.INT8,
    "float": Kind.FLOAT64,
    "double": Kind.FLOAT64,
    "real": Kind.FLOAT32,
    "text": Kind.STRING,
    "varchar": Kind.STRING,
    "str": Kind.STRING,
    "utf8": Kind.STRING,
    "boolean": Kind.BOOL,
    "binary": Kind.BYTES,
    "blob": Kind.BYTES,
    "bytea": Kind.BYTES,
    "date32": Kind.DATE,
    "datetime": Kind.TIMESTAMP,
    "timestamptz": Kind.TIMESTAMP,
    "numeric": Kind.DECIMAL,
    "interval": Kind.DURATION,
    "array": Kind.LIST,
}
NAMES: Final = {
    kind.value: kind for kind in Kind if kind not in {Kind.OPAQUE, Kind.INTERVAL}
} | ALIASES


KNOWN_LENGTH_MAX = 100
"""Names of types this long are remembered: every column of every spec has one, mostly the same."""


def parse_type(text: str) -> Type:
    """Return the type of that name; case does not matter, save for the names of fields.

    ``int``, ``integer`` and ``bigint`` are int64, ``float`` and ``double`` are float64, ``real``
    is float32, ``timestamp`` counts microseconds and has no zone, ``timestamptz`` is in UTC.

    Raises:
        ExpressionError: no such type; the message suggests one.
    """
    return _known_type(text) if len(text) <= KNOWN_LENGTH_MAX else _type(text)


def _type(text: str) -> Type:
    cursor = Cursor(text)
    found = read_type(cursor)
    if cursor.token.kind is not TokenKind.END:
        raise cursor.unexpected("the end of the type")
    return found


_known_type = lru_cache(maxsize=1_024)(_type)


def read_type(cursor: Cursor) -> Type:
    """Return the type whose name comes next in a longer text.

    Raises:
        ExpressionError: no type comes next.
    """
    with cursor.level():
        token = cursor.token
        kind = NAMES.get(token.word)
        if token.kind is not TokenKind.NAME:
            raise cursor.unexpected("a type")
        if kind is None:
            remedy = suggestion(token.value, NAMES) or f"types: {listing(NAMES)}"
            problem = f"unknown type {shown(token.value)}"
            raise cursor.source.error(problem, token.at, width=token.width, remedy=remedy)
        cursor.take()
        cursor.count_node(token.at)
        if token.word == "timestamptz":
            return TimestampType("us", "UTC")
        read = _PARAMETERS.get(kind)
        return read(cursor, token) if read else Type(kind)


def _decimal(cursor: Cursor, token: Token) -> Type:
    if not cursor.skip("("):
        remedy = "say how many digits, and how many of them after the point: decimal(10, 2)"
        raise cursor.source.error(
            "a decimal needs its digits", token.at, width=token.width, remedy=remedy
        )
    precision = _digits(cursor, 1, PRECISION_MAX)
    scale = _digits(cursor, 0, precision) if cursor.skip(",") else 0
    cursor.expect(")", "after the digits")
    return DecimalType(precision, scale)


def _digits(cursor: Cursor, least: int, most: int) -> int:
    token = cursor.token
    valid = token.kind is TokenKind.NUMBER and token.value.isdecimal()
    valid = valid and token.width <= len(str(PRECISION_MAX))
    if not valid or not least <= int(token.value) <= most:
        raise cursor.unexpected(f"a number from {least} to {most}")
    cursor.take()
    return int(token.value)


def _timestamp(cursor: Cursor, _token: Token) -> Type:
    unit, zone = "us", ""
    if cursor.skip("("):
        unit = _unit(cursor)
        zone = _zone(cursor) if cursor.skip(",") else ""
        cursor.expect(")", "after the unit and zone")
    return TimestampType(unit, zone)


def _zone(cursor: Cursor) -> str:
    token = cursor.take()
    if token.kind is TokenKind.STRING and token.value:
        return token.value
    zone = token.value
    while token.kind is TokenKind.NAME and cursor.skip("/"):
        token = cursor.take()
        zone += "/" + token.value
    if token.kind is not TokenKind.NAME:
        raise cursor.source.error(
            "expected a time zone", token.at, remedy="as in timestamp(us, 'Europe/Berlin')"
        )
    return zone


def _time(cursor: Cursor, _token: Token) -> Type:
    return TimeType(_unit_in_parentheses(cursor))


def _duration(cursor: Cursor, _token: Token) -> Type:
    return DurationType(_unit_in_parentheses(cursor))


def _unit_in_parentheses(cursor: Cursor) -> str:
    if not cursor.skip("("):
        return "us"
    unit = _unit(cursor)
    cursor.expect(")", "after the unit")
    return unit


def _unit(cursor: Cursor) -> str:
    if cursor.token.word not in UNITS:
        raise cursor.unexpected("a unit: s, ms, us or ns")
    return cursor.take().word


def _list(cursor: Cursor, _token: Token) -> Type:
    cursor.expect("<", "and the type of the items: list<string>")
    item = read_type(cursor)
    cursor.expect(">", "after the type of the items")
    return ListType(item)


def _struct(cursor: Cursor, _token: Token) -> Type:
    cursor.expect("<", "and the fields: struct<a: int64, b: string>")
    fields: dict[str, Type] = {}
    while True:
        name = cursor.token
        if name.kind not in {TokenKind.NAME, TokenKind.QUOTED}:
            raise cursor.unexpected("the name of a field")
        if name.value in fields:
            problem = f"two fields named {shown(name.value)}"
            raise cursor.source.error(problem, name.at, width=name.width)
        cursor.take()
        cursor.expect(":", "after the name of a field")
        fields[name.value] = read_type(cursor)
        if not cursor.skip(","):
            break
    cursor.expect(">", "after the fields")
    return StructType(tuple(fields.items()))


_PARAMETERS: Final[dict[Kind, Callable[[Cursor, Token], Type]]] = {
    Kind.DECIMAL: _decimal,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIME: _time,
    Kind.DURATION: _duration,
    Kind.LIST: _list,
    Kind.STRUCT: _struct,
}
