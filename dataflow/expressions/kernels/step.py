"""What a builder gets, and the two ways of calling a kernel: one that can't fail, one that can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.expressions import vector
from dataflow.expressions.bound import Apply, Constant
from dataflow.expressions.errors import Source
from dataflow.expressions.frame import Frame, Run, Suspect, said, salvage, spoken
from dataflow.expressions.types import Type
from dataflow.expressions.vector import Datum, Kernel, Scalar

Evaluate: TypeAlias = "Callable[[Frame], Datum]"


@dataclass(frozen=True, slots=True)
class Operand:
    """A compiled argument; ``constant`` holds its value if no row decides it."""

    type: Type
    evaluate: Evaluate
    constant: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One operation to compile: the node, its compiled arguments, the text to blame."""

    node: Apply
    operands: Sequence[Operand]
    source: Source

    @property
    def place(self) -> str:
        """Where the operation is written, for the message of a row at fault."""
        return f" ({self.source.place(self.node.at)})"

    def text(self, index: int, default: str = "") -> str:
        """Return an argument that ``check`` has made sure is a text written out."""
        value = self._written(index)
        return value if isinstance(value, str) else default

    def number(self, index: int, default: int = 0) -> int:
        """Return an argument that ``check`` has made sure is a number written out."""
        value = self._written(index)
        return value if isinstance(value, int) else default

    def _written(self, index: int) -> object:
        args = self.node.args
        node = args[index] if index < len(args) else None
        return node.value if isinstance(node, Constant) else None


Builder: TypeAlias = Callable[[Step], Evaluate]
Part: TypeAlias = str | int
"""A piece of a message: text, or the number of the argument whose value stands here."""


def total(run: Kernel, operands: Sequence[Operand]) -> Evaluate:
    """Return what calls a function of columns that is defined for every value."""
    match [operand.evaluate for operand in operands]:
        case [one]:
            return lambda frame: run(one(frame))
        case [one, two]:
            return lambda frame: run(one(frame), two(frame))
        case several:
            return lambda frame: run(*[evaluate(frame) for evaluate in several])


def partial(
    run: Run,
    step: Step,
    complaint: Sequence[Part] | None,
    suspect: Suspect | None = None,
) -> Evaluate:
    """Return what calls a kernel that raises for some values, and notes the rows at fault.

    Args:
        run: the kernel, of the list of its arguments.
        step: what is compiled.
        complaint: the message for a row at fault, to which the place is added; None makes these
            rows NULL and no fault.
        suspect: see ``frame.salvage``.
    """
    evaluates = [operand.evaluate for operand in step.operands]
    place = step.place

    def evaluate(frame: Frame) -> Datum:
        values = [argument(frame) for argument in evaluates]
        try:
            return run(values)
        except pa.ArrowInvalid:
            if complaint is not None and not frame.careful:
                raise
            result, bad = salvage(run, values, frame.length, suspect)
        if complaint is not None:
            parts = [p if isinstance(p, str) else spoken(values[p], bad) for p in complaint]
            messages = said([*parts, place], vector.count_true(bad))
            frame.note(bad, messages, step.node.at)
        return result

    return evaluate


def simple(name: str, options: pc.FunctionOptions | None = None) -> Builder:
    """Return the builder of an operation that is one kernel, defined for every value."""
    run = vector.kernel(name, options)
    return lambda step: total(run, step.operands)
