"""What a journal allows: pure functions over a shard's end and a register's stamp.

Every implementation decides by these, inside whatever makes its decision atomic, so that none of
them can be kinder than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Corrupted, Fenced, Rejected
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import (
    APPEND_BYTES_MAX,
    GENESIS,
    AppendId,
    Decision,
    Fence,
    Hash,
    Held,
    Journal,
    Nonce,
    Outcome,
    Record,
    check_chain,
)


@dataclass(frozen=True, slots=True)
class End:
    """Who may write a shard, and where its log ends."""

    fence: Fence
    nonce: Nonce
    offset: Offset
    head: Hash
    append_id: AppendId
    """Of the last append, by which its repetition is known."""


UNTOUCHED = End(Fence(0), Nonce(""), Offset(0), GENESIS, AppendId(""))
"""A shard that nobody has acquired yet."""


def held(shard: ShardId, end: End) -> Held:
    """Return the right to write behind ``end``."""
    return Held(shard=shard, fence=end.fence, offset=end.offset, head=end.head)


def acquired(end: End, nonce: Nonce) -> End:
    """Return the shard in new hands; the same nonce again changes nothing."""
    if end.nonce == nonce:
        return end
    return replace(end, fence=Fence(end.fence + 1), nonce=nonce)


def check_fence(claim: Held, end: End) -> None:
    """Refuse a writer that is not the latest to have acquired the shard.

    Raises:
        Fenced: somebody has acquired it since.
        Corrupted: the store knows a smaller fence than it has handed out.
    """
    if claim.fence < end.fence:
        raise Fenced(
            f"shard {claim.shard} has fence {end.fence}, larger than this writer's {claim.fence}:"
            " another one owns it now"
        )
    if claim.fence > end.fence:
        raise Corrupted(
            f"shard {claim.shard} went back from fence {claim.fence} to {end.fence}:"
            " the journal was replaced by an older one while in use"
        )


def appended(claim: Held, end: End, records: Sequence[Record], append_id: AppendId) -> End:
    """Return the shard's end after an append; ``end`` itself when that append is found.

    Raises:
        Fenced, Corrupted: as ``Journal.append`` says.
        Rejected: with code ``TOO_LARGE`` past ``APPEND_BYTES_MAX``.
    """
    check_fence(claim, end)
    last = records[-1].hash if records else claim.head
    if (end.append_id, end.offset, end.head) == (append_id, claim.offset + len(records), last):
        return end
    if (end.offset, end.head) != (claim.offset, claim.head):
        raise Corrupted(
            f"shard {claim.shard}: the log ends at offset {end.offset}, hash {end.head.hex()[:8]};"
            f" the append expected offset {claim.offset}, hash {claim.head.hex()[:8]}"
        )
    if problem := check_chain(claim.head, claim.offset, records):
        raise Corrupted(f"shard {claim.shard}: refused an append: {problem}")
    if (size := sum(len(record.payload) for record in records)) > APPEND_BYTES_MAX:
        raise Rejected(
            f"an append of {size} bytes to shard {claim.shard}; split it at {APPEND_BYTES_MAX}",
            code=Code.TOO_LARGE,
        )
    offset = Offset(claim.offset + len(records))
    return replace(end, offset=offset, head=last, append_id=append_id)


def outcome(stored: Stamp, decision: Decision) -> Outcome:
    """Return what becomes of a decision on a register that holds ``stored``."""
    if stored == decision.expected < decision.stamp:
        return Outcome(accepted=True, stored=decision.stamp)
    return Outcome(accepted=False, stored=stored)


def check_seen(claim: Held, seen: Offset, journal: Journal) -> None:
    """Check that a log holds what its readers have seen of it, who see durable records alone.

    Raises:
        Corrupted: the log was cut, or is an older one than theirs.
    """
    if seen > claim.offset:
        raise Corrupted(
            f"{journal}, shard {claim.shard}: its log ends at record {claim.offset}, the views have"
            f" seen record {seen}: acknowledged events are lost; restore the data directory from a"
            " backup, or remove views.db to go on with what is left"
        )


def check_history(pipeline: PipelineId, after: SequenceNumber, records: Sequence[Record]) -> None:
    """Check that a pipeline's records directly follow the sequence number ``after``.

    Raises:
        Corrupted: one is missing or there twice.
    """
    for expected, record in enumerate(records, start=after + 1):
        if record.sequence != expected:
            raise Corrupted(
                f"pipeline {pipeline}: event {expected} is missing;"
                f" {record.sequence} is there instead"
            )
