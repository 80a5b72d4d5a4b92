"""The ``validate`` transform, as a pipeline is checked against it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.connect import Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import typed
from dataflow.transforms.validate_columns import Columns
from dataflow.transforms.validate_options import ValidateOptions


def _check(
    _: TransformStep, options: ValidateOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    return Columns(options, typed(columns)).problems


def _schema(options: ValidateOptions, columns: Mapping[str, str]) -> Mapping[str, str] | None:
    types = typed(columns)
    if types is None:
        return None
    return {name: str(of) for name, of in Columns(options, types).types.items()}


SPEC = TransformSpec(
    name="validate",
    summary="Rows and columns held to what is asked of them; refused with all reasons.",
    options=ValidateOptions,
    open="dataflow.transforms.validate:open_validate",
    check=_check,
    schema=_schema,
    lanes=True,
)
