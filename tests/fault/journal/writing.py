"""Owners of shards who write for ever, and what they were told is durable."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import CommandId, Offset, PipelineId, Run, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import AppendId, Decision, Hash, Held, Journal, Nonce, Record, link

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAIT_S = 0.02
"""Between repetitions of what may have been written."""


def records(claim: Held, count: int, author: str = "ada") -> list[Record]:
    """Return the records that follow."""
    head, made = claim.head, []
    for offset in range(claim.offset + 1, claim.offset + count + 1):
        payload = f"{claim.shard}:{offset} by {author} ".encode() * (offset % 40 + 1)
        head = link(head, Offset(offset), payload)
        record = Record(
            offset=Offset(offset),
            pipeline=PipelineId(f"p{claim.shard}"),
            sequence=SequenceNumber(offset),
            type="ConfigUpdated",
            time=NOW,
            actor=author,
            command_id=CommandId(f"{offset}"),
            payload=payload,
            hash=head,
        )
        made.append(record)
    return made


class Owners:
    """Write shards of one journal and decide in each; ``told`` is called after every answer."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.appended: dict[ShardId, list[Hash]] = defaultdict(list)
        self.decided: dict[ShardId, int] = defaultdict(int)
        self.unknown = 0
        self.told: Callable[[], None] = lambda: None

    async def append(self, shard: ShardId) -> None:
        """Append for ever: the identical append until its outcome is known, or else another one."""
        claim = await self._journal.acquire(shard, Nonce(f"owner-{shard}"))
        attempt = 0
        while True:
            attempt += 1
            made = records(claim, claim.offset % 3 + 1, f"attempt {attempt}")
            appended = await self._appended(claim, made, AppendId(f"a{attempt}"))
            if appended is not None:
                claim = appended
                self.appended[shard] += [record.hash for record in made]
                self.told()

    async def _appended(self, claim: Held, made: list[Record], name: AppendId) -> Held | None:
        """Return None where nothing was written, which the next append's success will show."""
        while True:
            try:
                return await self._journal.append(claim, made, name)
            except Unavailable as error:
                await asyncio.sleep(WAIT_S)
                if error.code is not Code.OUTCOME_UNKNOWN:
                    return None
                self.unknown += 1

    async def decide(self, shard: ShardId) -> None:
        """Decide for ever, and read what became of a decision of unknown outcome."""
        claim = await self._journal.acquire(shard, Nonce(f"owner-{shard}"))
        pipeline, stamp, attempt = PipelineId(f"p{shard}"), Stamp(), 0
        while True:
            attempt += 1
            following = Stamp(Run(1), stamp.number + 1)
            given = Decision(pipeline, stamp, following, f"attempt {attempt}".encode())
            try:
                (outcome,) = await self._journal.decide(claim, [given])
                assert outcome.accepted
                stamp = following
            except Unavailable as error:
                await asyncio.sleep(WAIT_S)
                if error.code is not Code.OUTCOME_UNKNOWN:
                    continue  # Nothing was written, as the next decision's success will show.
                self.unknown += 1
                stamp = await self._read(shard, pipeline)
                assert stamp in (given.expected, given.stamp)
            self.decided[shard] = stamp.number
            self.told()

    async def _read(self, shard: ShardId, pipeline: PipelineId) -> Stamp:
        while True:
            try:
                kept = await self._journal.decision(shard, pipeline)
            except Unavailable:
                await asyncio.sleep(WAIT_S)
            else:
                return kept.stamp if kept else Stamp()


async def missing(journal: Journal, owners: Owners) -> list[str]:
    """Return what was acknowledged and is not there, or not as it was written."""
    problems = []
    for shard, hashes in owners.appended.items():
        found = [r.hash async for page in journal.read(shard, Offset(0)) for r in page]
        if found[: len(hashes)] != hashes:
            problems.append(f"shard {shard}: {len(hashes)} acknowledged, {len(found)} found")
    for shard, number in owners.decided.items():
        kept = await journal.decision(shard, PipelineId(f"p{shard}"))
        if number and (kept is None or kept.stamp.number < number):
            problems.append(f"shard {shard}: decision {number} acknowledged, {kept} found")
    return problems
