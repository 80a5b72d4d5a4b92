"""``join``: which of the two ways, and what they share."""

from __future__ import annotations

from dataflow.connect import Context, Operator, TransformStep
from dataflow.transforms.join_spec import JoinOptions

SIDES = ("left", "right")
"""What the inputs of a step are called where a test gives it none."""


def open_join(step: TransformStep, options: JoinOptions, context: Context) -> Operator:
    """Return the step."""
    from dataflow.transforms.join_streams import JoinStreams  # noqa: PLC0415 - one of the two
    from dataflow.transforms.join_table import JoinTable  # noqa: PLC0415 - one of the two

    left, right = step.inputs or SIDES
    kind = JoinTable if options.within is None else JoinStreams
    return kind(options, context, left, right)
