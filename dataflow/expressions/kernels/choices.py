"""CASE, IF, COALESCE, NULLIF, greatest and least: a value that is not chosen can't be at fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.expressions import vector
from dataflow.expressions.arrow import to_arrow
from dataflow.expressions.frame import Frame, array_of, scattered
from dataflow.expressions.kernels.step import Builder, Evaluate, Step, total
from dataflow.expressions.types import TimestampType
from dataflow.expressions.vector import Array, Datum

Choose: TypeAlias = "Callable[[Frame, Array | None], Datum]"


def _case(step: Step) -> Evaluate:
    choose = _choose([operand.evaluate for operand in step.operands])
    return lambda frame: choose(frame, None)


def _case_of(step: Step) -> Evaluate:
    operand, *evaluates = [operand.evaluate for operand in step.operands]
    choose = _choose(evaluates)
    return lambda frame: choose(frame, array_of(operand(frame), frame.length))


def _choose(evaluates: Sequence[Evaluate]) -> Choose:
    """Return what gives the first value whose test is true, or is equal to the subject."""
    tests, values, otherwise = evaluates[:-1:2], evaluates[1:-1:2], evaluates[-1]

    def fast(frame: Frame, subject: Array | None) -> Datum:
        chosen = [_chosen(test(frame), subject, frame.length) for test in tests]
        results = [value(frame) for value in values]
        if len(chosen) == 1:
            return vector.if_else(
                vector.coalesce(chosen[0], vector.FALSE), results[0], otherwise(frame)
            )
        return vector.case_when(vector.side_by_side(chosen), *results, otherwise(frame))

    def careful(frame: Frame, subject: Array | None) -> Datum:
        undecided: Array = vector.repeated(vector.TRUE, frame.length)
        masks: list[Array] = []
        results: list[Datum] = []
        for test, value in zip(tests, values, strict=True):
            found = scattered(test(frame.where(undecided)), undecided)
            found = vector.coalesce(_chosen(found, subject, frame.length), vector.FALSE)
            mask = vector.both(undecided, found)
            masks.append(mask)
            results.append(scattered(value(frame.where(mask)), mask))
            undecided = vector.but_not(undecided, mask)
        rest = scattered(otherwise(frame.where(undecided)), undecided)
        return vector.case_when(vector.side_by_side(masks), *results, rest)

    return lambda frame, subject: (careful if frame.careful else fast)(frame, subject)


def _chosen(test: Datum, subject: Array | None, length: int) -> Array:
    return array_of(test if subject is None else vector.equal(subject, test), length)


def _coalesce(step: Step) -> Evaluate:
    evaluates = [operand.evaluate for operand in step.operands]

    def evaluate(frame: Frame) -> Datum:
        if not frame.careful:
            return vector.coalesce(*[value(frame) for value in evaluates])
        result: Array = vector.nulls(to_arrow(step.node.type), frame.length)
        for value in evaluates:
            missing = vector.is_null(result)
            result = vector.coalesce(result, scattered(value(frame.where(missing)), missing))
        return result

    return evaluate


def _nullif(step: Step) -> Evaluate:
    null = pa.scalar(None, to_arrow(step.node.type))

    def run(left: Datum, right: Datum) -> Array:
        return vector.if_else(vector.coalesce(vector.equal(left, right), vector.FALSE), null, left)

    return total(run, step.operands)


def _extreme(name: str) -> Builder:
    options = pc.ElementWiseAggregateOptions(skip_nulls=True)

    def build(step: Step) -> Evaluate:
        run = vector.kernel(name, options)
        of = step.node.type
        if not isinstance(of, TimestampType) or not of.zone:
            return total(run, step.operands)
        # the kernel knows no timestamps with a zone (pyarrow 26.0.1): their instants compare alike
        plain, zoned = pa.int64(), to_arrow(of)

        def instants(*values: Datum) -> Array:
            return vector.cast(run(*[vector.cast(value, plain) for value in values]), zoned)

        return total(instants, step.operands)

    return build


CHOICES: Final[Mapping[str, Builder]] = {
    "case": _case,
    "case_of": _case_of,
    "coalesce": _coalesce,
    "nullif": _nullif,
    "greatest": _extreme("max_element_wise"),
    "least": _extreme("min_element_wise"),
}
