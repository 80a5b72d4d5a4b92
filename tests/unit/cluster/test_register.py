"""A run's decisions where the journal does not say what became of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from dataflow.cluster.register import Register
from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import PipelineId, Run
from dataflow.core.state import State
from dataflow.journal.contract import Decided, Decision, Outcome

P = PipelineId("p")


@dataclass
class Doubtful:
    """One register; a doubt is what becomes of a decision that is never answered."""

    doubt: str = ""
    stored: Decided | None = None

    async def decide(self, decision: Decision) -> Outcome:
        stamp = decision.stamp
        if self.doubt == "taken":
            self.stored = Decided(Stamp(Run(stamp.run + 1), stamp.number), b"another's")
        elif self.doubt != "lost":
            self.stored = Decided(stamp, decision.payload)
        if self.doubt:
            raise Unavailable("who knows", code=Code.OUTCOME_UNKNOWN)
        return Outcome(accepted=True, stored=stamp)

    async def decision(self, pipeline: PipelineId) -> Decided | None:
        return self.stored


@pytest.mark.parametrize(("doubt", "accepted"), [("written", True), ("lost", False)])
async def test_after_an_unknown_outcome_the_register_says_whether_it_was_claimed(
    doubt: str,
    accepted: bool,  # noqa: FBT001 - a table
) -> None:
    """A run that began without its claim would drop what another one has decided."""
    register = Register(Doubtful(doubt), P, Run(5))
    assert await register.claim(State(pipeline_id=P)) == accepted
    assert (register.decided is not None) == accepted


async def test_a_run_that_goes_on_takes_back_that_the_last_one_had_ended() -> None:
    """Another number of tasks is let in behind an end alone; this run may be cut short."""
    registers = Doubtful()
    register = Register(registers, P, Run(5))
    assert await register.claim(State(pipeline_id=P))
    ended = replace(register.known, stamp=Stamp(Run(5), 1), seeded=True, final=True)
    assert await register.decide(ended)
    later = Register(registers, P, Run(6))
    assert await later.claim(State(pipeline_id=P))
    assert not later.known.final


@pytest.mark.parametrize(
    ("doubt", "accepted"), [("written", True), ("lost", False), ("taken", False)]
)
async def test_after_an_unknown_outcome_the_register_says_whether_it_was_decided(
    doubt: str,
    accepted: bool,  # noqa: FBT001 - a table
) -> None:
    """Guessing yes shows rows that are read again; guessing no writes twice what is decided."""
    registers = Doubtful()
    register = Register(registers, P, Run(5))
    assert await register.claim(State(pipeline_id=P))
    registers.doubt = doubt
    next_one = replace(register.known, stamp=Stamp(Run(5), 1))
    assert await register.decide(next_one) == accepted
    assert (register.known.stamp.number == 1) == accepted
