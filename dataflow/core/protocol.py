"""The owner's side of making a checkpoint.

A checkpoint is decided by one atomic write, a compare-and-set on its ``Stamp``. The owner of a
running pipeline walks this table; the worker only ever hears of decided checkpoints as decided.

    claiming --claimed--> opening --opened--> reading --due--> closing --prepared--> deciding
                             |                   ^                                      |
                             |  (lineage not     |                                      | accepted
                             +---seeded)---------)----> closing                         v
                                                 +------- committed -------------- committing
    committing of a final checkpoint --committed--> ended;   a refusal anywhere --> fenced

At most one checkpoint is in flight; reading goes on meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dataflow.core.light import light, replace


class Step(StrEnum):
    """Where a run stands in the protocol."""

    CLAIMING = "claiming"
    OPENING = "opening"
    READING = "reading"
    CLOSING = "closing"
    DECIDING = "deciding"
    COMMITTING = "committing"
    ENDED = "ended"
    FENCED = "fenced"


class Input(StrEnum):
    """What can happen to a run."""

    CLAIMED = "claimed"
    OPENED = "opened"
    DUE = "due"
    PREPARED = "prepared"
    ACCEPTED = "accepted"
    COMMITTED = "committed"
    REFUSED = "refused"


class Effect(StrEnum):
    """What the owner does next; the order of a transition's effects is the order stated."""

    NOTHING = "nothing"
    RUN = "run"
    BARRIER = "barrier"
    DECIDE = "decide"
    TELL_DECIDED = "tell decided"
    END = "end"
    ABANDON = "abandon"


TABLE: Mapping[tuple[Step, Input], tuple[Step, Effect]] = {
    (Step.CLAIMING, Input.CLAIMED): (Step.OPENING, Effect.RUN),
    (Step.OPENING, Input.OPENED): (Step.READING, Effect.NOTHING),
    (Step.READING, Input.DUE): (Step.CLOSING, Effect.BARRIER),
    (Step.CLOSING, Input.PREPARED): (Step.DECIDING, Effect.DECIDE),
    (Step.DECIDING, Input.ACCEPTED): (Step.COMMITTING, Effect.TELL_DECIDED),
    (Step.COMMITTING, Input.COMMITTED): (Step.READING, Effect.NOTHING),
}
"""Every transition but two: a final checkpoint that is committed ends the run, and a refusal
anywhere means that a larger run or fence has taken over. An input out of turn changes nothing."""


@light
@dataclass(frozen=True, slots=True)
class Protocol:
    """The owner's side of one run: a step, and what has been asked of the next checkpoint."""

    step: Step = Step.CLAIMING
    number: int = 0
    """Of the latest checkpoint begun."""
    final: bool = False
    """The checkpoint in flight is the run's last."""
    last_asked: bool = False
    """The next checkpoint shall be the run's last: a stop, a pause, or the end of the input."""

    def ask_last(self) -> Protocol:
        """Return the protocol with its next barrier the last one."""
        return replace(self, last_asked=True)

    def after(self, event: Input) -> tuple[Protocol, Effect]:
        """Return the next state and what to do; an input out of turn changes nothing."""
        if event is Input.REFUSED:
            return replace(self, step=Step.FENCED), Effect.ABANDON
        if (self.step, event, self.final) == (Step.COMMITTING, Input.COMMITTED, True):
            return replace(self, step=Step.ENDED), Effect.END
        step, effect = TABLE.get((self.step, event), (self.step, Effect.NOTHING))
        if effect is Effect.BARRIER:
            return replace(self, step=step, number=self.number + 1, final=self.last_asked), effect
        return replace(self, step=step), effect


def next_tick(now_s: float, interval_s: float, phase: float) -> float:
    """Return the next moment, after now, at which pipelines of one phase close checkpoints.

    Those of a shard share their phase, so that one write decides for all of them; those of
    different shards are spread over the interval.

    Args:
        now_s: by a clock that all of them share.
        interval_s: between two checkpoints.
        phase: from 0 up to, but not including, 1.
    """
    passed = math.floor(now_s / interval_s - phase)
    tick = (passed + 1 + phase) * interval_s
    # Rounded, it may be now, or just before: then it has struck already.
    return tick if tick - now_s > interval_s / 1e6 else tick + interval_s
