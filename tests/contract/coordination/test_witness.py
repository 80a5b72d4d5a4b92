"""An etcd client that others wrote sees what ours wrote, and ours what it wrote.

Two halves of one client can agree on a mistake. ``etcd3`` knows nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from dataflow.cluster.coordination.contract import (
    Absent,
    Coordination,
    Delete,
    Entry,
    LeaseLost,
    Put,
    Revision,
    Unchanged,
)
from tests.contract.coordination.conftest import Shared
from tests.contract.coordination.watching import PATIENCE_S, first_of, next_of
from tests.contract.coordination.witness import environment

BYTES = bytes(range(256))


class Witness:
    """Asks the package in its own process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def ask(self, question: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Return what it says."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        stdin.write(json.dumps({"ask": question, **arguments}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            answer = await stdout.readline()
        assert answer, "the witness has ended"
        return json.loads(answer)


@pytest.fixture
async def witness(etcd: str) -> AsyncIterator[Witness]:
    """Start the witness."""
    python = await asyncio.to_thread(environment.python)
    program = str(environment.HERE / "speak.py")
    process = await asyncio.create_subprocess_exec(
        python, program, *etcd.split(":"), stdin=PIPE, stdout=PIPE
    )
    yield Witness(process)
    assert process.stdin
    process.stdin.close()
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 0


@pytest.fixture
def ours(real: Shared) -> Coordination:
    """Return our client."""
    return real.client()


async def test_what_ours_wrote_is_there(real: Shared, ours: Coordination, witness: Witness) -> None:
    """Keys, values of any bytes, leases, and the revisions that ours was told."""
    lease = await ours.grant(timedelta(minutes=10))
    put = await ours.transact([], [Put(real.prefix + "é", BYTES, lease), Put(real.prefix, b"")])
    assert await witness.ask("list", prefix=real.prefix) == [
        [real.prefix, "", put.revision, 0],
        [real.prefix + "é", BYTES.decode("latin-1"), put.revision, lease],
    ]
    await ours.transact([Unchanged(real.prefix, put.revision)], [Delete(real.prefix)])
    await ours.revoke(lease)
    assert await witness.ask("list", prefix=real.prefix) == []


async def test_leases_of_ours_live_as_long_as_was_said(
    real: Shared, ours: Coordination, witness: Witness
) -> None:
    """Whole seconds, never fewer than asked for; and with them the keys put under them."""
    lease = await ours.grant(timedelta(minutes=10, milliseconds=1))
    await ours.transact([], [Put(real.prefix + "a", b"", lease), Put(real.prefix + "b", b"")])
    granted_s, left_s, keys = await witness.ask("lease", lease=lease)
    assert (granted_s, keys) == (601, [real.prefix + "a"])
    assert 0 < left_s <= granted_s
    await ours.revoke(lease)
    assert (await witness.ask("lease", lease=lease))[1] == -1


async def test_what_the_witness_wrote_ours_lists_watches_and_compares_with(
    real: Shared, ours: Coordination, witness: Witness
) -> None:
    """Its revisions mean the same to ours."""
    start, key = (await ours.list(real.prefix)).revision, real.prefix + "a"
    first = await witness.ask("put", key=key, value="1")
    assert await witness.ask("replace", key=key, revision=first, value="2")
    (entry,) = (await ours.list(real.prefix)).entries
    assert (entry.key, entry.value) == (key, b"2")
    assert not (await ours.transact([Unchanged(key, first)], [Delete(key)])).succeeded
    assert (await ours.transact([Unchanged(key, entry.revision)], [Put(key, b"3")])).succeeded
    assert not await witness.ask("replace", key=key, revision=entry.revision, value="4")
    assert await witness.ask("delete", key=key)
    assert (await ours.transact([Absent(key)], [])).succeeded
    told = await first_of(ours.watch(real.prefix, start), 4)
    assert [change.entry and change.entry.value for change in told] == [b"1", b"2", b"3", None]
    assert told[0].entry == Entry(key, b"1", Revision(first))


async def test_a_lease_of_the_witness_is_a_lease_to_ours(
    real: Shared, ours: Coordination, witness: Witness
) -> None:
    """To keep, to put under, and to lose."""
    lease = await witness.ask("grant", ttl_s=600)
    assert await ours.keep_alive(lease) == timedelta(minutes=10)
    await witness.ask("put", key=real.prefix + "a", value="", lease=lease)
    put = await ours.transact([], [Put(real.prefix + "b", b"", lease)])
    await witness.ask("revoke", lease=lease)
    told = await next_of(ours.watch(real.prefix, put.revision))
    assert [(c.key, c.entry) for c in told] == [(real.prefix + k, None) for k in "ab"]
    with pytest.raises(LeaseLost):
        await ours.keep_alive(lease)


async def test_a_watch_of_the_witness_sees_what_a_watch_of_ours_sees(
    real: Shared, ours: Coordination, witness: Witness
) -> None:
    """The same changes at the same revisions in the same order."""
    start = (await ours.list(real.prefix)).revision
    for number in range(20):
        key, other = f"{real.prefix}{number % 3}", f"{real.prefix}{number % 3 + 3}"
        await ours.transact([], [Put(key, b"%d" % number), Delete(other), Put(other + "a", b"")])
        await ours.transact([], [Put(other, b""), Delete(other + "a")])
    told = await first_of(ours.watch(real.prefix, start), 20 * 4)
    seen = await witness.ask("watch", prefix=real.prefix, start=start + 1, count=len(told))
    assert seen == [
        [c.key, c.entry.value.decode("latin-1") if c.entry else None, c.revision] for c in told
    ]
