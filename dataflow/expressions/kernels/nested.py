"""Fields of structs and items of lists, in whichever of its forms Arrow keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from dataflow.expressions import vector
from dataflow.expressions.arrow import normal
from dataflow.expressions.frame import Frame, array_of
from dataflow.expressions.kernels.step import Builder, Evaluate, Step, total
from dataflow.expressions.types import NESTED as NESTED_KINDS
from dataflow.expressions.types import Type
from dataflow.expressions.vector import Array, Datum


def _field(step: Step) -> Evaluate:
    base, of = step.operands[0].evaluate, step.node.type
    take = vector.field_of(step.text(1))
    leaf = of.kind not in NESTED_KINDS

    def evaluate(frame: Frame) -> Datum:
        found = take(base(frame))
        return normal(found, of) if leaf and isinstance(found, pa.Array) else found

    return evaluate


def _element(step: Step) -> Evaluate:
    base, index = [operand.evaluate for operand in step.operands]
    of = step.node.type
    leaf = of.kind not in NESTED_KINDS

    def evaluate(frame: Frame) -> Datum:
        lists = _variable(array_of(base(frame), frame.length))
        return items(lists, index(frame), of if leaf else None)

    return evaluate


def items(lists: Array, index: Datum, of: Type | None) -> Array:
    """Return the items at the index: from 0, or from the end where it is negative.

    Args:
        lists: of a type with offsets.
        index: one for each list, or one for all.
        of: the type of the items, to bring them into its one form; None leaves them.
    """
    count = vector.cast(vector.item_count(lists), pa.int64())
    zero, null = vector.ZERO, vector.NO_INT64
    index = vector.if_else(vector.less(index, zero), vector.add(count, index), index)
    inside = vector.both(vector.greater_equal(index, zero), vector.less(index, count))
    offsets, values = vector.parts_of_lists(lists)
    offsets = vector.cast(offsets, pa.int64())
    first, last = offsets[0], offsets[-1]
    values = values.slice(first.as_py(), last.as_py() - first.as_py())
    values = normal(values, of) if of else values  # no kernel takes items of a string_view
    starts = vector.subtract(offsets.slice(0, len(lists)), first)
    return values.take(vector.if_else(inside, vector.add(starts, index), null))


def _variable(lists: Array) -> Array:
    """Return lists of a fixed length as lists that have offsets."""
    if pa.types.is_fixed_size_list(lists.type):
        return vector.cast(lists, pa.list_(lists.type.value_type))
    return lists


def _list_length(step: Step) -> Evaluate:
    return total(lambda lists: vector.cast(vector.item_count(lists), pa.int64()), step.operands)


NESTED: Final[Mapping[str, Builder]] = {
    "field": _field,
    "element": _element,
    "list_length": _list_length,
}
