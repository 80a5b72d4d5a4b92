"""What pydantic says of options that do not fit, in the words and paths of whoever wrote them.

Its own paths also name what it tried: ``columns.3.sequence.foo`` for a column of the kind
``sequence``, and ``constants.a.bool``, ``constants.a.int``, … for each type that a value may have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dataflow.core.errors import Problem

SHOWN_MAX = 80
"""Characters of a wrong value that an error repeats."""

EXPECTED = "Input should be a "


def misfits(model: type[BaseModel], text: str, error: ValidationError) -> Sequence[Problem]:
    """Return one problem for every field that does not fit, by its path below ``options``."""
    told: dict[str, list[Mapping[str, Any]]] = {}
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    for detail in error.errors():
        path = _path(given, detail)
        below = any(other.startswith(f"{path}[") for other in told)
        if not (below and detail["type"] == "too_short"):  # what is wrong was not counted
            told.setdefault(path, []).append(detail)
    return [Problem(path, _message(model, details)) for path, details in told.items()]


def _path(given: object, detail: Mapping[str, Any]) -> str:
    """Return where an error is, without what is nowhere in the options."""
    path, (*outer, last) = "options", detail["loc"] or ("",)
    for part in outer:
        if isinstance(given, list) and isinstance(part, int) and part < len(given):
            path, given = f"{path}[{part}]", given[part]
        elif isinstance(given, dict) and part in given:
            path, given = f"{path}.{part}", given[part]
    if isinstance(given, list) and isinstance(last, int):
        return f"{path}[{last}]"
    is_there = isinstance(given, dict) and last in given
    return f"{path}.{last}" if last and (is_there or detail["type"] == "missing") else path


def _message(model: type[BaseModel], details: Sequence[Mapping[str, Any]]) -> str:
    detail = details[0]
    shown = f"{json.dumps(detail['input'], default=str):.{SHOWN_MAX}}"
    if len(details) > 1:
        wanted = [one["msg"].removeprefix(EXPECTED) for one in details]
        return f"{EXPECTED}{', '.join(wanted[:-1])} or {wanted[-1]}, not {shown}"
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown option; one of {', '.join(_known(model, detail['loc'][:-1]))}"
        case "literal_error" | "enum":
            return f"unknown {detail['input']!r}, one of {detail['ctx']['expected']}"
        case "union_tag_invalid":
            return f"unknown {detail['ctx']['tag']!r}, one of {detail['ctx']['expected_tags']}"
        case "json_invalid":
            return f"not JSON: {detail['ctx']['error']}"
        case "missing":
            return "missing"
        case _:
            return f"{detail['msg']}, not {shown}"


def _known(model: type[BaseModel], place: Sequence[str | int]) -> Sequence[str]:
    """Return the names of the options that there are at a place."""
    models = [model]
    for part in place:
        fields = [field for one in models for name, field in _fields(one) if name == part]
        if fields:
            models = [found for field in fields for found in _models(field.annotation)]
        else:
            models = [one for one in models if _is_tagged(one, part)] or models
    return sorted({name for one in models for name, _ in _fields(one)})


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _is_tagged(model: type[BaseModel], tag: str | int) -> bool:
    """Tell whether a model is the one of a union that a word stands for."""
    return any(
        get_origin(field.annotation) is Literal and tag in get_args(field.annotation)
        for _, field in _fields(model)
    )


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
