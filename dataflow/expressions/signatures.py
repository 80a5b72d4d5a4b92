"""How a function is declared: what it takes, what it gives, and the rule that checks a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from dataflow.expressions.bound import Apply, Bound, Constant
from dataflow.expressions.errors import Source
from dataflow.expressions.tree import Call
from dataflow.expressions.types import (
    FLOAT64,
    INT64,
    INTEGERS,
    NUMBERS,
    STRING,
    Kind,
    Type,
)
from dataflow.expressions.widen import cast

Rule: TypeAlias = Callable[[Source, Call, tuple[Bound, ...]], Bound]


@dataclass(frozen=True, slots=True)
class Function:
    """A function: ``least`` to ``most`` arguments (None: any number), and its rule."""

    least: int
    most: int | None
    rule: Rule

    def accepts(self, count: int) -> bool:
        """Return whether it takes that many arguments."""
        return count >= self.least and (self.most is None or count <= self.most)

    @property
    def arity(self) -> str:
        """What it takes, in words."""
        if self.most is None:
            return f"at least {self.least} arguments"
        if self.least == self.most:
            return f"{self.least} argument{'s' if self.least != 1 else ''}"
        return f"{self.least} to {self.most} arguments"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What one argument may be.

    Attributes:
        what: the word for it in messages.
        kinds: the kinds it takes.
        type: the type that a bare NULL takes here.
        convert: whether everything is converted to ``type``, not only NULL.
        literal: whether it must be written out: the kernel takes one value for all rows.
        complaint: says what is wrong with a literal, or nothing.
    """

    what: str
    kinds: frozenset[Kind]
    type: Type
    convert: bool = False
    literal: bool = False
    complaint: Callable[[object], str] = lambda _: ""

    def check(self, source: Source, function: str, node: Bound) -> Bound:
        """Return the argument, converted.

        Raises:
            ExpressionError: it is of another kind, or not a literal where one is needed.
        """
        called = function if function.isupper() or not function[0].isalpha() else f"{function}()"
        wanted = f"{called} needs {self.what}"
        if self.literal and not (isinstance(node, Constant) and node.value is not None):
            remedy = "one value for all rows, written out"
            raise source.error(f"{wanted} as a literal here", node.at, remedy=remedy)
        if node.type.kind not in self.kinds | {Kind.NULL}:
            remedy = f"convert it: CAST(… AS {self.type})"
            raise source.error(f"{wanted} here, not {node.type}", node.at, remedy=remedy)
        if isinstance(node, Constant) and self.literal:
            complaint = self.complaint(node.value)
            if complaint:
                raise source.error(f"{called} {complaint}", node.at)
        convert = self.convert or node.type.kind is Kind.NULL
        return cast(node, self.type) if convert else node


TEXT = Parameter("text", frozenset({Kind.STRING}), STRING)
TEXT_LITERAL = replace(TEXT, literal=True)
INTEGER_LITERAL = Parameter("a whole number", INTEGERS, INT64, convert=True, literal=True)
NUMBER = Parameter("a number", NUMBERS, FLOAT64)
REAL = Parameter("a number", NUMBERS, FLOAT64, convert=True)


def function(
    op: str, *parameters: Parameter, result: Type | None = None, optional: int = 0
) -> Function:
    """Return a function of fixed parameters, the last ``optional`` of which may be left out.

    Args:
        op: the kernel that computes it.
        parameters: what it takes.
        result: what it gives; None is the type of the first argument.
        optional: how many parameters at the end may be left out.
    """

    def rule(source: Source, call: Call, args: tuple[Bound, ...]) -> Bound:
        checked = tuple(
            parameter.check(source, call.name, node)
            for parameter, node in zip(parameters, args, strict=False)
        )
        return Apply(result or checked[0].type, op, checked, call.at)

    return Function(len(parameters) - optional, len(parameters), rule)
