"""A tree with types: what ``check`` makes of a parsed one, and all that ``compile`` sees.

Every conversion is explicit here, and every operation is an ``Apply`` whose ``op`` names one
entry of the table in ``dataflow.expressions.kernels``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dataflow.expressions.types import Type


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known before any row.

    ``value`` is what Arrow keeps: an int for dates and times. ``literal`` is the text it was
    written as, where it may still take another type; None once it can't.
    """

    type: Type
    value: object
    at: int
    literal: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A column of the batch."""

    type: Type
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on its arguments; ``at`` is where the text says it."""

    type: Type
    op: str
    args: tuple[Bound, ...]
    at: int


Bound: TypeAlias = Constant | Reference | Apply
