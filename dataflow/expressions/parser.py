"""Text to tree: operator precedence (Pratt), weakest first.

    OR < AND < NOT < comparisons, IS, IN, LIKE, BETWEEN < || < + - < * / % < unary - < :: . []

Comparisons don't chain. AND, OR and || are one node however many they join, so that a thousand
alternatives are no deeper than two. Special forms (CASE, CAST, literals) are in ``forms``.
"""

from __future__ import annotations

from typing import Final

from dataflow.expressions.builder import Builder
from dataflow.expressions.errors import listing, shown, suggestion
from dataflow.expressions.forms import FORMS
from dataflow.expressions.functions import FUNCTIONS
from dataflow.expressions.lexer import Token, TokenKind
from dataflow.expressions.literals import number
from dataflow.expressions.tree import Expression, Literal, Node, references
from dataflow.expressions.type_names import read_type
from dataflow.expressions.types import BOOL, NULL, STRING

_OR, _AND, _NOT, _COMPARISON, _JOIN, _SUM, _PRODUCT, _SIGN, _POSTFIX = range(1, 10)

_INFIX: Final = {
    "or": _OR,
    "and": _AND,
    **dict.fromkeys(("=", "==", "!=", "<>", "<", "<=", ">", ">="), _COMPARISON),
    **dict.fromkeys(("is", "in", "like", "ilike", "between", "not"), _COMPARISON),
    "||": _JOIN,
    "+": _SUM,
    "-": _SUM,
    "*": _PRODUCT,
    "/": _PRODUCT,
    "%": _PRODUCT,
    "::": _POSTFIX,
    ".": _POSTFIX,
    "[": _POSTFIX,
}
_SPELLINGS: Final = {"==": "=", "!=": "<>"}
_CHAINED: Final = frozenset({"and", "or", "||"})
_OPENING: Final = frozenset({"not", "-", "+", "("})
_CONSTANTS: Final = {"null": (NULL, None), "true": (BOOL, True), "false": (BOOL, False)}
KEYWORDS: Final = frozenset(
    {"and", "or", "not", "in", "is", "null", "like", "ilike", "between", "true", "false"}
    | {"case", "when", "then", "else", "end"}
)


def parse(text: str) -> Expression:
    """Return the tree of an expression, checked as far as it goes without a schema.

    Syntax, the names of functions and types and the number of arguments are checked; columns and
    types by ``check``.

    Raises:
        ExpressionError: the text is no expression, or exceeds a limit.
    """
    parser = Parser(text)
    if parser.cursor.at_end:
        raise parser.cursor.source.error("the expression is empty", 0)
    root = parser.expression()
    if not parser.cursor.at_end:
        raise parser.surplus()
    columns, words = references(root)
    return Expression(text, root, columns, words)


