"""The forms with a grammar of their own: CASE, CAST, EXTRACT, POSITION, typed literals, ``$``.

Each reader looks whether its form comes next; most of their words are also fine names of columns
(``date``, ``extract``), so a reader that finds no form leaves the tokens and returns None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from dataflow.expressions.errors import shown
from dataflow.expressions.lexer import Token, TokenKind
from dataflow.expressions.moments import (
    parse_date,
    parse_interval,
    parse_time,
    parse_timestamp,
)
from dataflow.expressions.tree import Node
from dataflow.expressions.type_names import read_type
from dataflow.expressions.types import DATE, DURATION, INTERVAL, NULL, STRING, Type

if TYPE_CHECKING:
    from dataflow.expressions.parser import Parser

Form = Callable[["Parser", Token], Node | None]


def _case(parser: Parser, token: Token) -> Node:
    cursor = parser.cursor
    cursor.take()
    args: list[Node] = []
    name = "case"
    if cursor.token.word != "when":
        name = "case_of"
        args.append(parser.expression())
    cursor.expect("when", "in CASE")
    while True:
        args.append(parser.expression())
        cursor.expect("then", "after the condition of WHEN")
        args.append(parser.expression())
        if not cursor.skip("when"):
            break
    if cursor.skip("else"):
        args.append(parser.expression())
    else:
        args.append(parser.literal(NULL, None, "", cursor.token))
    cursor.expect("end", "to close CASE")
    return parser.call(name, args, token)


def _cast(parser: Parser, token: Token) -> Node | None:
    if parser.cursor.following.word != "(":
        return None
    parser.cursor.take()
    parser.cursor.take()
    base = parser.expression()
    parser.cursor.expect("as", f"and a type in {token.word.upper()}(… AS type)")
    target = read_type(parser.cursor)
    parser.cursor.expect(")", "after the type")
    return parser.cast(base, target, token, lenient=token.word == "try_cast")


def _extract(parser: Parser, token: Token) -> Node | None:
    cursor = parser.cursor
    if cursor.following.word != "(":
        return None
    cursor.take()
    cursor.take()
    if cursor.token.kind is TokenKind.NAME and cursor.following.word == "from":
        part = cursor.take()
        name = parser.literal(STRING, part.value, part.value, part)
        cursor.take()
        moment = parser.expression()
        cursor.expect(")", "after EXTRACT(part FROM …")
        return parser.call("date_part", [name, moment], token)
    name = parser.expression()
    cursor.expect(",", "or a part and FROM: extract(year FROM x)")
    moment = parser.expression()
    cursor.expect(")", "after extract(part, …")
    return parser.call("date_part", [name, moment], token)


def _position(parser: Parser, token: Token) -> Node | None:
    cursor = parser.cursor
    if cursor.following.word != "(":
        return None
    cursor.take()
    cursor.take()
    wanted = parser.operand()
    if not cursor.skip("in"):
        cursor.expect(",", "or IN after the text to look for")
    text = parser.expression()
    cursor.expect(")", "after POSITION(… IN …")
    return parser.call("position", [wanted, text], token)


def _typed_literal(parser: Parser, token: Token) -> Node | None:
    cursor = parser.cursor
    text = cursor.following
    if text.kind is not TokenKind.STRING:
        return None
    found: tuple[Type, int] | None
    if token.word == "date":
        day = parse_date(text.value)
        found = None if day is None else (DATE, day)
    else:
        found = (parse_time if token.word == "time" else parse_timestamp)(text.value)
    if found is None:
        remedy = "written as in 2024-05-01, 2024-05-01 13:45:00 or 13:45:00"
        problem = f"{shown(text.value)} is no {token.word}"
        raise cursor.source.error(problem, text.at, width=text.width, remedy=remedy)
    cursor.take()
    cursor.take()
    return parser.literal(*found, "", token)


def _interval(parser: Parser, token: Token) -> Node | None:
    cursor = parser.cursor
    text = cursor.following
    if text.kind is not TokenKind.STRING:
        return None
    cursor.take()
    cursor.take()
    interval = parse_interval(text.value)
    if interval is None and cursor.token.kind is TokenKind.NAME:
        interval = parse_interval(f"{text.value} {cursor.token.value}")
        if interval is not None:
            cursor.take()  # INTERVAL '1' HOUR
    if interval is None:
        remedy = "written as in '90 minutes', '1 day 12 hours' or '3 months'"
        problem = f"{shown(text.value)} is no interval"
        raise cursor.source.error(problem, text.at, width=text.width, remedy=remedy)
    if interval.months:
        return parser.literal(INTERVAL, interval, "", token)
    return parser.literal(DURATION, interval.microseconds, "", token)


def _root(parser: Parser, token: Token) -> Node:
    """Read ``$.name`` or ``$['name']``: the column of that name, as JSONPath writes it."""
    cursor = parser.cursor
    cursor.take()
    name = cursor.following
    kinds = {TokenKind.NAME, TokenKind.QUOTED}
    if cursor.token.word == "[":
        kinds = {TokenKind.STRING}
    elif cursor.token.word != ".":
        raise cursor.source.error("$ is the whole row", token.at, remedy="name a column: $.a")
    if name.kind not in kinds:
        raise cursor.source.error("expected a column after $", name.at, remedy="as in $.a.b")
    bracket = cursor.take().word == "["
    cursor.take()
    if bracket:
        cursor.expect("]", "after the name")
    return parser.column(name, plain=False)


FORMS: Final[Mapping[str, Form]] = {
    "case": _case,
    "cast": _cast,
    "try_cast": _cast,
    "extract": _extract,
    "position": _position,
    "date": _typed_literal,
    "time": _typed_literal,
    "timestamp": _typed_literal,
    "interval": _interval,
    "$": _root,
}
