"""The journal's own protections, and those of its registers and snapshots, taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import Offset
from dataflow.core.light import replace as light_replace
from dataflow.journal import rules
from dataflow.journal.contract import AppendId, Decision, Held, Outcome, Record
from dataflow.journal.memory import Memory

_appended = rules.appended


def appended_by_anybody(
    claim: Held, end: rules.End, records: Sequence[Record], append_id: AppendId
) -> rules.End:
    """No fence: whoever thinks that he owns a shard writes it."""
    return _appended(light_replace(claim, fence=end.fence), end, records, append_id)


def appended_anywhere(
    claim: Held, end: rules.End, records: Sequence[Record], append_id: AppendId
) -> rules.End:
    """No compare-and-set on the log's end: what comes late is written behind what came since."""
    rules.check_fence(claim, end)
    if (end.append_id, end.head) == (append_id, records[-1].hash):
        return end
    offset = Offset(end.offset + len(records))
    return replace(end, offset=offset, head=records[-1].hash, append_id=append_id)


def appended_by_anybody_anywhere(
    claim: Held, end: rules.End, records: Sequence[Record], append_id: AppendId
) -> rules.End:
    """Neither."""
    return appended_anywhere(light_replace(claim, fence=end.fence), end, records, append_id)


def appended_again(
    claim: Held, end: rules.End, records: Sequence[Record], append_id: AppendId
) -> rules.End:
    """No memory of the last append: its repetition is not known again."""
    return _appended(claim, replace(end, append_id=AppendId("")), records, append_id)


async def decided_by_anybody(
    self: Memory, held: Held, decisions: Sequence[Decision]
) -> Sequence[Outcome]:
    """No fence at the registers."""
    end = self.store.ends[held.shard]
    return await _memory_decide(self, light_replace(held, fence=end.fence), decisions)


_memory_decide = Memory.decide


def outcome_without_comparing(stored: Stamp, decision: Decision) -> Outcome:
    """No compare-and-set: a register takes what it is given."""
    del stored
    return Outcome(accepted=True, stored=decision.stamp)


def outcome_by_number(stored: Stamp, decision: Decision) -> Outcome:
    """No run in the compare-and-set: a number is all that is compared."""
    if stored.number == decision.expected.number <= decision.stamp.number:
        return Outcome(accepted=True, stored=decision.stamp)
    return Outcome(accepted=False, stored=stored)


async def snapshot_by_anybody(self: Memory, held: Held, snapshot: Any) -> None:
    """No fence at the snapshots."""
    end = self.store.ends[held.shard]
    await _save_snapshot(self, light_replace(held, fence=end.fence), snapshot)


_save_snapshot = Memory.save_snapshot
