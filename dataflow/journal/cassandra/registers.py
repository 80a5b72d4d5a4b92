"""The decision registers of a shard: one partition, one conditional batch at a time.

Each batch is written under the shard's fence and under a tick that it raises. So what this process
knows of the registers is what they hold for as long as its batches are applied, and a batch of
unknown outcome can be made impossible: once the tick has moved on, it can never be applied.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Corrupted, Fenced, Unavailable
from dataflow.core.ids import PipelineId, Run, ShardId
from dataflow.journal import rules
from dataflow.journal.cassandra.decisions import (
    INLINE_BYTES_MAX,
    Writing,
    digest_of,
    mark_of,
    owner_of,
    parts_of,
    row_of,
)
from dataflow.journal.cassandra.log import WAIT_S_FIRST, WAIT_S_MAX
from dataflow.journal.cassandra.session import Row, Session
from dataflow.journal.cassandra.session import Values as RowValues
from dataflow.journal.cassandra.values import LargeValues
from dataflow.journal.contract import Decided, Decision, Fence, Held, Outcome

AHEAD_MAX = 500
"""Registers that a new owner of a shard reads at once: each of its runs asks for one, and a request
of its own takes a third of what the run takes to begin. 8 MB where all are the largest."""

FENCE_ATTEMPTS = 32
DECIDE_ATTEMPTS = 3
"""Of one batch whose outcome is unknown: what has not come back after three time-outs is for its
caller to wait for."""


class Register(NamedTuple):
    """What a register is known to hold."""

    stamp: Stamp = Stamp()
    value: bytes | None = None


@dataclass(slots=True)
class _Known:
    """A shard's registers as this process has seen them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    fence: Fence = rules.UNTOUCHED.fence
    tick: int = 0
    in_doubt: bool = False
    """A batch at this tick may still be applied."""
    registers: dict[PipelineId, Register] = field(default_factory=dict)
    is_new: bool = False
    """It was fenced, and its registers have not been read ahead since."""
    ahead: dict[PipelineId, RowValues] = field(default_factory=dict)
    """Registers as they are in the store, until they are asked for or written."""


