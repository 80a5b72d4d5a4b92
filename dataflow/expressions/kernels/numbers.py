"""Arithmetic: whole numbers checked, division by zero NULL, floats as IEEE 754 has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from dataflow.expressions import vector
from dataflow.expressions.arrow import to_arrow
from dataflow.expressions.frame import Suspect
from dataflow.expressions.kernels.step import (
    Builder,
    Evaluate,
    Step,
    partial,
    simple,
    total,
)
from dataflow.expressions.types import (
    FLOATS,
    INTEGER_BOUNDS,
    INTEGERS,
    UINT64,
    UNSIGNED,
    DecimalType,
    Kind,
)
from dataflow.expressions.vector import Array, Datum

_SIGNS: Final = {"add": "+", "subtract": "-", "multiply": "*"}
_INT64_LEAST: Final = INTEGER_BOUNDS[Kind.INT64][0]
# Products whose float64 is beyond these are beyond the integers too, rounding included.
_SURE: Final = {Kind.INT64: 9.3e18, Kind.UINT64: 1.85e19}
_ZERO: Final = pa.scalar(0.0)


def _arithmetic(name: str) -> Builder:
    def build(step: Step) -> Evaluate:
        of = step.node.type
        if of.kind in FLOATS:
            return total(vector.kernel(name), step.operands)
        if isinstance(of, DecimalType):
            return _decimals(name, step, of)
        complaint = (0, f" {_SIGNS[name]} ", 1, f" does not fit in {of}")
        run = vector.kernel(f"{name}_checked")
        suspect = _overflows(name, unsigned=of == UINT64) if of.kind in INTEGERS else None
        return partial(lambda values: run(*values), step, complaint, suspect)

    return build


def _decimals(name: str, step: Step, of: DecimalType) -> Evaluate:
    run, target = vector.kernel(f"{name}_checked"), to_arrow(of)
    wide = pa.types.is_decimal256(target)

    def compute(left: Datum, right: Datum) -> Array:
        if wide:  # the kernel's result is as wide as its arguments
            left, right = (vector.cast(v, _wide(v.type)) for v in (left, right))
        return vector.cast(run(left, right), target)

    return total(compute, step.operands)


def _wide(of: pa.DataType) -> pa.DataType:
    return pa.decimal256(of.precision, of.scale) if pa.types.is_decimal(of) else of


def _overflows(name: str, *, unsigned: bool) -> Suspect:
    """Return what finds the rows that overflow: all for sums, the clear ones for products."""

    def product(values: Sequence[Datum]) -> Array:
        left, right = (vector.cast(value, pa.float64(), safe=False) for value in values)
        sure = _SURE[Kind.UINT64 if unsigned else Kind.INT64]
        return vector.greater(vector.absolute(vector.multiply(left, right)), pa.scalar(sure))

    def signed(values: Sequence[Datum]) -> Array:
        left, right = values
        result = vector.kernel(name)(left, right)
        # a sum overflows if both signs differ from its own; a difference if a's does, and b's not
        other = (
            vector.bit_wise_xor(right, result)
            if name == "add"
            else vector.bit_wise_xor(left, right)
        )
        both = vector.bit_wise_and(vector.bit_wise_xor(left, result), other)
        return vector.less(both, vector.ZERO)

    def without_sign(values: Sequence[Datum]) -> Array:
        left, right = values
        if name == "subtract":
            return vector.less(left, right)
        most = pa.scalar(INTEGER_BOUNDS[Kind.UINT64][1], pa.uint64())
        return vector.greater(right, vector.subtract(most, left))

    if name == "multiply":
        return product
    return without_sign if unsigned else signed


def _divide(step: Step) -> Evaluate:
    divide = vector.kernel("divide")
    divisor = step.operands[1].constant
    if divisor is not None and divisor.is_valid and divisor.as_py() != 0:
        return total(divide, step.operands)
    null = vector.NO_FLOAT64

    def run(left: Datum, right: Datum) -> Array:
        return divide(left, vector.if_else(vector.equal(right, _ZERO), null, right))

    return total(run, step.operands)


def _modulo(step: Step) -> Evaluate:
    arrow = to_arrow(step.node.type)
    null, zero, one = (pa.scalar(value, arrow) for value in (None, 0, 1))
    divide, multiply, subtract = (
        vector.kernel("divide"),
        vector.kernel("multiply"),
        vector.kernel("subtract"),
    )
    whole = step.node.type.kind in INTEGERS
    signed = whole and step.node.type.kind not in UNSIGNED

    def run(left: Datum, right: Datum) -> Array:
        right = vector.if_else(vector.equal(right, zero), null, right)
        if signed:  # x % -1 is 0 as x % 1 is, but the least integer / -1 overflows
            right = vector.if_else(vector.equal(right, pa.scalar(-1, arrow)), one, right)
        quotient = divide(left, right)
        quotient = quotient if whole else vector.trunc(quotient)
        return subtract(left, multiply(quotient, right))

    return total(run, step.operands)


def _signed(name: str) -> Builder:
    def build(step: Step) -> Evaluate:
        if step.node.type.kind not in INTEGERS:
            return total(vector.kernel(name), step.operands)
        run = vector.kernel(f"{name}_checked")
        least = pa.scalar(_INT64_LEAST)
        complaint = ("the opposite of ", 0, " does not fit in int64")
        return partial(
            lambda values: run(*values),
            step,
            complaint,
            lambda values: vector.equal(values[0], least),
        )

    return build


def _round(step: Step) -> Evaluate:
    digits = step.number(1)
    value = step.operands[0]
    if value.type.kind in INTEGERS and digits >= 0:
        return value.evaluate
    rounded = vector.rounded(digits)
    if value.type.kind in FLOATS:
        return lambda frame: rounded(value.evaluate(frame))
    complaint = (0, f" rounded does not fit in {value.type}")
    return partial(lambda values: rounded(values[0]), step, complaint)


def _towards(name: str) -> Builder:
    """Return the builder of floor or ceil: a decimal may need one digit more than it has."""

    def build(step: Step) -> Evaluate:
        run = vector.kernel(name)
        if step.node.type.kind in FLOATS:
            return total(run, step.operands)
        complaint = (0, f" rounded does not fit in {step.node.type}")
        return partial(lambda values: run(*values), step, complaint)

    return build


def _sign(step: Step) -> Evaluate:
    sign = vector.kernel("sign")

    def run(value: Datum) -> Array:
        found = sign(value)
        if pa.types.is_floating(found.type):
            found = vector.if_else(vector.is_nan(found), pa.scalar(None, found.type), found)
        return vector.cast(found, pa.int64())

    return total(run, step.operands)


def _above(name: str, least: float, *, inclusive: bool) -> Builder:
    """Return the builder of a function that is NULL for numbers outside of its domain."""

    def build(step: Step) -> Evaluate:
        run, bound = vector.kernel(name), pa.scalar(least)
        outside = vector.kernel("less" if inclusive else "less_equal")
        null = vector.NO_FLOAT64
        return total(
            lambda value: run(
                vector.if_else(vector.coalesce(outside(value, bound), vector.FALSE), null, value)
            ),
            step.operands,
        )

    return build


NUMBERS: Final[Mapping[str, Builder]] = {
    "add": _arithmetic("add"),
    "subtract": _arithmetic("subtract"),
    "multiply": _arithmetic("multiply"),
    "divide": _divide,
    "modulo": _modulo,
    "negate": _signed("negate"),
    "abs": _signed("abs"),
    "round": _round,
    "floor": _towards("floor"),
    "ceil": _towards("ceil"),
    "sign": _sign,
    "sqrt": _above("sqrt", 0.0, inclusive=True),
    "ln": _above("ln", 0.0, inclusive=False),
    "log10": _above("log10", 0.0, inclusive=False),
    "exp": simple("exp"),
    "power": simple("power"),
    "is_nan": simple("is_nan"),
}
