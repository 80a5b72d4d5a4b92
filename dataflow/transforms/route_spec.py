"""The ``route`` transform as people configure it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from dataflow.connect import Model, Options, Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import BOOL, ExpressionError, check, parse, typed
from dataflow.connect.types import Type

ROUTES_MAX = 100
"""Of one step; as many as a pipeline has steps to read them."""

OutputName = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]{1,63}$",
        description="Another step reads it as <id of this step>.<name>.",
    ),
]


class Route(Model):
    """One output, and which rows go there."""

    name: OutputName
    when: str = Field(
        min_length=1, description="A row goes there where this is true, as in: amount > 100."
    )


class RouteOptions(Options):
    """Which rows go to which outputs."""

    routes: tuple[Route, ...] = Field(
        min_length=1, max_length=ROUTES_MAX, description="Outputs, asked in this order."
    )
    default: OutputName | None = Field(
        None, description="The output for rows that no route takes; without one they are filtered."
    )
    mode: Literal["first", "every"] = Field(
        "first",
        description="A row goes to the first output whose expression is true, or to every one.",
    )


def problems(options: RouteOptions, types: Mapping[str, Type] | None) -> Sequence[Problem]:
    """Return what is wrong with the options, also with columns where they are known."""
    found = []
    names: set[str] = set()
    for index, route in enumerate(options.routes):
        path = f"options.routes[{index}]"
        if route.name in names:
            message = f"{route.name!r} is used twice; join the expressions with OR"
            found.append(Problem(f"{path}.name", message))
        names.add(route.name)
        try:
            expression = parse(route.when)
            if types is not None:
                check(expression, types, BOOL)
        except ExpressionError as error:
            found.append(Problem(f"{path}.when", error.message))
    if options.default in names:
        message = f"{options.default!r} is a route; choose another name"
        found.append(Problem("options.default", message))
    return found


def _check(
    _: TransformStep, options: RouteOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    return problems(options, typed(columns))


def _schema(_: RouteOptions, columns: Mapping[str, str]) -> Mapping[str, str]:
    return columns


def outputs(options: RouteOptions) -> Sequence[str]:
    """Return the names of the outputs, the default's last."""
    return [*(route.name for route in options.routes), *filter(None, [options.default])]


SPEC = TransformSpec(
    name="route",
    summary="Rows to named outputs, by expressions.",
    options=RouteOptions,
    open="dataflow.transforms.route:open_route",
    check=_check,
    schema=_schema,
    outputs=outputs,
    lanes=True,
)
