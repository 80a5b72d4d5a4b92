"""The one exception of expressions: what is wrong, where in the text, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from dataflow.core.errors import Code, Rejected

EXCERPT_WIDTH_MAX = 72  # an excerpt and its two spaces of indent fit a terminal of 80 columns
NAMES_SHOWN_MAX = 20  # more names than this and nobody reads the list
WORD_SHOWN_MAX = 64  # a longer word is cut: it is hostile or a mistake, and difflib is quadratic


class ExpressionError(Rejected):
    """An expression that can't be read, typed or computed.

    Attributes:
        problem: what is wrong, in one line, without the position.
        line: the line of the text, from 1; without a text there is no place in it to name.
        column: the column in that line, from 1.
        excerpt: that line and a caret under what is meant.
        remedy: what would be right, or empty.
    """

    def __init__(
        self,
        problem: str,
        *,
        text: str,
        at: int,
        width: int = 1,
        remedy: str = "",
        code: str = Code.INVALID,
    ) -> None:
        self.problem = problem
        self.remedy = remedy
        start = text.rfind("\n", 0, at) + 1
        self.line = text.count("\n", 0, at) + 1
        self.column = at - start + 1
        self.excerpt = _excerpt(text[start:].partition("\n")[0], at - start, width)
        place = f"line {self.line}, column {self.column}: " if text else ""
        lines = [place + problem, self.excerpt, remedy]
        super().__init__("\n".join(line for line in lines if line), code=code)


class RowsRejected(ExpressionError):
    """Rows whose value can't be computed: the data is at fault, the expression is not.

    Attributes:
        rows: how many rows of the batch are at fault.
    """

    rows: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """The text of an expression, to blame a place in it."""

    text: str

    def error(
        self, problem: str, at: int, *, width: int = 1, remedy: str = "", code: str = Code.INVALID
    ) -> ExpressionError:
        """Return the error of a place in this text; the caller raises it."""
        return ExpressionError(
            problem, text=self.text, at=at, width=width, remedy=remedy, code=code
        )

    def place(self, at: int) -> str:
        """Return where an offset is, as the errors say it: ``line 1, column 8``."""
        line = self.text.count("\n", 0, at) + 1
        return f"line {line}, column {at - self.text.rfind(chr(10), 0, at)}"


def shown(word: str) -> str:
    """Return a word of the user's in quotes, cut and printable, fit for a message."""
    cut = word if len(word) <= WORD_SHOWN_MAX else word[: WORD_SHOWN_MAX - 1] + "…"
    return "'" + "".join(c if c.isprintable() else "?" for c in cut) + "'"


def suggestion(word: str, names: Iterable[str]) -> str:
    """Return ``did you mean 'amount'?`` for the nearest name, or an empty text."""
    known = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word[:WORD_SHOWN_MAX].lower(), known, n=1, cutoff=0.6)
    return f"did you mean {shown(known[close[0]])}?" if close else ""


def listing(names: Iterable[str]) -> str:
    """Return names in a row, as many as one reads."""
    known = list(names)
    rest = len(known) - NAMES_SHOWN_MAX
    row = ", ".join(name[:WORD_SHOWN_MAX] for name in known[:NAMES_SHOWN_MAX])
    return f"{row} and {rest} more" if rest > 0 else row


def _excerpt(line: str, offset: int, width: int) -> str:
    if not line.strip():
        return ""
    start = max(0, min(offset - EXCERPT_WIDTH_MAX // 2, len(line) - EXCERPT_WIDTH_MAX))
    window = line[start : start + EXCERPT_WIDTH_MAX]
    carets = max(1, min(width, len(window) - (offset - start)))
    visible = "".join(c if c.isprintable() else " " for c in window)
    return f"  {visible}\n  {' ' * (offset - start)}{'^' * carets}"
