"""The ``map`` transform, as a pipeline is checked against it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.connect import Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import typed
from dataflow.transforms.map_columns import Columns
from dataflow.transforms.map_options import MapOptions

CHANGES = ("compute", "rename", "cast", "constants", "drop", "keep")


def _check(
    _: TransformStep, options: MapOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    if not any(getattr(options, change) for change in CHANGES):
        message = f"give one of {', '.join(CHANGES)}; without any it would change nothing"
        return [Problem("options", message)]
    return Columns(options, typed(columns)).problems


def _schema(options: MapOptions, columns: Mapping[str, str]) -> Mapping[str, str] | None:
    types = typed(columns)
    if types is None:
        return None
    followed = Columns(options, types)
    return None if followed.problems else {name: str(of) for name, of in followed.types.items()}


SPEC = TransformSpec(
    name="map",
    summary="Columns renamed, extracted, computed, cast, set, dropped and put in order.",
    options=MapOptions,
    open="dataflow.transforms.map:open_map",
    check=_check,
    schema=_schema,
    lanes=True,
)
