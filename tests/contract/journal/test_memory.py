"""What the twin in memory adds: it can be damaged on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dataflow.core.errors import Corrupted
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import AppendId, Nonce, Record
from dataflow.journal.memory import Memory

Author = Callable[..., list[Record]]

SHARD = ShardId(3)


@pytest.mark.parametrize("damage", ["changed", "lost"])
async def test_a_damaged_record_is_found_when_it_is_read(author: Author, damage: str) -> None:
    """A simulation that damages the store must see what a real one would show."""
    journal = Memory()
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.append(claim, author(claim, 3), AppendId("1"))
    log = journal.store.logs[SHARD]
    if damage == "changed":
        log[2] = replace(log[2], payload=b"other")
    else:
        log.pop()
    with pytest.raises(Corrupted, match="shard 3: record 3"):
        _ = [page async for page in journal.read(SHARD, Offset(2))]
