"""A decision as text, for a sink that keeps it beside its rows."""

from __future__ import annotations

from functools import cache

from pydantic import TypeAdapter, ValidationError

from dataflow.core.checkpoint import Checkpoint
from dataflow.core.errors import Corrupted


@cache
def _adapter() -> TypeAdapter[Checkpoint]:
    return TypeAdapter(Checkpoint)


def decision_text(decision: Checkpoint) -> str:
    """Return a decision as JSON text, small and readable; store it in the rows' transaction."""
    return _adapter().dump_json(decision, exclude_defaults=True).decode()


def decision_from(text: str) -> Checkpoint:
    """Return the decision that ``decision_text`` wrote, now or in an older release.

    Raises:
        Corrupted: it is none; going on would lose or repeat rows.
    """
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise Corrupted(f"a sink's decision cannot be read: {error}") from error
