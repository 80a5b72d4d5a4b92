"""A pipeline's decision register, as one run writes it: claimed first, then one step at a time."""

from __future__ import annotations

from typing import Protocol

from dataflow.core.checkpoint import Checkpoint, Stamp, starting_point
from dataflow.core.errors import Code, Corrupted, Unavailable
from dataflow.core.ids import PipelineId, Run
from dataflow.core.light import replace
from dataflow.core.state import State
from dataflow.journal.contract import Decided, Decision, Outcome
from dataflow.wire.journalled import checkpoint_bytes, checkpoint_from


class Registers(Protocol):
    """Where runs decide; ``cluster.Host`` is one."""

    async def decide(self, decision: Decision) -> Outcome:
        """Write one register by compare-and-set."""
        ...

    async def decision(self, pipeline: PipelineId) -> Decided | None:
        """Read one register."""
        ...


class Register:
    """Decides for one run; refused means that a larger run has taken over."""

    def __init__(self, registers: Registers, pipeline: PipelineId, run: Run) -> None:
        self._registers = registers
        self._pipeline = pipeline
        self._run = run
        self.decided: Checkpoint | None = None
        """The latest decision, as far as this run knows."""

    @property
    def known(self) -> Checkpoint:
        """Return the latest decision of a run that has claimed its register."""
        if self.decided is None:
            raise Corrupted("a run that has claimed nothing was asked to go on")
        return self.decided

    async def claim(self, state: State) -> bool:
        """Make the register refuse every older run; the decision stays what it was.

        Raises:
            Corrupted: the register holds less than the journal knows was decided.
        """
        stored = await self._registers.decision(self._pipeline)
        last = checkpoint_from(stored.payload) if stored else None
        if last is not None:
            last = replace(last, pending=_is_pending(last, state.checkpoint))
        start = starting_point(last, state.checkpoint, state.lineage, state.start)
        claimed = replace(start, stamp=Stamp(self._run, start.stamp.number), final=False)
        return await self._write(stored.stamp if stored else Stamp(), claimed)

    async def decide(self, checkpoint: Checkpoint) -> bool:
        """Decide the next checkpoint; False if a larger run has decided before."""
        return await self._write(self.known.stamp, replace(checkpoint, pending=True))

    def committed(self) -> None:
        """Note that the latest decision can be seen; its next copy in the journal says so."""
        self.decided = replace(self.known, pending=False)

    def is_news_to(self, state: State) -> bool:
        """Tell whether the run that began this lineage died BEFORE the journal heard of it."""
        copy = state.checkpoint
        is_known = copy is not None and copy.seeded and copy.lineage == self.known.lineage
        return self.known.seeded and not is_known

    async def adopt(self, found: Checkpoint | None) -> bool:
        """Take up what a transactional sink had decided and the register had not heard of.

        False if a larger run has decided.

        Raises:
            Corrupted: the sink has forgotten a decision.
        """
        if found is None or found.stamp.number == self.known.stamp.number:
            return True
        if found.stamp.number < self.known.stamp.number:
            raise Corrupted(
                f"the sink holds decision {found.stamp}, but {self.known.stamp} was decided"
            )
        adopted = replace(found, stamp=Stamp(self._run, found.stamp.number))
        return await self._write(self.known.stamp, adopted)

    async def _write(self, before: Stamp, checkpoint: Checkpoint) -> bool:
        payload = checkpoint_bytes(replace(checkpoint, pending=False))
        decision = Decision(self._pipeline, before, checkpoint.stamp, payload)
        try:
            accepted = (await self._registers.decide(decision)).accepted
        except Unavailable as error:
            if error.code != Code.OUTCOME_UNKNOWN:
                raise
            # Nobody else writes this stamp: the register says whether it was written.
            stored = await self._registers.decision(self._pipeline)
            accepted = stored is not None and stored.stamp == checkpoint.stamp
        if accepted:
            self.decided = checkpoint
        return accepted


def _is_pending(last: Checkpoint, known: Checkpoint | None) -> bool:
    """Tell whether the last decision may be unseen; its own run has journalled that, if alive."""
    if known is not None and known.stamp.number == last.stamp.number:
        return known.pending
    return last.seeded
