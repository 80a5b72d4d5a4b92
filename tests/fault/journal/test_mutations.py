"""Take a protection out of the journal or the views in Cassandra, and some test must fail.

Two have no test here that fails without them, for one server alone cannot show them: that headers
are read at SERIAL, and that tables have ids of their own choice.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.test_mutations import Mutation, check, copied

JOURNAL, VIEWS = "dataflow/journal/cassandra", "dataflow/views/cassandra"
SUITE, OWN = "tests/contract/journal", "tests/contract/journal/test_cassandra.py"
BUCKETS = "tests/contract/journal/test_cassandra_buckets.py"
UNKNOWN = "tests/contract/journal/test_cassandra_unknown.py"
ERRORS = "tests/unit/journal/test_cassandra_errors.py"

MUTATIONS = (
    Mutation(
        "the fence of an append",
        f"{JOURNAL}/journal.cql",
        "    IF fence = ? AND last_seq = ? AND head = ? AND sealed = false;",
        "    IF fence >= ? AND last_seq = ? AND head = ? AND sealed = false;",
        SUITE,
        "smaller_fence and cassandra",
    ),
    Mutation(
        "the seal that an append looks at",
        f"{JOURNAL}/journal.cql",
        "    IF fence = ? AND last_seq = ? AND head = ? AND sealed = false;",
        "    IF fence = ? AND last_seq = ? AND head = ?;",
        BUCKETS,
        "last_one_did_not",
    ),
    Mutation(
        "the seal that an acquisition looks at",
        f"{JOURNAL}/journal.cql",
        "IF fence = ? AND sealed = false",
        "IF fence = ?",
        BUCKETS,
        "fence_cannot_be_raised",
    ),
    Mutation(
        "the outcome of an acquisition that is found out",
        f"{JOURNAL}/log.py",
        "                if error.code != Code.OUTCOME_UNKNOWN:\n",
        "                if True:\n",
        UNKNOWN,
        "known_by_its_nonce",
    ),
    Mutation(
        "the doubt of an append that is repeated",
        f"{JOURNAL}/log.py",
        "if self._in_doubt.get(held.shard) != append_id:",
        "if True:",
        UNKNOWN,
        "until_it_is_found",
    ),
    Mutation(
        "an append that is found",
        f"{JOURNAL}/log.py",
        "            if rules.appended(held, end, records, append_id) is end:\n",
        "            if rules.appended(held, end, records, append_id) is None:\n",
        UNKNOWN,
        "lands_first",
    ),
    Mutation(
        "an unknown outcome that is told",
        f"{JOURNAL}/errors.py",
        "    if conditional:\n",
        "    if False:\n",
        ERRORS,
    ),
    Mutation(
        "a host that may have taken a request",
        f"{JOURNAL}/errors.py",
        "bool(found) and all(",
        "bool(found) and any(",
        ERRORS,
    ),
    Mutation(
        "40 KiB of a statement",
        f"{JOURNAL}/log.py",
        "BATCH_BYTES_MAX = 40 << 10",
        "BATCH_BYTES_MAX = 60 << 10",
        BUCKETS,
        "any_size",
    ),
    Mutation(
        "the registers' fence of a new owner",
        f"{JOURNAL}/journal.py",
        "        await self._registers.fence(shard, held.fence)\n",
        "        if held.fence == 1:\n            await self._registers.fence(shard, held.fence)\n",
        UNKNOWN,
        "late_decision",
    ),
    Mutation(
        "the tick of a batch",
        f"{JOURNAL}/journal.cql",
        "IF fence = ? AND tick = ?",
        "IF fence = ? AND tick >= ?",
        UNKNOWN,
        "never_land or overwrite",
    ),
    Mutation(
        "the doubt that a read settles",
        f"{JOURNAL}/registers.py",
        "if known is not None and known.in_doubt:",
        "if False:",
        UNKNOWN,
        "never_land",
    ),
    Mutation(
        "the hash that a snapshot must have",
        f"{JOURNAL}/snapshots.py",
        "if head != await self._reader.hash_at(shard, offset):",
        "if False:",
        SUITE,
        "another_log and cassandra",
    ),
    Mutation(
        "the tail that a new owner takes up",
        f"{JOURNAL}/journal.py",
        "        await self._audit.catch_up(shard)\n",
        "",
        OWN,
        "new_owner",
    ),
    Mutation(
        "what waits and is in the history",
        f"{JOURNAL}/audit.py",
        "pending = self._pending.get(pipeline, {})",
        "pending: dict[SequenceNumber, Record] = {}",
        OWN,
        "waits_to_be_written",
    ),
    Mutation(
        "the mark of an append",
        f"{JOURNAL}/encoding.py",
        "mark != crc32(body)",
        "mark < 0",
        ERRORS,
    ),
    Mutation(
        "the offset at which a line is written",
        f"{VIEWS}/writer.py",
        "        one.offset,\n    )",
        "        (1 << 40) - one.offset,\n    )",
        "tests/contract/views/test_cassandra.py",
        "late_write",
    ),
    Mutation(
        "the statuses that an owner reads again",
        f"{VIEWS}/views.py",
        "        self._writer.forget(shard)\n",
        "",
        "tests/contract/views/test_cassandra.py",
        "owner_again",
    ),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source that a test may break."""
    return copied(tmp_path_factory.mktemp("mutated"))


@pytest.mark.usefixtures("cassandra")
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: str(mutation.name))
def test_a_protection_that_is_taken_out_is_missed(mutation: Mutation, copy: Path) -> None:
    """Otherwise it could go missing by accident, too."""
    check(mutation, copy)
