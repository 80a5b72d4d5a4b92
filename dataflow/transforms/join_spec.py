"""The ``join`` step as people configure it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataflow.connect import Duration, OperatorOptions, Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import typed
from dataflow.connect.types import Type
from dataflow.transforms.join_shape import Shape
from dataflow.transforms.key_columns import key_problems, time_problems
from dataflow.transforms.naming import Name

LONGEST = timedelta(days=3_660)
"""Ten years; who waits longer joins with a table."""

Keys = Annotated[tuple[Name, ...], Field(min_length=1)]
Types = Mapping[str, Type] | None


class JoinOptions(OperatorOptions):
    """Which rows of two inputs belong together, and which go out without a partner."""

    type: Literal["inner", "left", "right", "full", "semi", "anti"] = Field(
        "inner",
        description="inner: pairs; left, right, full: also the rows of that side without a"
        " partner; semi, anti: rows of the left that have one, or none.",
    )
    left_keys: Keys = Field(description="Columns of the first input.")
    right_keys: Keys = Field(
        description="Columns of the second input, as many and of the same types. NULL equals"
        " nothing."
    )
    table: Literal["left", "right"] | None = Field(
        None,
        description="The input that is read to its end before the other and kept in memory; right"
        " where there is no within.",
    )
    within: Annotated[Duration, Field(ge=timedelta(0), le=LONGEST)] | None = Field(
        None, description="Join two streams: how far the times of two rows may be apart."
    )
    left_time: Name | None = Field(None, description="When a row of the left happened.")
    right_time: Name | None = Field(None, description="When a row of the right happened.")
    suffix: str = Field(
        "_right",
        min_length=1,
        max_length=100,
        description="Added to a column of the right whose name is taken by the left.",
    )
    out_of_order: Annotated[Duration, Field(ge=timedelta(0), le=LONGEST)] = Field(
        timedelta(0),
        description="How far event time stays behind the latest row of each split.",
    )
    idle_timeout: Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)] | None = Field(
        timedelta(minutes=1),
        description="A split that may idle and brings nothing for this long does not hold event"
        " time up; null: it does for ever.",
    )


def _check(
    step: TransformStep, options: JoinOptions, inputs: Sequence[Mapping[str, str] | None]
) -> Sequence[Problem]:
    left, right = (typed(columns) for columns in inputs)
    found = [*_mode_problems(options)]
    if len(set(step.inputs)) != len(step.inputs):
        message = "are one and the same; let a map without changes stand before one of them"
        found.append(Problem("inputs", message))
    found += key_problems("leftKeys", options.left_keys, left)
    found += key_problems("rightKeys", options.right_keys, right)
    if options.within is not None:
        sides = (("leftTime", options.left_time, left), ("rightTime", options.right_time, right))
        for option, name, types in sides:
            if name is not None:
                found += time_problems(option, name, types)
    if not found and left is not None and right is not None:
        found += _pair_problems(options, left, right)
    return found


def _mode_problems(options: JoinOptions) -> Iterator[Problem]:
    if len(options.left_keys) != len(options.right_keys):
        count = len(options.left_keys)
        yield Problem("options.rightKeys", f"give as many as leftKeys, which are {count}")
    times = (("leftTime", options.left_time), ("rightTime", options.right_time))
    for option, name in times:
        if options.within is not None and name is None:
            yield Problem(f"options.{option}", "missing; within compares the times of two rows")
        if options.within is None and name is not None:
            yield Problem(f"options.{option}", "needs within; a table has no time")
    if options.within is not None and options.table is not None:
        yield Problem("options.table", "give either within or table: two streams, or a table")
    if options.table == "left" and options.type in {"semi", "anti"}:
        yield Problem("options.table", f"{options.type} gives rows of the left; use right")


def _pair_problems(
    options: JoinOptions, left: Mapping[str, Type], right: Mapping[str, Type]
) -> Iterator[Problem]:
    pairs = zip(options.left_keys, options.right_keys, strict=True)
    for at, (left_key, right_key) in enumerate(pairs):
        one, other = left[left_key], right[right_key]
        if one != other:
            message = f"{right_key!r} is {other}, and {left_key!r} of the left is {one}"
            yield Problem(f"options.rightKeys[{at}]", f"{message}; cast one in a map before")
    for name in Shape(options, [*left], [*right]).taken:
        message = f"{name!r} would be there twice; give another suffix, or rename it before"
        yield Problem("options.suffix", message)


def _schema(
    _: TransformStep, options: JoinOptions, inputs: Sequence[Mapping[str, str] | None]
) -> Mapping[str, str] | None:
    left, right = inputs
    if left is None or (right is None and options.type not in {"semi", "anti"}):
        return None
    columns = dict(left)
    for name, out in Shape(options, [*left], [*(right or ())]).right:
        columns[out] = (right or {})[name]
    return columns


SPEC = TransformSpec(
    name="join",
    summary="Rows of two inputs with the same keys: a stream with a table, or two streams.",
    options=JoinOptions,
    open="dataflow.transforms.join:open_join",
    inputs=(2, 2),
    check_inputs=_check,
    schema_of_inputs=_schema,
)
