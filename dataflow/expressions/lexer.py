"""Text to tokens, in one pass and in time linear in the length of the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from dataflow.core.errors import Code
from dataflow.expressions.errors import Source, shown

LENGTH_MAX: Final = (
    10_000  # characters: a screenful has 4,000; what is longer is generated, and a join
)

_CURLY_QUOTES: Final = "\u2018\u2019\u201c\u201d"  # as word processors write them


class TokenKind(Enum):
    """What a token is."""

    NUMBER = auto()
    STRING = auto()
    NAME = auto()
    QUOTED = auto()
    SYMBOL = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One token; ``value`` is its text, without quotes and escapes where it had them."""

    kind: TokenKind
    value: str
    at: int
    width: int

    @property
    def word(self) -> str:
        """Return the keyword or symbol this may be, in lower case; empty for anything else."""
        return self.value.lower() if self.kind in {TokenKind.NAME, TokenKind.SYMBOL} else ""


# Possessive loops (++, *+) never give back what they took: no text makes the match super-linear.
_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s++)
    | (?P<number>(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)
    | (?P<name>[^\W\d]\w*+)
    | (?P<string>'(?:[^']|'')*+')
    | (?P<quoted>"(?:[^"]|"")++"|`(?:[^`]|``)++`)
    | (?P<symbol>\|\||::|==|!=|<>|<=|>=|[-+*/%=<>(),.\[\]$:])
    """,
    re.VERBOSE,
)
_KINDS: Final = {
    "number": TokenKind.NUMBER,
    "string": TokenKind.STRING,
    "name": TokenKind.NAME,
    "quoted": TokenKind.QUOTED,
    "symbol": TokenKind.SYMBOL,
}
_REMEDIES: Final = {
    "'": "the text isn't closed: a quote inside it is written ''",
    '"': "the quoted name isn't closed, or is empty",
    "`": "the quoted name isn't closed, or is empty",
    "&": "write AND",
    "|": "write OR, or || to join texts",
    "!": "write NOT, or != to compare",
    "^": "write power(x, y)",
    "{": "a template is filled in before the expression is read",
    ";": "an expression is one value, not a statement",
    "#": "a name with special characters is written in double quotes",
    "@": "a name with special characters is written in double quotes",
    "?": "there are no parameters: write the value",
} | dict.fromkeys(_CURLY_QUOTES, "write straight quotes: 'text'")


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text, the last one of kind ``END``.

    Raises:
        ExpressionError: a character that starts no token, an open quote, a text that is too long.
    """
    source = Source(text[:LENGTH_MAX])
    if len(text) > LENGTH_MAX:
        problem = f"the expression has {len(text):,} characters, more than {LENGTH_MAX:,}"
        raise source.error(problem, 0, code=Code.TOO_LARGE)
    _require_utf8(source)
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            remedy = _REMEDIES.get(text[at], "")
            raise source.error(f"unexpected {shown(text[at])}", at, remedy=remedy)
        if match.lastgroup != "space":
            found.append(_token(source, match))
        at = match.end()
    found.append(Token(TokenKind.END, "", len(text), 1))
    return found


def _token(source: Source, match: re.Match[str]) -> Token:
    kind = _KINDS[match.lastgroup or ""]
    value, at, width = match.group(), match.start(), match.end() - match.start()
    if kind in {TokenKind.STRING, TokenKind.QUOTED}:
        quote = value[0]
        value = value[1:-1].replace(quote * 2, quote)
    elif kind is TokenKind.NUMBER and source.text[match.end() : match.end() + 1].isidentifier():
        remedy = "a name that starts with a digit is written in double quotes"
        raise source.error("a number runs into a name", at, width=width + 1, remedy=remedy)
    return Token(kind, value, at, width)


def _require_utf8(source: Source) -> None:
    try:
        source.text.encode()
    except UnicodeEncodeError as error:
        raise source.error("half a surrogate pair, which is no character", error.start) from None
