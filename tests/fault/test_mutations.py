"""Take a protection out of a copy of the source, and some test must fail.

A fence that nothing tests is a comment. Each mutation is a replacement in one file, and the tests
that are expected to notice; the copy is what is imported, so the tree itself is never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("dataflow", "tests", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """One protection removed, and the tests that must miss it."""

    name: str
    file: str
    before: str
    after: str
    tests: str
    only: str = ""


MUTATIONS = (
    Mutation(
        "the journal's fence",
        "dataflow/journal/rules.py",
        "if claim.fence < end.fence:",
        "if False:",
        "tests/contract/journal",
        "fence",
    ),
    Mutation(
        "a register's compare-and-set",
        "dataflow/journal/rules.py",
        "if stored == decision.expected < decision.stamp:",
        "if decision.expected < decision.stamp:",
        "tests/unit/cluster",
        "register or run",
    ),
    Mutation(
        "the run that claims its register",
        "dataflow/cluster/register.py",
        "claimed = replace(start, stamp=Stamp(self._run, start.stamp.number), final=False)",
        "self.decided = start; return True",
        "tests/unit/cluster/test_runs.py",
    ),
    Mutation(
        "the run in a worker's messages",
        "dataflow/cluster/run.py",
        "is_mine = isinstance(message, DrainAsked | RestAsked) or message.run == self.run",
        "is_mine = True",
        "tests/unit/cluster/test_runs.py",
    ),
    Mutation(
        "the seed in the journal",
        "dataflow/cluster/run.py",
        "        if not was_seeded:\n            await self._audit()\n",
        "",
        "tests/unit/cluster/test_runs.py",
    ),
    Mutation(
        "the decision before the worker is told",
        "dataflow/cluster/run.py",
        "        if not await self._register.decide(checkpoint):",
        "        self._around.send(m.Decided(self.pipeline, self.run, self._protocol.number))\n"
        "        await asyncio.sleep(0.01)\n"
        "        if not await self._register.decide(checkpoint):",
        "tests/unit/cluster/test_runs.py",
    ),
    Mutation(
        "the journal's copy against a lost register",
        "dataflow/core/checkpoint.py",
        "if known is not None and (stored is None or stored.stamp < known.stamp):",
        "if False:",
        "tests/unit/core/test_checkpoint.py",
    ),
    Mutation(
        "the memory of commands",
        "dataflow/cluster/shard.py",
        "or self._window.find(command)",
        "",
        "tests/unit/cluster/test_host.py",
    ),
    Mutation(
        "the identical append after an unknown outcome",
        "dataflow/cluster/doubt.py",
        "if not in_doubt:",
        "if True:",
        "tests/unit/cluster/test_host.py",
    ),
    Mutation(
        "the speculative state that a failed append throws away",
        "dataflow/cluster/shard.py",
        "        batch.states[command.pipeline_id] = state\n",
        "        batch.states[command.pipeline_id] = state\n        self.aggregates.put([state])\n",
        "tests/unit/cluster/test_host.py",
    ),
    Mutation(
        "the barrier behind the rows that were read",
        "dataflow/engine/task.py",
        "                self._progressed.read(item)\n",
        "                pass\n",
        "tests/fault/killing",
        "one-file and 0",
    ),
    Mutation(
        "the end of a worker process whose node is gone",
        "dataflow/engine/processes/child.py",
        "    os._exit(ORPHANED)",
        "    return",
        "tests/contract/engine/test_processes.py",
        "orphan",
    ),
    Mutation(
        "the end of a worker process's work with the lease",
        "dataflow/engine/processes/allowed.py",
        "        if self.over:\n            self._drop()\n",
        "        if self.over:\n            pass\n",
        "tests/contract/engine/test_processes.py",
        "frozen_leaves",
    ),
    Mutation(
        "the retry of what a lost worker process ran",
        "dataflow/engine/processes/pool.py",
        "        process.lost(words)\n",
        "",
        "tests/contract/engine/test_processes.py",
        "costs_its_runs",
    ),
    Mutation(
        "the end of an ingest log as its node has told it",
        "dataflow/engine/processes/followed.py",
        "size=segment.size,",
        "size=segment.path.stat().st_size,",
        "tests/unit/engine/ingest",
        "synchronised and followed",
    ),
    Mutation(
        "the fence between writers of an ingest log in Kafka",
        "dataflow/engine/ingest/kafka/brokers.py",
        '"transactional.id": topic,',
        '"transactional.id": f"{topic}-{self.clock.steady()}",',
        "tests/contract/engine/ingest/test_kafka.py",
        "believe",
    ),
    Mutation(
        "what a reader of an ingest log in Kafka may not see",
        "dataflow/engine/ingest/kafka/brokers.py",
        '"read_committed"',
        '"read_uncommitted"',
        "tests/contract/engine/ingest/test_kafka.py",
        "dies",
    ),
    Mutation(
        "the batch that a cut is in the middle of",
        "dataflow/engine/ingest/kafka/log.py",
        "while self._bounds and self._bounds[0][0] <= below:",
        "while self._bounds:",
        "tests/contract/engine/ingest/test_contract.py",
        "below_the_decision and kafka",
    ),
    Mutation(
        "the journal that a place is in",
        "dataflow/views/bus/bus.py",
        " and page[0].hash == place.hash",
        "",
        "tests/contract/views/bus",
        "another_journal and memory",
    ),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source that a test may break."""
    return copied(tmp_path_factory.mktemp("mutated"))


def copied(folder: Path) -> Path:
    """Copy the source into a folder."""
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: str(mutation.name))
def test_a_protection_that_is_taken_out_is_missed(mutation: Mutation, copy: Path) -> None:
    """Otherwise it could go missing by accident, too."""
    check(mutation, copy)


def check(mutation: Mutation, copy: Path) -> None:
    """Run the tests of a mutation over the copy that it is made in, and see one fail."""
    file = copy / mutation.file
    source = file.read_text()
    assert source.count(mutation.before) == 1, "the mutation no longer fits the source"
    file.write_text(source.replace(mutation.before, mutation.after))
    only = ["-k", mutation.only] if mutation.only else []
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    # Coverage of a copy would count against the tree, and a broken one proves nothing about it.
    unmeasured = {n: v for n, v in os.environ.items() if not n.startswith("COV")}
    try:
        ended = subprocess.run(
            [*command, mutation.tests, *only],
            cwd=copy,
            env=unmeasured,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        file.write_text(source)
    assert ended.returncode == 1, ended.stdout[-2000:]
    assert "failed" in ended.stdout
