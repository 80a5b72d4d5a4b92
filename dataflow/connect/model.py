"""The data a connector declares: options for people, positions and committables for the journal."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from dataflow.core.durations import UNITS
from dataflow.core.spec import OnError

_DURATION = re.compile(r"(\d{1,8}(?:\.\d{1,9})?)(ms|s|m|h|d)|0")


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not (found := _DURATION.fullmatch(value)):
        raise ValueError("write a duration such as 500ms, 1s, 5m, 1.5h or 7d")
    return float(found[1] or 0) * UNITS[found[2] or "s"]


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda length: f"{length.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"),
    WithJsonSchema({"type": "string", "pattern": f"^({_DURATION.pattern})$", "examples": ["5m"]}),
]
"""A length of time in a step's options, written as everywhere in a pipeline: ``500ms``, ``5m``."""


class Model(BaseModel):
    """Frozen, closed to misspelt keys, and camelCase in JSON."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Options(Model):
    """A step's own options. Its JSON schema is their documentation, form and completion.

    Names are camelCase in JSON. Give every number bounds, every text a meaning (``Field``'s
    ``description``), every choice a ``Literal``.
    """

    on_error: OnError = OnError.UNSPECIFIED
    """What happens to a record this step cannot handle; unspecified asks the pipeline's options."""


class Position(Model):
    """The next thing to read of a split, never the last thing read.

    Journalled as JSON, so that an operator can read it and a newer release can load it: add
    fields with defaults, never rename or remove one.
    """


class Pinned(Model):
    """What a source fixes for a whole lineage before its first row, for example a schema."""


class Committable(Model):
    """What a staging sink prepared: enough to make it visible, and to cut back to it."""

    @property
    def hidden_rows(self) -> int:
        """Rows in it that nobody sees even once it is committed: in a part that goes on."""
        return 0