class Registers:
    """Reads and writes the registers of all shards."""

    def __init__(self, session: Session, values: LargeValues) -> None:
        self._session = session
        self._values = values
        self._known: dict[ShardId, _Known] = defaultdict(_Known)

    async def fence(self, shard: ShardId, fence: Fence) -> None:
        """Have the registers refuse every smaller fence. AFTER the log's, before anything is read.

        Raises:
            Unavailable: the store cannot be reached.
        """
        wait_s = WAIT_S_FIRST
        for _ in range(FENCE_ATTEMPTS):
            try:
                if await self._fenced(shard, fence):
                    self._known[shard].is_new = True
                    return
            except Unavailable as error:
                if error.code != Code.OUTCOME_UNKNOWN:
                    raise
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, WAIT_S_MAX)
        raise Unavailable(f"{self._session}: the registers of shard {shard} could not be fenced")

    async def _fenced(self, shard: ShardId, fence: Fence) -> bool:
        row = await self._session.conditionally("fence_registers", fence, shard, fence)
        if row["[applied]"] or (row.get("fence") or 0) >= fence:
            return True
        row = await self._session.conditionally("open_registers", shard, fence)
        return bool(row["[applied]"])

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """See ``Journal.decide``: one batch, or several where they are too large for one."""
        outcomes: list[Outcome] = []
        known = self._known[held.shard]
        async with known.lock:
            try:
                for part in parts_of(decisions):
                    outcomes += await self._decide(known, held, part)
            except Fenced:
                raise
            except Unavailable as error:
                if not outcomes and not known.in_doubt:
                    raise
                message = f"{error.message}; some decisions may have been written, read them"
                raise Unavailable(message, code=Code.OUTCOME_UNKNOWN) from error
        return outcomes

    async def _decide(
        self, known: _Known, held: Held, decisions: Sequence[Decision]
    ) -> Sequence[Outcome]:
        values = {d.pipeline: await self._value(held.shard, d) for d in decisions}
        while True:
            if known.in_doubt or known.fence != held.fence:
                await self._take_up(known, held)
            await self._read(known, held.shard, [d.pipeline for d in decisions])
            before = [known.registers[d.pipeline] for d in decisions]
            outcomes = [
                rules.outcome(register.stamp, decision)
                for register, decision in zip(before, decisions, strict=True)
            ]
            accepted = [
                Writing(decision, values[decision.pipeline])
                for decision, outcome in zip(decisions, outcomes, strict=True)
                if outcome.accepted
            ]
            # A batch of nothing, too: the store alone knows whether the fence still stands.
            if await self._write(known, held, accepted):
                break
        for register, writing in zip(before, decisions, strict=True):
            is_gone = known.registers[writing.pipeline].value != register.value
            if register.value is not None and is_gone:
                await self._values.drop(register.value)
        return outcomes

    async def _write(self, known: _Known, held: Held, writings: Sequence[Writing]) -> bool:
        """Write a batch; False if another one was written since, so that all is to be judged anew.

        Raises:
            Fenced, Corrupted: as ``Journal.decide`` says.
            Unavailable: with code ``OUTCOME_UNKNOWN``.
        """
        for writing in writings:
            known.ahead.pop(writing.decision.pipeline, None)
        rows = [row_of(held.shard, writing) for writing in writings]
        batch = f"{held.fence}-{known.tick}-{digest_of(rows)}"
        tick = (known.tick + 1, batch, held.shard, held.fence, known.tick)
        row = await self._repeated([("tick", tick), *(("decide", row) for row in rows)], known)
        if not row["[applied]"]:
            # It may be an earlier attempt of this batch that stands in the way.
            known.in_doubt = True
            header = await self._header(held.shard)
            rules.check_fence(held, header.end)
            known.in_doubt = False
            if header.batch != batch:
                known.fence = Fence(0)
                return False
        known.tick += 1
        for writing in writings:
            register = Register(writing.decision.stamp, writing.value)
            known.registers[writing.decision.pipeline] = register
        return True

    async def _repeated(self, given: Sequence[tuple[str, RowValues]], known: _Known) -> Row:
        """Send the identical batch until its outcome is known, or leave it in doubt."""
        wait_s = WAIT_S_FIRST
        unknown: Unavailable | None = None
        for _ in range(DECIDE_ATTEMPTS):
            try:
                return await self._session.conditionally_all(given)
            except Unavailable as error:
                if error.code == Code.OUTCOME_UNKNOWN:
                    unknown = error
                elif unknown is None:
                    raise  # Nothing was written; had an earlier try been sent, it might be still.
            except asyncio.CancelledError:
                known.in_doubt = True
                raise
            await asyncio.sleep(wait_s)
            wait_s *= 2
        known.in_doubt = True
        raise unknown or AssertionError

    # --- what is known ---------------------------------------------------------------------------

    async def _take_up(self, known: _Known, held: Held) -> None:
        """Learn the fence and the tick anew; a batch in doubt is made impossible first."""
        header = await self._settled(held.shard, known)
        rules.check_fence(held, header.end)
        known.fence, known.tick, known.in_doubt = held.fence, header.tick, False
        known.registers.clear()

    async def _settled(self, shard: ShardId, known: _Known) -> _Header:
        """Return the header once no batch in doubt can be applied any more."""
        while True:
            header = await self._header(shard)
            passed = header.end.fence > known.fence or header.tick > known.tick
            if passed or not known.in_doubt:
                return header
            fence = header.end.fence
            tick = (header.tick + 1, f"{fence}-{header.tick}-passed", shard, fence, header.tick)
            await self._session.conditionally("tick", *tick)

    async def _header(self, shard: ShardId) -> _Header:
        rows = await self._session.run("registers", shard)
        _, fence, tick, batch = rows[0] if rows else (shard, 0, 0, "")
        return _Header(replace(rules.UNTOUCHED, fence=Fence(fence)), tick, batch)

    async def _read(self, known: _Known, shard: ShardId, pipelines: Sequence[PipelineId]) -> None:
        """Read the registers that are not known yet; what is not there has never been written."""
        missing = [name for name in pipelines if name not in known.registers]
        if not missing:
            return
        rows = await self._session.run("stamps", shard, missing)
        found = {
            name: Register(Stamp(Run(run), number), value)
            for name, run, number, value in rows
            if run is not None
        }
        for name in missing:
            known.registers[name] = found.get(name, Register())

    async def decision(self, shard: ShardId, pipeline: PipelineId) -> Decided | None:
        """See ``Journal.decision``. What is read cannot change by a batch of unknown outcome."""
        known = self._known.get(shard)
        if known is not None and known.in_doubt:
            async with known.lock:
                header = await self._settled(shard, known)
                known.fence, known.tick, known.in_doubt = Fence(0), header.tick, False
        row = await self._stored(shard, pipeline, known)
        if row is None or row[0] is None:
            return None
        run, number, mark, payload, value = row
        if value is not None:
            payload = await self._values.get(owner_of(shard, pipeline, run, number), value)
        if mark != mark_of(run, number, payload):
            raise Corrupted(
                f"{self._session}: the decision register of pipeline {pipeline} is damaged:"
                " its mark differs; restore it from a backup"
            )
        return Decided(Stamp(Run(run), number), payload)

    async def _stored(
        self, shard: ShardId, pipeline: PipelineId, known: _Known | None
    ) -> RowValues | None:
        """Return a register's row; read ahead, it is what it was until this process writes it."""
        if known is not None:
            await self._read_ahead(shard, known)
            if (row := known.ahead.pop(pipeline, None)) is not None:
                return row
        rows = await self._session.run("decision", shard, pipeline)
        return rows[0] if rows else None

    async def _read_ahead(self, shard: ShardId, known: _Known) -> None:
        """Read many registers at once, AFTER the fence and never while one is being written."""
        if not known.is_new:
            return
        async with known.lock:
            if known.is_new:
                rows = await self._session.run("decisions", shard, AHEAD_MAX)
                known.ahead = {row[0]: row[1:] for row in rows}
                known.is_new = False

    async def _value(self, shard: ShardId, decision: Decision) -> bytes | None:
        if len(decision.payload) <= INLINE_BYTES_MAX:
            return None
        stamp = decision.stamp
        owner = owner_of(shard, decision.pipeline, stamp.run, stamp.number)
        return await self._values.put(owner, decision.payload)


class _Header(NamedTuple):
    """What stands at the head of a shard's registers."""

    end: rules.End
    tick: int
    batch: str
