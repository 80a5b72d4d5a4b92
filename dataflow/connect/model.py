"""The data a connector declares: options for people, positions and committables for the journal."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from dataflow.core.spec import OnError


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
