"""Nothing is lost and nothing comes twice, whatever happens to nodes, stores and networks.

Each test is a round: clients and pipelines on a whole cluster, one fault, everything healed. A
longer and wilder one is ``python -m tests.fault.cluster``.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.disks import disk, needs_root
from tests.fault.cluster.background import Background
from tests.fault.cluster.faults import FAULTS, full_disk
from tests.fault.cluster.rounds import Rounds

ROUND_S = 400.0

LONG = frozenset({"swizzle_long", "freeze_cassandra_long", "cut_all_peers"})
"""Only in campaigns: others ask the same, in less time."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in LONG])
def test_what_was_acknowledged_stays_and_every_row_comes_once(
    loop: Background, rounds: Rounds, name: str
) -> None:
    """Acknowledged commands, rows, sequences, fences, logs and exit codes, after one fault."""
    told = loop.run(rounds.one(FAULTS[name], Random(name)), ROUND_S)
    assert told.findings == []
    assert told.accepted > 0


@needs_root
def test_a_full_disk_costs_no_row_when_its_writer_dies_too(
    loop: Background, rounds: Rounds, tmp_path: Path
) -> None:
    """Half of a batch may be on the disk that is full, and the next owner has to cut it away."""
    with disk(tmp_path / "small", "44k") as small:
        told = loop.run(rounds.one(full_disk(small), Random(1), small), ROUND_S)
    assert told.findings == []
