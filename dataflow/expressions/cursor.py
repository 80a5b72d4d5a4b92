"""A place in the tokens of a text, with the limits that every reader of them keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dataflow.core.errors import Code
from dataflow.expressions.errors import ExpressionError, Source, shown
from dataflow.expressions.lexer import Token, TokenKind, tokens

# Reading nests four Python calls a level, of the 1,000 that Python allows: 64 levels are a
# quarter of them, and no hand-written expression that we have seen goes past 10.
DEPTH_MAX = 64
# A node is at most one kernel call, about 2 µs a batch: 2,000 are 4 ms, what a batch may cost.
NODES_MAX = 2_000


class Cursor:
    """Hands out tokens one by one and counts how deep and how much was read."""

    def __init__(self, text: str) -> None:
        self.source = Source(text)
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0
        self._nodes = 0

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._next]

    @property
    def following(self) -> Token:
        """The token after the next one."""
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    @property
    def at_end(self) -> bool:
        """Whether all tokens are taken."""
        return self.token.kind is TokenKind.END

    def take(self) -> Token:
        """Return the next token and go past it; the end stays where it is."""
        token = self.token
        if token.kind is not TokenKind.END:
            self._next += 1
        return token

    def skip(self, *words: str) -> bool:
        """Go past these keywords or symbols if they come next, all of them or none."""
        coming = self._tokens[self._next : self._next + len(words)]
        if tuple(token.word for token in coming) != words:
            return False
        self._next += len(words)
        return True

    def expect(self, word: str, purpose: str) -> Token:
        """Return the keyword or symbol that must come next.

        Raises:
            ExpressionError: something else comes; the message says what for it was needed.
        """
        if self.token.word != word:
            raise self.unexpected(f"{word.upper()} {purpose}")
        return self.take()

    def unexpected(self, wanted: str) -> ExpressionError:
        """Return the error of the next token, where something else was wanted."""
        token = self.token
        what = "the end" if token.kind is TokenKind.END else shown(token.value)
        return self.source.error(f"expected {wanted}, found {what}", token.at, width=token.width)

    @contextmanager
    def level(self) -> Iterator[None]:
        """Hold one level of nesting."""
        self._depth += 1
        try:
            self.check_depth(self._depth, self.token.at)
            yield
        finally:
            self._depth -= 1

    def check_depth(self, depth: int, at: int) -> None:
        """Refuse what is nested too deep.

        Raises:
            ExpressionError: past ``DEPTH_MAX`` levels.
        """
        if depth > DEPTH_MAX:
            remedy = "compute a part of it in a column of its own first"
            problem = f"nested deeper than {DEPTH_MAX} levels"
            raise self.source.error(problem, at, remedy=remedy, code=Code.TOO_LARGE)

    def count_node(self, at: int) -> None:
        """Count one node of the tree.

        Raises:
            ExpressionError: past ``NODES_MAX`` nodes.
        """
        self._nodes += 1
        if self._nodes > NODES_MAX:
            remedy = "a list this long belongs in a table, and the expression becomes a join"
            problem = f"more than {NODES_MAX:,} columns, values and operations"
            raise self.source.error(problem, at, remedy=remedy, code=Code.TOO_LARGE)
