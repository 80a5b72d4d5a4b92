"""``python -m tests.fault.cluster.mutations``: which fault notices a protection that is gone.

Each protection is taken out of a copy of the source, which the nodes then run. It takes minutes
each: it is for people who change the faults or what they judge by, and for campaigns.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]

SHOWN = 200


@dataclass(frozen=True)
class Mutation:
    """One protection removed, and the faults that may miss it."""

    name: str
    file: str
    before: str
    after: str
    faults: Sequence[str]


MUTATIONS = (
    Mutation(
        "the lease's deadline",
        "dataflow/cluster/lease.py",
        "        if self._clock.steady() >= self._until_s:",
        "        if False:",
        ("cut_from_etcd", "freeze_etcd_majority"),
    ),
    Mutation(
        "the unknown outcome of an append",
        "dataflow/cluster/shard.py",
        '        return await until_known(append, "append", self._held.shard)\n',
        "        from dataflow.core.errors import Rejected, Unavailable\n"
        "        try:\n"
        "            return await append()\n"
        "        except Unavailable as error:\n"
        "            raise Rejected('failed') from error\n",
        ("freeze_cassandra", "kill_cassandra"),
    ),
    Mutation(
        "the append id, the same when an append is repeated",
        "dataflow/cluster/shard.py",
        "        append = partial(self._journal.append, self._held, batch.records, append_id)\n",
        "        tries = iter(range(1_000_000))\n"
        "        def append():\n"
        "            own = AppendId(f'{append_id}-{next(tries)}')\n"
        "            return self._journal.append(self._held, batch.records, own)\n",
        ("freeze_cassandra", "kill_cassandra", "cut_from_cassandra"),
    ),
    Mutation(
        "the memory of commands",
        "dataflow/cluster/window.py",
        "        return recall(found, command)\n",
        "        return None\n",
        ("kill",),
    ),
    Mutation(
        "the memory of commands, after a takeover",
        "dataflow/cluster/shard.py",
        "        if event.command_digest:\n            self._window.add(remember(event, state))\n",
        "",
        ("kill", "rolling_restart"),
    ),
    Mutation(
        "the larger fence of each owner",
        "dataflow/journal/rules.py",
        "Fence(end.fence + 1)",
        "Fence(max(1, end.fence))",
        ("kill", "freeze_past_lease"),
    ),
    Mutation(
        "the register as the place where a run begins",
        "dataflow/cluster/register.py",
        "        last = checkpoint_from(stored.payload) if stored else None\n",
        "        last = None\n",
        ("kill", "freeze_past_lease"),
    ),
    Mutation(
        "giving shards up without the journal",
        "dataflow/cluster/joining.py",
        "            elif not gave_up and",
        "            elif False and not gave_up and",
        ("cut_from_cassandra",),
    ),
    Mutation(
        "the end of runs whose shard was lost",
        "dataflow/app/clustered.py",
        "        self._parts.runs.drop(shard)\n",
        "",
        ("freeze_past_lease", "cut_from_etcd"),
    ),
    Mutation(
        "the last checkpoint before a shard is handed over",
        "dataflow/app/clustered.py",
        "                await self._parts.runs.rest(shard, self._rest)\n",
        "",
        ("rolling_restart", "drain"),
    ),
)


def main() -> int:
    """Take out those whose names contain an argument, or all; print who noticed."""
    for mutation in MUTATIONS:
        _mutated(mutation, (ROOT / mutation.file).read_text())
    missed = 0
    for mutation in MUTATIONS:
        if len(sys.argv) > 1 and not any(word in mutation.name for word in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory(prefix="dataflow-mutation-") as folder:
            noticed = _noticed(mutation, Path(folder))
        missed += not noticed
        print(f"{mutation.name}: {noticed or 'NOBODY NOTICED'}", flush=True)  # noqa: T201 - for people
    return 1 if missed else 0


def _noticed(mutation: Mutation, folder: Path) -> str:
    """Return the fault that notices, and what it says."""
    shutil.copytree(ROOT / "dataflow", folder / "dataflow")
    file = folder / mutation.file
    file.write_text(_mutated(mutation, file.read_text()))
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fault.cluster", "--code", str(folder), "--first"),
            *("--each", "--rounds", str(len(mutation.faults)), "--only", *mutation.faults),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = ran.stdout.splitlines()
    if not told or not told[-1].startswith("in all"):
        raise RuntimeError(f"the faults ended early, {ran.returncode}: {ran.stdout} {ran.stderr}")
    found = [line.strip() for line in told if "FOUND" in line]
    rounds = [line for line in told if line.startswith("round")]
    return f"{rounds[-1]}: {found[0][:SHOWN]}" if found else ""


def _mutated(mutation: Mutation, text: str) -> str:
    if text.count(mutation.before) != 1:
        raise ValueError(f"{mutation.file} holds {mutation.before!r} not once")
    return text.replace(mutation.before, mutation.after)


if __name__ == "__main__":
    sys.exit(main())
