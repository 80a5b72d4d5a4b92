"""Makes the nodes of a tree and keeps their limits, so that no reader of text has to."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.expressions.cursor import Cursor
from dataflow.expressions.errors import ExpressionError, shown
from dataflow.expressions.lexer import Token, TokenKind
from dataflow.expressions.literals import negative
from dataflow.expressions.tree import Call, Cast, Column, Field, Literal, Node
from dataflow.expressions.types import FLOAT64, INT64, UINT64, Type

_NUMBERS = (INT64, UINT64, FLOAT64)


class Builder:
    """Builds nodes at a token: their position, their depth, and the count of all of them."""

    def __init__(self, text: str) -> None:
        self.cursor = Cursor(text)

    def literal(self, kind: Type, value: object, text: str, token: Token) -> Node:
        """Return a value written out."""
        self.cursor.count_node(token.at)
        return Literal(kind, value, text, token.at, token.width)

    def column(self, token: Token, *, plain: bool) -> Node:
        """Return a column by its name."""
        self.cursor.count_node(token.at)
        return Column(token.value, plain, token.at, token.width)

    def field(self, base: Node, token: Token) -> Node:
        """Return a field of a struct."""
        depth = self._above([base], token)
        return Field(base, token.value, token.at, token.width, depth)

    def call(self, name: str, args: Sequence[Node], token: Token) -> Node:
        """Return a function, operator or special form on its arguments."""
        return Call(name, tuple(args), token.at, token.width, self._above(args, token))

    def cast(self, base: Node, target: Type, token: Token, *, lenient: bool = False) -> Node:
        """Return a conversion."""
        depth = self._above([base], token)
        return Cast(base, target, lenient, token.at, token.width, depth)

    def signed(self, operand: Node, token: Token) -> Node:
        """Return a number with its sign: a literal takes it into itself."""
        if isinstance(operand, Literal) and operand.type in _NUMBERS and operand.text:
            if token.word == "+":
                return operand
            kind, value, text = negative(self.cursor.source, operand)
            return Literal(kind, value, text, token.at, operand.at + operand.width - token.at)
        return self.call("negate", [operand], token) if token.word == "-" else operand

    def surplus(self) -> ExpressionError:
        """Return the error of what comes after a complete expression."""
        token = self.cursor.token
        remedy = ""
        if token.word in {"select", "from", "where"}:
            remedy = "an expression is one value: no SELECT, FROM or WHERE"
        elif token.kind in {TokenKind.NAME, TokenKind.STRING, TokenKind.NUMBER, TokenKind.QUOTED}:
            remedy = "an operator is missing before it"
        problem = f"unexpected {shown(token.value)}"
        return self.cursor.source.error(problem, token.at, width=token.width, remedy=remedy)

    def no_value(self, token: Token) -> ExpressionError:
        """Return the error of a token where a value should start."""
        error = self.cursor.unexpected("a value")
        if token.kind is not TokenKind.NAME:
            return error
        remedy = f'{token.value.upper()} is a keyword; a column of that name is "{token.value}"'
        return self.cursor.source.error(error.problem, token.at, width=token.width, remedy=remedy)

    def _above(self, args: Sequence[Node], token: Token) -> int:
        self.cursor.count_node(token.at)
        depth = 1 + max((node.depth for node in args), default=0)
        self.cursor.check_depth(depth, token.at)
        return depth
