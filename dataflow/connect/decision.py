"""A decision as text, for a sink that keeps it beside its rows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from pydantic import TypeAdapter, ValidationError

from dataflow.core.checkpoint import DEAD_LETTERS, Checkpoint, Stamp
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


def decision_held(stored: Checkpoint, seed: Checkpoint) -> Checkpoint:
    """Return what a transactional sink that has stored a decision goes on from.

    A seed was made from the register, which may be one decision behind: a lineage that goes on
    from what was last decided goes on from what the SINK holds. What was pinned before anything
    was decided binds nobody: another lane of the run may have pinned something else.
    """
    if stored.lineage == seed.lineage:
        return stored if stored.seeded else replace(stored, pinned=seed.pinned)
    follows = 0 < seed.continues <= stored.lineage < seed.lineage
    if not follows or stored.stamp.number <= seed.stamp.number:
        return seed
    letters = {n: text for n, text in stored.committables.items() if n == DEAD_LETTERS}
    return replace(
        seed,
        stamp=Stamp(seed.stamp.run, stored.stamp.number),
        positions=stored.positions,
        states=stored.states,
        committables=letters,
        totals=stored.totals,
    )