class Parser(Builder):
    """Reads one expression; ``forms`` calls it back for the parts of a special form."""

    def expression(self, floor: int = 0) -> Node:
        """Return what comes next, as far as operators bind tighter than ``floor``.

        Raises:
            ExpressionError: no expression comes next.
        """
        with self.cursor.level():
            left = self._prefix()
            compared = False
            while True:
                token = self.cursor.token
                power = _INFIX.get(token.word, 0)
                if power <= floor or (token.word == "not" and not self._negates()):
                    return left
                if power == _COMPARISON and compared:
                    remedy = "comparisons don't chain: a < b AND b < c, or use parentheses"
                    raise self.cursor.source.error(
                        f"unexpected {shown(token.value)}",
                        token.at,
                        width=token.width,
                        remedy=remedy,
                    )
                compared = power == _COMPARISON
                left = self._infix(left, self.cursor.take(), power)

    def operand(self) -> Node:
        """Return what comes next, up to a comparison: the bounds of BETWEEN, a pattern."""
        return self.expression(_COMPARISON)

    def arguments(self, name: Token) -> list[Node]:
        """Return the expressions up to the closing parenthesis; the opening one is read."""
        args: list[Node] = []
        if self.cursor.skip(")"):
            return args
        while True:
            args.append(self.expression())
            if not self.cursor.skip(","):
                self.cursor.expect(")", f"or , in {name.value}(…)")
                return args

    def _negates(self) -> bool:
        return self.cursor.following.word in {"in", "like", "ilike", "between"}

    def _infix(self, left: Node, token: Token, power: int) -> Node:
        word = _SPELLINGS.get(token.word, token.word)
        if word in _CHAINED:
            args = [left, self.expression(power)]
            while self.cursor.skip(word):
                args.append(self.expression(power))
            return self.call(word, args, token)
        if power == _POSTFIX:
            return self._postfix(left, token)
        if word == "not":
            return self.call("not", [self._predicate(left, self.cursor.take())], token)
        if word in {"is", "in", "like", "ilike", "between"}:
            return self._predicate(left, token)
        return self.call(word, [left, self.expression(power)], token)

    def _predicate(self, left: Node, token: Token) -> Node:
        match token.word:
            case "is":
                return self._is(left, token)
            case "in":
                opening = self.cursor.expect("(", "after IN")
                items = self.arguments(token)
                if not items:
                    raise self.cursor.source.error("IN needs at least one value", opening.at)
                return self.call("in", [left, *items], token)
            case "between":
                low = self.operand()
                self.cursor.expect("and", "between the bounds of BETWEEN")
                return self.call("between", [left, low, self.operand()], token)
            case _:
                args = [left, self.operand()]
                if self.cursor.skip("escape"):
                    args.append(self.operand())
                return self.call(token.word, args, token)

    def _is(self, left: Node, token: Token) -> Node:
        negated = self.cursor.skip("not")
        if self.cursor.skip("null"):
            found = self.call("is null", [left], token)
        elif self.cursor.skip("distinct", "from"):
            found = self.call("distinct", [left, self.operand()], token)
        elif self.cursor.token.word in {"true", "false"}:
            value = Literal(BOOL, self.cursor.take().word == "true", "", token.at, token.width)
            # x IS TRUE is two-valued: NOT (x IS DISTINCT FROM true)
            distinct = self.call("distinct", [left, value], token)
            found = self.call("not", [distinct], token)
        else:
            raise self.cursor.unexpected("NULL, DISTINCT FROM, TRUE or FALSE after IS")
        return self.call("not", [found], token) if negated else found

    def _postfix(self, left: Node, token: Token) -> Node:
        if token.word == "::":
            return self.cast(left, read_type(self.cursor), token)
        if token.word == ".":
            name = self.cursor.token
            if name.kind not in {TokenKind.NAME, TokenKind.QUOTED}:
                raise self.cursor.unexpected("the name of a field after the point")
            return self.field(left, self.cursor.take())
        if self.cursor.token.kind is TokenKind.STRING:
            name = self.cursor.take()
            self.cursor.expect("]", "after the name")
            return self.field(left, name)
        index = self.expression()
        self.cursor.expect("]", "after the index")
        return self.call("[]", [left, index], token)

    def _prefix(self) -> Node:
        token = self.cursor.token
        form = FORMS.get(token.word)
        found = form(self, token) if form else None
        if found is not None:
            return found
        if token.word in _OPENING:
            return self._opened(self.cursor.take())
        match token.kind:
            case TokenKind.NUMBER:
                return self.literal(*number(self.cursor.source, self.cursor.take()), token)
            case TokenKind.STRING:
                return self.literal(STRING, token.value, token.value, self.cursor.take())
            case TokenKind.QUOTED:
                return self.column(self.cursor.take(), plain=False)
            case TokenKind.NAME if token.word in _CONSTANTS:
                return self.literal(*_CONSTANTS[token.word], "", self.cursor.take())
            case TokenKind.NAME if token.word not in KEYWORDS:
                return self._named(self.cursor.take())
            case _:
                raise self.no_value(token)

    def _opened(self, token: Token) -> Node:
        if token.word == "not":
            return self.call("not", [self.expression(_NOT)], token)
        if token.word != "(":
            return self.signed(self.expression(_SIGN), token)
        inner = self.expression()
        self.cursor.expect(")", "to close the parenthesis")
        return inner

    def _named(self, token: Token) -> Node:
        if not self.cursor.skip("("):
            return self.column(token, plain=True)
        function = FUNCTIONS.get(token.word)
        if function is None:
            remedy = suggestion(token.value, FUNCTIONS) or f"functions: {listing(FUNCTIONS)}"
            problem = f"unknown function {shown(token.value)}"
            raise self.cursor.source.error(problem, token.at, width=token.width, remedy=remedy)
        args = self.arguments(token)
        if not function.accepts(len(args)):
            problem = f"{token.word}() takes {function.arity}, not {len(args)}"
            raise self.cursor.source.error(problem, token.at, width=token.width)
        return self.call(token.word, args, token)
