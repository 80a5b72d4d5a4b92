"""A process that writes a journal until it is killed, and says what was acknowledged.

Arguments: the folder, and a number for the nonces. Lines on standard output, each in one write:
``append SHARD OFFSET`` and ``decide PIPELINE NUMBER``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import CommandId, Offset, PipelineId, Run, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import AppendId, Decision, Held, Nonce, Record, link
from dataflow.journal.sqlite import Sqlite

SHARDS = 8


def say(text: str) -> None:
    """Write a line at once, whole."""
    os.write(1, f"{text}\n".encode())


def record(claim: Held) -> Record:
    """Return the record that follows; shard and offset alone decide what is in it."""
    offset = Offset(claim.offset + 1)
    payload = f"{claim.shard}:{offset} ".encode() * (offset % 40 + 1)
    return Record(
        offset=offset,
        pipeline=PipelineId(f"p{claim.shard}"),
        sequence=SequenceNumber(offset),
        type="ConfigUpdated",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        actor="ada",
        command_id=CommandId(f"{offset}"),
        payload=payload,
        hash=link(claim.head, offset, payload),
    )


async def append(journal: Sqlite, shard: ShardId, boot: str) -> None:
    """Write one shard for ever."""
    claim = await journal.acquire(shard, Nonce(f"{boot}-{shard}"))
    while True:
        first = record(claim)
        head = Held(claim.shard, claim.fence, first.offset, first.hash)
        claim = await journal.append(claim, [first, record(head)], AppendId(f"{first.offset}"))
        say(f"append {shard} {claim.offset}")


async def decide(journal: Sqlite, shard: ShardId, boot: str) -> None:
    """Decide for one pipeline for ever."""
    claim = await journal.acquire(shard, Nonce(f"{boot}-{shard}"))
    pipeline = PipelineId(f"p{shard}")
    kept = await journal.decision(shard, pipeline)
    stamp = kept.stamp if kept else Stamp()
    while True:
        following = Stamp(Run(1), stamp.number + 1)
        text = f"{following.number}".encode()
        await journal.decide(claim, [Decision(pipeline, stamp, following, text)])
        stamp = following
        say(f"decide {pipeline} {stamp.number}")


async def main() -> None:
    """Open the journal and write from all sides."""
    folder, boot = sys.argv[1:]
    journal = await Sqlite.open(Path(folder))
    async with asyncio.TaskGroup() as group:
        for shard in range(SHARDS):
            group.create_task(append(journal, ShardId(shard), boot))
        group.create_task(decide(journal, ShardId(SHARDS), boot))


asyncio.run(main())
