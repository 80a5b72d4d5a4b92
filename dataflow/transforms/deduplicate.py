"""``deduplicate``: which of the two ways."""

from __future__ import annotations

from dataflow.connect import Context, Operator, TransformStep
from dataflow.transforms.deduplicate_first import FirstPasses
from dataflow.transforms.deduplicate_last import LastPasses
from dataflow.transforms.deduplicate_spec import DeduplicateOptions


def open_deduplicate(
    step: TransformStep, options: DeduplicateOptions, context: Context
) -> Operator:
    """Return the step."""
    kind = FirstPasses if options.keep == "first" else LastPasses
    return kind(options, context, max(1, len(step.inputs)))
