"""What the parser makes of a text: a tree without types, good for any schema.

Operators and special forms are calls too, under names that no function has (``=``, ``case``):
one node to walk, and one table of rules in ``check``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from dataflow.expressions.types import Type

COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written out; ``text`` is what was written, so that it can take another type."""

    type: Type
    value: object
    text: str
    at: int
    width: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name; ``plain`` where it was written without quotes, ``$`` and path."""

    name: str
    plain: bool
    at: int
    width: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct."""

    base: Node
    name: str
    at: int
    width: int
    depth: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function, an operator or a special form, on its arguments in their order."""

    name: str
    args: tuple[Node, ...]
    at: int
    width: int
    depth: int


@dataclass(frozen=True, slots=True)
class Cast:
    """A conversion; a ``lenient`` one gives NULL where the other is at fault."""

    base: Node
    target: Type
    lenient: bool
    at: int
    width: int
    depth: int


Node: TypeAlias = Literal | Column | Field | Call | Cast


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression, not yet bound to a schema.

    Attributes:
        text: what was parsed.
        root: its tree.
        columns: the columns it reads.
        words: names that are columns where the schema has them, and else are text
            (``status == active``): see ``dataflow.expressions``.
    """

    text: str
    root: Node
    columns: frozenset[str]
    words: frozenset[str]


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes below this one."""
    match node:
        case Call():
            return node.args
        case Field() | Cast():
            return (node.base,)
        case _:
            return ()


def bare_word(left: Node, right: Node) -> Column | None:
    """Return the right side of a comparison if it may be a text without quotes, else None."""
    if isinstance(right, Column) and right.plain and isinstance(left, Column | Field):
        return right
    return None


def references(root: Node) -> tuple[frozenset[str], frozenset[str]]:
    """Return the columns a tree reads, and the words that may be columns or texts."""
    words = {word.at: word.name for word in _bare_words(root)}
    columns = {
        node.name for node in walk(root) if isinstance(node, Column) and node.at not in words
    }
    return frozenset(columns), frozenset(words.values()) - columns


def walk(root: Node) -> Iterator[Node]:
    """Yield every node of a tree, a parent before its children."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def _bare_words(root: Node) -> Iterator[Column]:
    for node in walk(root):
        if isinstance(node, Call) and node.name in COMPARISONS:
            word = bare_word(*node.args)
            if word is not None:
                yield word
